/* SPDX-License-Identifier: Apache-2.0
 * Coverage: what requantisation does with sums, as the bits that cube24.h lists. Read it beside
 * requant.h, which does it. */
#include "requant.h"
#include "sizes.h"

enum { CVT = 0, SIGN = 8, SHIFT = 12, TO_INT8 = 16, TO_UINT8 = 32, TO_HALF = 48 };
enum { NEGATIVE = 1, ZERO = 2, POSITIVE = 4 };
enum { DROPS_NEGATIVE = 1, DROPS_POSITIVE = 2, SHIFTED_LOW = 4, SHIFTED_HIGH = 8 };
enum {
    EXACT = 1,
    TIE_DOWN = 2,
    TIE_UP = 4,
    BELOW = 8,
    ABOVE = 16,
    CLAMPED_LOW = 32,
    CLAMPED_HIGH = 64,
    LOW = 128,
    HIGH = 256,
    SUBNORMAL = 512,
    NEGATIVE_ZERO = 1024
};

/* How a number became the nearest one. error: what was added to it; gap: from the nearest one to the
 * next one on the other side of the number. */
static unsigned nearest(double error, double gap)
{
    if (error == 0)
        return EXACT;
    if (2 * (error < 0 ? -error : error) == gap)
        return error < 0 ? TIE_DOWN : TIE_UP;
    return error < 0 ? BELOW : ABOVE;
}

/* 2^exponent, where that is no subnormal. */
static double power(int exponent)
{
    const uint64_t bits = (uint64_t)(exponent + 1023) << 52;
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* From a number of a binary format to its neighbour.
 *   size      the bits of its size, the lowest `mantissa` of them its mantissa
 *   least     the exponent of the smallest number that is not zero
 *   larger    whether the size of the neighbour is larger */
static double gap_of(uint32_t size, int mantissa, int least, int larger)
{
    /* Below a power of two numbers are twice as close. */
    const int exponent = (int)((larger || size == 0 ? size : size - 1) >> mantissa);
    return power(exponent == 0 ? least : least + exponent - 1);
}

/* Whether the neighbour on the other side of x, which became x + error, is larger in size. */
static int is_larger(double x, double error)
{
    return (error < 0) == (x > 0);
}

static unsigned of_single(int32_t x)
{
    const float single = (float)x;
    const double error = (double)single - x;
    uint32_t bits;
    memcpy(&bits, &single, sizeof bits);
    return nearest(error, gap_of(bits & 0x7fffffff, 23, -149, is_larger(x, error)));
}

static unsigned of_shift(int32_t sum, int32_t shift)
{
    const int32_t moved = shift_down(sum, shift);
    const uint32_t dropped = (uint32_t)sum & (((uint32_t)1 << shift) - 1);
    unsigned seen = moved < INT16_MIN ? SHIFTED_LOW : moved > INT16_MAX ? SHIFTED_HIGH : 0;
    if (dropped != 0)
        seen |= sum < 0 ? DROPS_NEGATIVE : DROPS_POSITIVE;
    return seen;
}

/* REQ8, from the scaled sum on. */
static unsigned of_byte(float y, const cube24_word *word)
{
    const float kept = clamp_float(y, (float)SCALED_LEAST, (float)SCALED_MOST);
    const int32_t result = nearest_int(kept), moved = result + word->offset;
    unsigned seen = y < kept   ? CLAMPED_LOW
                    : y > kept ? CLAMPED_HIGH
                               : nearest((double)result - (double)y, 1);
    if (moved < (word->is_signed ? INT8_MIN : 0))
        seen |= LOW;
    if (moved > (word->is_signed ? INT8_MAX : UINT8_MAX))
        seen |= HIGH;
    return seen;
}

/* DEQF16, from the scaled sum on. */
static unsigned of_half(float y)
{
    const float most = 65504;
    if (y < -most || y > most)
        return y < 0 ? LOW : HIGH;
    const uint32_t half = half_bits(y), size = half & 0x7fff, mantissa = half & 0x3ff;
    const int exponent = (int)(size >> 10);
    const double found = exponent == 0 ? mantissa * power(-24)
                                       : (1024 + mantissa) * power(exponent - 25);
    const double error = (half & 0x8000 ? -found : found) - (double)y;
    unsigned seen = nearest(error, gap_of(size, 10, -24, is_larger(y, error)));
    if (size != 0 && exponent == 0)
        seen |= SUBNORMAL;
    if (half == 0x8000)
        seen |= NEGATIVE_ZERO;
    return seen;
}

static uint64_t of_sum(int32_t sum, const cube24_word *word, float alpha, uint32_t flags)
{
    const int halves = (flags & CUBE24_TALLY_HALVES) != 0, shifts = !halves && word->shifts;
    const int32_t x = shifts ? shift_sum(sum, word->shift) : sum;
    const float y = scale_sum(x, word->scale, (flags & CUBE24_RELU) != 0, alpha);
    uint64_t seen = (uint64_t)of_single(x) << CVT;
    seen |= (uint64_t)(x < 0 ? NEGATIVE : x > 0 ? POSITIVE : ZERO) << SIGN;
    if (shifts)
        seen |= (uint64_t)of_shift(sum, word->shift) << SHIFT;
    if (halves)
        return seen | (uint64_t)of_half(y) << TO_HALF;
    return seen | (uint64_t)of_byte(y, word) << (word->is_signed ? TO_INT8 : TO_UINT8);
}

int cube24_tally_requant(const int32_t *sums, size_t rows, size_t columns, const cube24_word *words,
                         size_t count, float alpha, uint32_t flags, uint64_t *seen)
{
    if (!fits(columns, sizeof *sums) || !fits(rows, columns * sizeof *sums) ||
        (count != 1 && count != columns))
        return CUBE24_E_SIZE;
    if ((flags & ~(uint32_t)(CUBE24_RELU | CUBE24_TALLY_HALVES)) != 0 || !seen ||
        (count != 0 && !words) || (rows != 0 && columns != 0 && !sums))
        return CUBE24_E_ARGUMENT;
    uint64_t found = 0;
    for (size_t row = 0; row < rows; row++)
        for (size_t i = 0; i < columns; i++)
            found |= of_sum(sums[row * columns + i], words + (count == 1 ? 0 : i), alpha, flags);
    *seen = found;
    return CUBE24_OK;
}
