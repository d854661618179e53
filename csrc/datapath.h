/* SPDX-License-Identifier: Apache-2.0
 * The accumulator of the unit, in one place: a step's exact sum is added to c; and which flags leave
 * open points to the caller. */
#ifndef CUBE24_DATAPATH_H
#define CUBE24_DATAPATH_H

#include <stdint.h>

#include "cube24.h"

/* Of what selects, of what adds up dense products, and of both. */
enum {
    SELECT_OPTIONS = CUBE24_INDEX3_NOTHING | CUBE24_PAIR20_TABLE,
    DENSE_OPTIONS = CUBE24_WRAP | CUBE24_GRAIN_INSTRUCTION,
    SPARSE_OPTIONS = DENSE_OPTIONS | SELECT_OPTIONS
};

/* c + sum, saturating, or with CUBE24_WRAP modulo 2^32. */
static inline int32_t accumulate(int32_t c, int32_t sum, uint32_t flags)
{
    if (flags & CUBE24_WRAP)
        return (int32_t)((uint32_t)c + (uint32_t)sum);
    const int64_t exact = (int64_t)c + sum;
    return exact > INT32_MAX ? INT32_MAX : exact < INT32_MIN ? INT32_MIN : (int32_t)exact;
}

#endif
