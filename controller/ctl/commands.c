/*
 * The commands of failoverctl: one table, from which parsing, the help and the usage lines come.
 */
#include "controller/ctl/command.h"

#define ASK_OPTIONS (OPT(OPT_REASON) | OPT(OPT_WAIT) | OPT(OPT_NO_WAIT) | OPT(OPT_TIMEOUT))

const struct command commands[] = {
    {.name = "status",
     .args = "[--watch] [--json]",
     .about = "what is where, whether it works, and what to do next",
     .help =
         "The first line of each group is the verdict in plain words. Every observation stands with its\n"
         "age; a role is shown only while it is fresh, and \"writable\" means that a write was tried.\n"
         "With several controllers the leader's answer is preferred.\n"
         "\n"
         "  failoverctl status\n"
         "  failoverctl status --watch\n"
         "  failoverctl status --json | jq '.groups[].databases[] | {name, primary, writable}'\n",
     .takes = OPT(OPT_WATCH) | OPT(OPT_JSON),
     .run = ctl_status},
    {.name = "check",
     .args = "FILE [--live [--local FILE]]",
     .about = "read a cluster definition, and tell what it is good for",
     .help =
         "Needs no controller. Prints each complaint with line, column and path; how long a failover takes\n"
         "at most for each kind of failure; for the loss of each node and site, whether it is handled\n"
         "without a person; and warns of risky settings. Exit 2 when the definition has errors.\n"
         "\n"
         "--live reaches every target instead, with the secrets of a controller's local file: PostgreSQL\n"
         "(login, rights, one heartbeat row on a primary), services, proxies with their backends and\n"
         "servers, and every fence agent's status: nothing is switched. Exit 1 when anything failed.\n"
         "\n"
         "  failoverctl check cluster.yaml\n"
         "  failoverctl check cluster.yaml --live --local /etc/failover/local.yaml\n",
     .takes = OPT(OPT_LIVE) | OPT(OPT_LOCAL),
     .words_min = 1,
     .words_max = 1,
     .run = ctl_check},
    {.name = "apply",
     .args = "FILE [--yes] [--reason TEXT]",
     .about = "store a cluster definition; running controllers take it up",
     .help =
         "Checks the file, shows the difference from the stored definition, asks, and stores it if nobody\n"
         "else has changed it meanwhile. The first apply works the same way. Then shows which controllers\n"
         "run it; while a failover is under way the new definition waits for its end.\n"
         "\n"
         "  failoverctl apply cluster.yaml --reason 'add the third standby'\n"
         "  failoverctl apply -y cluster.yaml\n",
     .takes = OPT(OPT_YES) | OPT(OPT_REASON) | OPT(OPT_TIMEOUT),
     .words_min = 1,
     .words_max = 1,
     .run = ctl_apply},
    {.name = "config",
     .args = "show | history | diff [N] | rollback N --reason TEXT [--yes] [--json]",
     .about = "the stored cluster definition, and those before it",
     .help =
         "show      the text on standard output, its revision, author and reason on standard error\n"
         "history   the kept versions: 0 is the stored one, 1 the one before it\n"
         "diff      what changed since version N (1 when absent)\n"
         "rollback  store version N again, as a new one, in the way of `apply`\n"
         "\n"
         "  failoverctl config show >cluster.yaml\n"
         "  failoverctl config history\n"
         "  failoverctl config rollback 1 --reason 'the new limits were wrong' --yes\n",
     .takes = OPT(OPT_JSON) | OPT(OPT_REASON) | OPT(OPT_YES),
     .words_min = 1,
     .words_max = 2,
     .run = ctl_config},
    {.name = "explain",
     .args = "GROUP [--database NAME] [--json]",
     .about = "what would happen if the primary failed now, and every check behind it",
     .help =
         "Who would take over, what would be lost, how long it would take, and each check with what was\n"
         "found, what is allowed and how old it is: by the code that would decide. \"no, informs\" holds\n"
         "nothing back.\n"
         "\n"
         "  failoverctl explain shop\n"
         "  failoverctl explain shop --json | jq '.databases[].checks[] | select(.passes | not)'\n",
     .takes = OPT(OPT_DATABASE) | OPT(OPT_JSON),
     .words_max = 1,
     .run = ctl_explain},
    {.name = "plan",
     .args = "failover GROUP [--database NAME] [--to NODE] [--accept-loss BYTES] [--json]",
     .about = "what a failover would do, step by step, without doing it",
     .help =
         "Each step with the time that it took in the last incident, and at most. Exit 1 when it would be\n"
         "refused now. The hash stands for what would be done: `failover` sends the one that it has\n"
         "shown, and is refused when it has changed.\n"
         "\n"
         "  failoverctl plan failover shop\n"
         "  failoverctl plan failover --database payments --to pay-west\n",
     .takes = OPT(OPT_DATABASE) | OPT(OPT_TO) | OPT(OPT_LOSS) | OPT(OPT_JSON),
     .words_min = 1,
     .words_max = 2,
     .run = ctl_plan},
    {.name = "workflow",
     .args = "show | retry | skip | abandon GROUP [--database NAME] [--reason TEXT]",
     .about = "the steps under way, and what a person may do when one waits",
     .help =
         "retry    takes a parked step up again as a new leader would, and hurries one that waits\n"
         "skip     leaves out the step `redirect` or `verify`: the others cannot be left out\n"
         "abandon  gives the old primary its permit back under a new epoch: only while nobody else may\n"
         "         be a primary; a candidate that is down and holds the permit is fenced first\n"
         "\n"
         "  failoverctl workflow show shop\n"
         "  failoverctl workflow retry shop --reason 'the fence device has power again'\n"
         "  failoverctl workflow abandon shop --database orders --reason 'it was the network, AB'\n",
     .takes = ASK_OPTIONS | OPT(OPT_DATABASE) | OPT(OPT_YES),
     .words_min = 2,
     .words_max = 2,
     .run = ctl_workflow},
    {.name = "alarms",
     .args = "[GROUP] [ack KEY --reason TEXT]",
     .about = "what lasts until its cause is gone, and who has taken it on",
     .help =
         "An acknowledged alarm stays in the list until its cause is gone, with who took it on and why.\n"
         "\n"
         "  failoverctl alarms\n"
         "  failoverctl alarms ack redundancy.payments --reason 'a new standby is being copied, AB'\n",
     .takes = ASK_OPTIONS,
     .words_max = 3,
     .run = ctl_alarms},
    {.name = "failover",
     .args = "GROUP | --database NAME [--to NODE] --reason TEXT",
     .about = "move a database, or all of a group, to another node by force",
     .help =
         "The primary is fenced first, whatever its state; without proof of that nothing is promoted.\n"
         "Shows the plan, asks on a terminal, and waits for the outcome; what was shown is what runs.\n"
         "An asynchronous standby that lags further than the policy allows is refused, unless the loss is\n"
         "accepted in bytes.\n"
         "\n"
         "  failoverctl failover --database payments --reason 'disk of pay-east is dying'\n"
         "  failoverctl failover shop --to pay-west --reason 'drill 12' --yes\n"
         "  failoverctl failover --database orders --accept-loss 32M --reason 'site lost, decided by AB'\n",
     .takes = ASK_OPTIONS | OPT(OPT_YES) | OPT(OPT_DATABASE) | OPT(OPT_TO) | OPT(OPT_LOSS),
     .words_max = 1,
     .run = ctl_failover},
    {.name = "pause",
     .args = "GROUP --reason TEXT",
     .about = "no automatic failover of this group until resumed",
     .help =
         "Probes and alarms go on, and a failover that is under way is finished. An operator's own\n"
         "failover is not blocked.\n"
         "\n"
         "  failoverctl pause shop --reason 'network maintenance until 04:00, AB'\n",
     .takes = ASK_OPTIONS,
     .words_min = 1,
     .words_max = 1,
     .run = ctl_pause},
    {.name = "resume",
     .args = "GROUP [--reason TEXT]",
     .about = "end a pause",
     .help = "  failoverctl resume shop\n",
     .takes = ASK_OPTIONS,
     .words_min = 1,
     .words_max = 1,
     .run = ctl_resume},
    {.name = "adopt",
     .args = "GROUP [--database NAME] --reason TEXT",
     .about = "let the failover-guards guard: from then on each instance obeys its permit",
     .help =
         "The running primary and its standbys are taken over without a restart. Until then the guards\n"
         "only observe. Refused, with every reason, unless each node's guard reports an instance that\n"
         "runs in its recorded role. Asked again, it declares the roles anew, such as after a node was\n"
         "rebuilt by hand.\n"
         "\n"
         "  failoverctl adopt shop --reason 'guards are installed on all nodes, AB'\n",
     .takes = ASK_OPTIONS | OPT(OPT_DATABASE) | OPT(OPT_YES),
     .words_min = 1,
     .words_max = 1,
     .run = ctl_adopt},
    {.name = "confirm-fenced",
     .args = "NODE --reason TEXT",
     .about = "testify that a node can no longer write, so that a waiting failover goes on",
     .help =
         "Only when you have made sure of it: the machine is off, or its power or its disks are disconnected,\n"
         "and it will stay so. If that is wrong, two primaries may take payments. Your name and your\n"
         "reason are stored as the evidence.\n"
         "\n"
         "  failoverctl confirm-fenced pay-east --reason 'pulled both power cords, rack 7, AB'\n",
     .takes = ASK_OPTIONS | OPT(OPT_YES),
     .words_min = 1,
     .words_max = 1,
     .run = ctl_confirm_fenced},
    {.name = "request",
     .args = "show | wait ID [--timeout SECONDS] [--json]",
     .about = "ask again for the outcome of something that was requested",
     .help =
         "show tells how it stands, wait waits for its end; \"request ID\" waits too. Exit 0 when it\n"
         "is done, 1 when it was refused, 3 while it still runs or is unknown.\n"
         "\n"
         "  failoverctl request show req-5f0c3a9e12b47d88\n"
         "  failoverctl request wait req-5f0c3a9e12b47d88 --timeout 30\n",
     .takes = OPT(OPT_WAIT) | OPT(OPT_NO_WAIT) | OPT(OPT_TIMEOUT) | OPT(OPT_JSON),
     .words_min = 1,
     .words_max = 2,
     .run = ctl_request},
    {.name = "incident",
     .args = "list | show [ID] [--json]",
     .about = "failures and how long each step of the recovery took",
     .help = "Without an ID the latest is shown.\n"
             "\n"
             "  failoverctl incident list\n"
             "  failoverctl incident show\n"
             "  failoverctl incident show latest --json | jq .laps_ms\n",
     .takes = OPT(OPT_JSON),
     .words_min = 1,
     .words_max = 2,
     .run = ctl_incident},
    {.name = "events",
     .args = "[--follow] [--since SEQ] [--json]",
     .about = "what the leading controller noticed and did, each with the rule's id",
     .help =
         "The latest 2048; older ones are in its journal. Each controller keeps and numbers its own: the\n"
         "leader's are shown if it can be reached, else another one's, and whose they are is said. --follow\n"
         "goes over to a new leader. With --json one object a line, with its controller.\n"
         "\n"
         "  failoverctl events --follow\n"
         "  failoverctl events --json | jq -r 'select(.level == \"error\") | .text'\n",
     .takes = OPT(OPT_FOLLOW) | OPT(OPT_SINCE) | OPT(OPT_JSON),
     .run = ctl_events},
    {.name = "rules",
     .args = "[--format table|dot|json]",
     .about = "the rules that decide, as they are compiled in",
     .help = "Needs no controller.\n"
             "\n"
             "  failoverctl rules\n"
             "  failoverctl rules --format dot | dot -Tsvg >rules.svg\n",
     .takes = OPT(OPT_FORMAT),
     .run = ctl_rules},
    {.name = "reference",
     .args = "rules|settings|commands|exit-codes|keys",
     .about = "a page of the reference, in Markdown, as it is compiled in",
     .help = "Needs no controller.\n"
             "\n"
             "  failoverctl reference settings >settings.md\n",
     .words_min = 1,
     .words_max = 1,
     .run = ctl_reference},
    {.name = "setup-sql",
     .args = "DBNAME [--user ROLE]",
     .about = "print the role, grants and heartbeat table that a database needs",
     .help =
         "Needs no controller. Run the output once per database, on the primary, as a superuser.\n"
         "\n"
         "  failoverctl setup-sql payments | psql -X -d payments\n",
     .takes = OPT(OPT_USER) | OPT(OPT_DATABASE),
     .words_max = 1,
     .run = ctl_setup_sql},
    {.name = "store",
     .args =
         "rescue [--from FILE] [--primary DATABASE=NODE] [--without NODE] [--reason TEXT --plan HASH]",
     .about = "make a restored or empty etcd the installation's store again",
     .help =
         "Needs no controller, but a controller's local file: run it as root on an ops node. Shows what\n"
         "etcd and the copy of it hold, what each guard and PostgreSQL report, and to whom the permits\n"
         "would be granted, under epochs above every one that anybody reports. Nothing is changed until it is\n"
         "run again with the plan's hash (or --yes) and a reason. Refused, with every reason, while a\n"
         "controller leads there, while two instances run as primaries, while a guard does not answer,\n"
         "and where it cannot be told who was the last primary.\n"
         "\n"
         "--without says that nothing runs on a node; --primary who was the last. If either is wrong,\n"
         "two primaries may take payments, or what the real one took is lost.\n"
         "\n"
         "  failoverctl store rescue\n"
         "  failoverctl store rescue --reason 'etcd restored, snapshot of 02:00, AB' --plan 5f0c3a9e12b47d88\n"
         "  failoverctl store rescue --from /root/store.json --without pay-east --primary payments=pay-east\n",
     .takes = OPT(OPT_FROM) | OPT(OPT_PRIMARY) | OPT(OPT_WITHOUT) | OPT(OPT_REASON) |
              OPT(OPT_PLAN) | OPT(OPT_YES) | OPT(OPT_LOCAL),
     .words_min = 1,
     .words_max = 1,
     .run = ctl_store},
    {.name = "help",
     .args = "[COMMAND]",
     .about = "this list, or one command with examples",
     .help = "  failoverctl help failover\n",
     .words_max = 1,
     .run = ctl_help},
};
const int commands_len = sizeof commands / sizeof *commands;
