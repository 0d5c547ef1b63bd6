/*
 * err.h - what went wrong, said once, where the facts are.
 *
 * A code exists only if some caller branches on it. The text is built where the facts are known and
 * prefixed on the way up; only a program logs it. It is one line, fit to be shown (utf8.h),
 * whatever foreign words stand in it. Functions that can fail take `struct err *ret_err` last and
 * return 0 or -1; on failure their other outputs are untouched. `ret_err` may be NULL.
 */
#ifndef FAILOVER_BASE_ERR_H
#define FAILOVER_BASE_ERR_H

#define ERR_TEXT_MAX 512

enum err_code {
    ERR_NONE = 0,
    ERR_INVALID,     /* what came from outside does not have the form it must have */
    ERR_LIMIT,       /* it is larger than what is allowed */
    ERR_REFUSED,     /* the other side answered, definitely: no */
    ERR_CONFLICT,    /* a compared write found another value than expected */
    ERR_TIMEOUT,     /* no answer by the deadline: what happened is unknown */
    ERR_UNREACHABLE, /* no connection, or an answer we do not know: what happened is unknown */
    ERR_CANCELED,    /* the caller took it back */
    ERR_SYSTEM,      /* the operating system said no (the text holds strerror) */
};

struct err {
    enum err_code code;
    char text[ERR_TEXT_MAX];
};

/* Fills *err (if any) and returns -1, so that `return err_set(...)` reads well. */
int err_set(struct err *err, enum err_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Puts "prefix: " before the text; returns -1. Keeps the code. */
int err_prefix(struct err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));
const char *err_code_name(enum err_code code);

#endif
