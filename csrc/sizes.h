/* SPDX-License-Identifier: Apache-2.0
 * Arithmetic of sizes; sizes of buffers are refused before they overflow. And what buffers share. */
#ifndef CUBE24_SIZES_H
#define CUBE24_SIZES_H

#include <stddef.h>
#include <stdint.h>

/* 1 if a buffer of a * b bytes can exist. */
static inline int fits(size_t a, size_t b)
{
    return b == 0 || a <= (size_t)PTRDIFF_MAX / b;
}

/* *product *= factor; 0 if no buffer of that many bytes can exist. */
static inline int grow(size_t *product, size_t factor)
{
    if (!fits(*product, factor))
        return 0;
    *product *= factor;
    return 1;
}

/* 1 if two buffers share a byte. */
static inline int overlap(const void *a, size_t a_size, const void *b, size_t b_size)
{
    const uintptr_t at = (uintptr_t)a, other = (uintptr_t)b;
    return at < other ? other - at < a_size : at - other < b_size;
}

static inline size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline size_t ceil_div(size_t a, size_t b)
{
    return a / b + (a % b != 0);
}

#endif
