/* SPDX-License-Identifier: Apache-2.0
 * CHECK: count what holds and what does not, say where, and fail the program at its end. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>

enum { CHECK_SHOWN = 20 }; /* a wrong rule fails a million times; the first few tell enough */

static unsigned long long check_count, check_failed;

static inline int check_that(int holds, const char *what, const char *file, int line)
{
    check_count++;
    if (!holds && check_failed++ < CHECK_SHOWN)
        fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
    return holds;
}

static inline int check_equal(long long got, long long wanted, const char *what, const char *file,
                              int line)
{
    check_count++;
    if (got != wanted && check_failed++ < CHECK_SHOWN)
        fprintf(stderr, "%s:%d: %s: got %lld, wanted %lld\n", file, line, what, got, wanted);
    return got == wanted;
}

/* Both give 1 if it holds, so that a test can stop early. */
#define CHECK(condition) check_that((condition) ? 1 : 0, #condition, __FILE__, __LINE__)
#define CHECK_EQUAL(got, wanted) \
    check_equal((long long)(got), (long long)(wanted), #got, __FILE__, __LINE__)

/* The closing line, and the value for main to return. */
static inline int check_report(const char *name)
{
    printf("%s: %llu checks, %llu failed\n", name, check_count, check_failed);
    return check_failed != 0;
}

#endif
