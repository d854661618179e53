/* SPDX-License-Identifier: Apache-2.0
 *
 * Requantisation, in one place: read it beside docs/unit.md, "Requantisation". What a parameter word
 * says is in requant.c; this is what becomes of one sum. The kernels of whole layers do the same for
 * many columns at once.
 */
#ifndef CUBE24_REQUANT_H
#define CUBE24_REQUANT_H

#include <stdint.h>
#include <string.h>

#include "cube24.h"

/* What a scaled sum is clamped to before the offset is added. */
enum { SCALED_LEAST = -256, SCALED_MOST = 255 };

static inline int32_t clamp_int(int32_t x, int32_t low, int32_t high)
{
    return x < low ? low : x > high ? high : x;
}

static inline float clamp_float(float x, float low, float high)
{
    return x < low ? low : x > high ? high : x;
}

/* Shifted to the right, of negative numbers too: down to the next whole number. */
static inline int32_t shift_down(int32_t sum, int32_t shift)
{
    return sum < 0 ? ~(~sum >> shift) : sum >> shift;
}

/* The same, saturated to int16. */
static inline int32_t shift_sum(int32_t sum, int32_t shift)
{
    return clamp_int(shift_down(sum, shift), INT16_MIN, INT16_MAX);
}

/* One fp32 multiplication: by the scale, or below zero by what ReLU puts in its place. */
static inline float scale_sum(int32_t x, float scale, int relu, float alpha)
{
    return (float)x * (relu && x < 0 ? alpha : scale);
}

/* The nearest whole number, ties to even, of a number below 2^22: where the unit in the last place
 * is 1, adding rounds. */
static inline int32_t nearest_int(float x)
{
    const float ones = 12582912.0F; /* 1.5 * 2^23 */
    return (int32_t)((x + ones) - ones);
}

/* REQ8: the byte of one sum. The scale is finite. */
static inline uint8_t requant_byte(int32_t sum, const cube24_word *word, int relu, float alpha)
{
    const int32_t x = word->shifts ? shift_sum(sum, word->shift) : sum;
    const float y = scale_sum(x, word->scale, relu, alpha);
    const int32_t moved =
        nearest_int(clamp_float(y, (float)SCALED_LEAST, (float)SCALED_MOST)) + word->offset;
    return (uint8_t)(word->is_signed ? clamp_int(moved, INT8_MIN, INT8_MAX)
                                     : clamp_int(moved, 0, UINT8_MAX));
}

/* The bits of the fp16 nearest to a number, ties to even; beyond the largest, that. */
static inline uint16_t half_bits(float x)
{
    const uint32_t most = 0x477fe000, least_normal = 0x38800000; /* 65504 and 2^-14 as fp32 */
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    const uint32_t sign = bits >> 16 & 0x8000;
    uint32_t size = bits & 0x7fffffff, dropped = 13; /* of 23 mantissa bits ten stay */
    if (size >= most)
        return (uint16_t)(sign | 0x7bff);
    if (size < least_normal) {
        /* Whole steps of 2^-24: the mantissa with its leading bit, further to the right. */
        const uint32_t exponent = size >> 23;
        if (exponent < 102) /* below 2^-25, which is half a step */
            return (uint16_t)sign;
        dropped = 126 - exponent;
        size = (size & 0x7fffff) | 0x800000;
    }
    const uint32_t half = (uint32_t)1 << (dropped - 1), rest = size & (2 * half - 1);
    uint32_t kept = size >> dropped;
    kept += rest > half || (rest == half && (kept & 1));
    if (dropped == 13)
        kept -= (uint32_t)(127 - 15) << 10; /* the exponent of fp32, to that of fp16 */
    return (uint16_t)(sign | kept);
}

#endif
