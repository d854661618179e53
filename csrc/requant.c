/* SPDX-License-Identifier: Apache-2.0
 * Requantisation of matrices, and parameter words: the one place that knows their bits. */
#include "requant.h"

#include "paths.h"
#include "sizes.h"

enum { READING = CUBE24_OFFSET_UNSIGNED | CUBE24_SHIFT_N };

static const uint64_t SCALE_BITS = 0xffffe000; /* 31:13, where an fp32 has them too */
static const int SHIFT_BIT = 32, SHIFTS_BIT = 36, OFFSET_BIT = 37, SIGNED_BIT = 46;
static const uint64_t SHIFT_MASK = 0xf, OFFSET_MASK = 0x1ff;

/* 1 if the flags hold none but these options and a path. No path has code of its own for it. */
static int known(uint32_t flags, uint32_t options)
{
    return cube24_choose_layer(flags, options) != NULL;
}

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static int is_finite(float x)
{
    return (bits_of(x) & 0x7f800000) != 0x7f800000;
}

/* --- parameter words ------------------------------------------------------------------------ */

static cube24_word read_word(uint64_t word, uint32_t flags)
{
    cube24_word of;
    const uint32_t scale = (uint32_t)(word & SCALE_BITS);
    memcpy(&of.scale, &scale, sizeof scale);
    of.shifts = (int32_t)(word >> SHIFTS_BIT & 1);
    of.shift = (int32_t)(word >> SHIFT_BIT & SHIFT_MASK) + (flags & CUBE24_SHIFT_N ? 0 : 1);
    of.offset = (int32_t)(word >> OFFSET_BIT & OFFSET_MASK);
    if (!(flags & CUBE24_OFFSET_UNSIGNED) && of.offset > 255)
        of.offset -= 512;
    of.is_signed = (int32_t)(word >> SIGNED_BIT & 1);
    return of;
}

/* 0 if something does not fit: it would not be read again. */
static int write_word(const cube24_word *of, uint32_t flags, uint64_t *word)
{
    const int64_t shift =
        of->shifts ? (int64_t)of->shift - (flags & CUBE24_SHIFT_N ? 0 : 1) : 0;
    *word = (bits_of(of->scale) & SCALE_BITS) | ((uint64_t)shift & SHIFT_MASK) << SHIFT_BIT |
            (uint64_t)(of->shifts != 0) << SHIFTS_BIT |
            ((uint64_t)of->offset & OFFSET_MASK) << OFFSET_BIT |
            (uint64_t)(of->is_signed != 0) << SIGNED_BIT;
    return shift >= 0 && shift <= (int64_t)SHIFT_MASK &&
           read_word(*word, flags).offset == of->offset;
}

int cube24_read_words(const uint64_t *words, size_t count, uint32_t flags, cube24_word *fields)
{
    if (!fits(count, sizeof *fields))
        return CUBE24_E_SIZE;
    if (!known(flags, READING) || (count != 0 && (!words || !fields)))
        return CUBE24_E_ARGUMENT;
    for (size_t i = 0; i < count; i++)
        fields[i] = read_word(words[i], flags);
    return CUBE24_OK;
}

int cube24_write_words(const cube24_word *fields, size_t count, uint32_t flags, uint64_t *words,
                       uint64_t *position)
{
    if (!fits(count, sizeof *fields))
        return CUBE24_E_SIZE;
    if (!known(flags, READING) || (count != 0 && (!words || !fields)))
        return CUBE24_E_ARGUMENT;
    for (size_t i = 0; i < count; i++)
        if (!write_word(fields + i, flags, words + i)) {
            if (position)
                *position = i;
            return CUBE24_E_RANGE;
        }
    return CUBE24_OK;
}

/* --- matrices ------------------------------------------------------------------------------- */

/* Columns whose words are read at once. */
enum { BLOCK = 64 };

/* Read the words of the columns from `first` on; gives how many these are. */
static size_t read_block(const uint64_t *words, size_t count, size_t first, size_t columns,
                         uint32_t flags, cube24_word block[BLOCK])
{
    const size_t wide = least(BLOCK, columns - first);
    for (size_t i = 0; i < wide; i++)
        block[i] = read_word(words[count == 1 ? 0 : first + i], flags);
    return wide;
}

/* What is refused of a matrix of sums and its words. */
static int status_of(const int32_t *sums, size_t rows, size_t columns, const uint64_t *words,
                     size_t count, float alpha, uint32_t flags, uint32_t options, const void *out,
                     uint64_t *position)
{
    if (!fits(columns, sizeof *sums) || !fits(rows, columns * sizeof *sums) ||
        (count != 1 && count != columns))
        return CUBE24_E_SIZE;
    if (!known(flags, options) || (flags & CUBE24_RELU && !is_finite(alpha)) ||
        (count != 0 && !words) || (rows != 0 && columns != 0 && (!sums || !out)))
        return CUBE24_E_ARGUMENT;
    for (size_t i = 0; i < count; i++)
        if (!is_finite(read_word(words[i], flags).scale)) {
            if (position)
                *position = i;
            return CUBE24_E_REFUSED;
        }
    return CUBE24_OK;
}

int cube24_requantise(const int32_t *sums, size_t rows, size_t columns, const uint64_t *words,
                      size_t count, float alpha, uint32_t flags, uint8_t *out,
                      uint64_t *position)
{
    const int status = status_of(sums, rows, columns, words, count, alpha, flags,
                                 READING | CUBE24_RELU, out, position);
    if (status != CUBE24_OK)
        return status;
    const int relu = (flags & CUBE24_RELU) != 0;
    for (size_t first = 0; first < columns; first += BLOCK) {
        cube24_word block[BLOCK];
        const size_t wide = read_block(words, count, first, columns, flags, block);
        for (size_t row = 0; row < rows; row++)
            for (size_t i = 0; i < wide; i++)
                out[row * columns + first + i] =
                    requant_byte(sums[row * columns + first + i], block + i, relu, alpha);
    }
    return CUBE24_OK;
}

int cube24_dequantise(const int32_t *sums, size_t rows, size_t columns, const uint64_t *words,
                      size_t count, float alpha, uint32_t flags, uint16_t *out,
                      uint64_t *position)
{
    const int status = status_of(sums, rows, columns, words, count, alpha, flags, CUBE24_RELU, out,
                                 position);
    if (status != CUBE24_OK)
        return status;
    const int relu = (flags & CUBE24_RELU) != 0;
    for (size_t first = 0; first < columns; first += BLOCK) {
        cube24_word block[BLOCK];
        const size_t wide = read_block(words, count, first, columns, flags, block);
        for (size_t row = 0; row < rows; row++)
            for (size_t i = 0; i < wide; i++)
                out[row * columns + first + i] = half_bits(
                    scale_sum(sums[row * columns + first + i], block[i].scale, relu, alpha));
    }
    return CUBE24_OK;
}
