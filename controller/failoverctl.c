/*
 * failoverctl - the operator's and the drill scheduler's tool. Wiring only: controller/ctl.
 */
#include "controller/ctl/ctl.h"

int main(int argc, char **argv)
{
    return ctl_main(argc, argv);
}
