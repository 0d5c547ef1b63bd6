#include "controller/base/clock.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

uint64_t clock_now_ms(void)
{
    struct timespec now;
    int rc = clock_gettime(CLOCK_BOOTTIME, &now);
    assert(rc == 0);
    (void)rc;
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int64_t clock_wall_ms(void)
{
    struct timespec now;
    int rc = clock_gettime(CLOCK_REALTIME, &now);
    assert(rc == 0);
    (void)rc;
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void clock_wall_text(int64_t wall_ms, char ret_text[CLOCK_WALL_TEXT_MAX])
{
    /* Rounded down, so that a time before 1970 has its milliseconds right too. */
    int ms = (int)(wall_ms % 1000);
    time_t seconds = (time_t)(wall_ms / 1000);
    if (ms < 0) {
        ms += 1000;
        seconds--;
    }
    struct tm tm;
    /* A year of more than four digits does not fit the form; no clock of ours shows one. */
    if (gmtime_r(&seconds, &tm) == NULL || tm.tm_year < -1900 || tm.tm_year > 9999 - 1900) {
        snprintf(ret_text, CLOCK_WALL_TEXT_MAX, "unknown");
        return;
    }
    char day[CLOCK_WALL_TEXT_MAX];
    strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(ret_text, CLOCK_WALL_TEXT_MAX, "%.19s.%03dZ", day, ms);
}
