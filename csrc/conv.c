/* SPDX-License-Identifier: Apache-2.0
 * The K order of convolution weights (C1, kh, kw, C0): to a matrix and back, and encoding from it.
 *
 * The elements of a row, all taps of one channel after the other, are cut into units that are
 * contiguous in the matrix: the 32 channels of a block with all their taps, which also stand
 * together in the weight, or, where those are too many for a buffer, one tap of 32 channels. */
#include <string.h>

#include "codec.h"
#include "fractal.h"
#include "sizes.h"

enum {
    MOST_UNIT = CUBE24_TAPS * C0, /* elements of a unit */
    HALF = CUBE24_PIECES          /* rows of a fractal that are a block */
};

/* A weight (cout, cin, kh, kw) and its matrix (cout, columns). */
struct conv {
    size_t cout, cin, taps, columns;
    size_t size;        /* elements of the weight */
    size_t unit, units; /* elements of a unit, units of a row */
};

/* 0 if the weight or the matrix is too large to be. */
static int conv_shape(struct conv *c, size_t cout, size_t cin, size_t kh, size_t kw)
{
    size_t columns = C0, size = cin;
    if (!grow(&columns, ceil_div(cin, C0)) || !grow(&columns, kh) || !grow(&columns, kw) ||
        !fits(columns, cout) || !grow(&size, kh) || !grow(&size, kw) || !grow(&size, cout))
        return 0;
    c->cout = cout;
    c->cin = cin;
    c->taps = columns != 0 ? kh * kw : 0;
    c->columns = columns;
    c->size = size;
    c->unit = c->taps <= CUBE24_TAPS ? c->taps * C0 : C0;
    c->units = columns != 0 ? columns / c->unit : 0;
    return 1;
}

/* 1 if a unit is a whole block of channels. */
static int is_block(const struct conv *c)
{
    return c->taps <= CUBE24_TAPS;
}

/* Channels that there are of the block of a unit, and where its elements start in the weight. */
static size_t unit_channels(const struct conv *c, size_t unit)
{
    const size_t c1 = is_block(c) ? unit : unit / c->taps;
    return least(C0, c->cin - c1 * C0);
}

static size_t unit_start(const struct conv *c, size_t row, size_t unit)
{
    const size_t c1 = is_block(c) ? unit : unit / c->taps;
    return (row * c->cin + c1 * C0) * c->taps + (is_block(c) ? 0 : unit % c->taps);
}

/* 1 if a kernel may take a block where it is in the weight: all channels are there, and behind them
 * what it may touch. */
static int in_place(const struct conv *c, size_t start, size_t channels)
{
    return channels == C0 && c->size - start - c->unit >= CUBE24_BEHIND;
}

/* One unit of a row in matrix order; missing channels are zero. */
static void load_unit(const struct cube24_codec_kernels *kernels, const struct conv *c,
                      const int8_t *weight, size_t row, size_t unit, int8_t *out)
{
    const size_t channels = unit_channels(c, unit), start = unit_start(c, row, unit);
    const int8_t *from = weight + start;
    int8_t block[MOST_UNIT + CUBE24_BEHIND];
    if (!is_block(c)) {
        for (size_t c0 = 0; c0 < C0; c0++)
            out[c0] = c0 < channels ? from[c0 * c->taps] : 0;
    } else if (c->taps == 1) {
        memset(out, 0, C0);
        memcpy(out, from, channels);
    } else if (in_place(c, start, channels)) {
        kernels->channels_last(from, c->taps, out);
    } else {
        memset(block, 0, c->unit + CUBE24_BEHIND);
        memcpy(block, from, channels * c->taps);
        kernels->channels_last(block, c->taps, out);
    }
}

/* The inverse. What it may write behind the unit is that of later ones: units come in order. */
static void store_unit(const struct cube24_codec_kernels *kernels, const struct conv *c,
                       const int8_t *unit_values, size_t row, size_t unit, int8_t *weight)
{
    const size_t channels = unit_channels(c, unit), start = unit_start(c, row, unit);
    int8_t *to = weight + start;
    int8_t block[MOST_UNIT + CUBE24_BEHIND];
    if (!is_block(c)) {
        for (size_t c0 = 0; c0 < channels; c0++)
            to[c0 * c->taps] = unit_values[c0];
    } else if (c->taps == 1) {
        memcpy(to, unit_values, channels);
    } else if (in_place(c, start, channels)) {
        kernels->channels_first(unit_values, c->taps, to);
    } else {
        kernels->channels_first(unit_values, c->taps, block);
        memcpy(to, block, channels * c->taps);
    }
}

int cube24_conv_to_matrix(const int8_t *weight, size_t cout, size_t cin, size_t kh, size_t kw,
                          uint32_t flags, int8_t *matrix)
{
    struct conv c;
    struct cube24_codec_kernels kernels;
    if (!conv_shape(&c, cout, cin, kh, kw))
        return CUBE24_E_SIZE;
    const int empty = cout == 0 || c.columns == 0;
    if (!cube24_choose_codec(flags, 0, &kernels) || (!empty && (!weight || !matrix)))
        return CUBE24_E_ARGUMENT;
    if (empty)
        return CUBE24_OK;
    for (size_t row = 0; row < cout; row++)
        for (size_t unit = 0; unit < c.units; unit++, matrix += c.unit)
            load_unit(&kernels, &c, weight, row, unit, matrix);
    return CUBE24_OK;
}

int cube24_matrix_to_conv(const int8_t *matrix, size_t cout, size_t cin, size_t kh, size_t kw,
                          uint32_t flags, int8_t *weight, uint64_t *padding, uint64_t *first)
{
    struct conv c;
    struct cube24_codec_kernels kernels;
    if (!conv_shape(&c, cout, cin, kh, kw))
        return CUBE24_E_SIZE;
    const int empty = cout == 0 || c.columns == 0;
    if (!cube24_choose_codec(flags, 0, &kernels) || (!empty && (!weight || !matrix)))
        return CUBE24_E_ARGUMENT;
    uint64_t lost = 0;
    for (size_t row = 0; !empty && row < cout; row++)
        for (size_t unit = 0; unit < c.units; unit++) {
            const size_t start = (row * c.units + unit) * c.unit;
            const size_t channels = unit_channels(&c, unit);
            store_unit(&kernels, &c, matrix + start, row, unit, weight);
            for (size_t tap = start; channels != C0 && tap < start + c.unit; tap += C0)
                for (size_t i = tap + channels; i < tap + C0; i++)
                    if (matrix[i] != 0 && lost++ == 0 && first)
                        *first = i;
        }
    if (padding)
        *padding = lost;
    return CUBE24_OK;
}

/* --- encode straight from the weight -------------------------------------------------------- */

/* Rows of the matrix into ND: units follow each other, and whole blocks of them are encoded. */
static void encode_nd(struct cube24_encoder *encoder, const struct conv *c, const int8_t *weight,
                      size_t row_start, size_t rows, int8_t *dense, uint8_t *index)
{
    int8_t buffer[CUBE24_BUFFER];
    size_t filled = 0, at = row_start * c->columns; /* elements in the buffer, place of the first */
    for (size_t row = row_start; row < row_start + rows; row++)
        for (size_t unit = 0; unit < c->units; unit++) {
            load_unit(&encoder->kernels, c, weight, row, unit, buffer + filled);
            filled += c->unit;
            const int last = row + 1 == row_start + rows && unit + 1 == c->units;
            if (!last && filled + c->unit <= CUBE24_BUFFER)
                continue;
            const size_t some = last ? filled : filled / CUBE24_BLOCK * CUBE24_BLOCK;
            cube24_encode_elements(encoder, buffer, some, dense + at / 2, index + at / 8);
            memmove(buffer, buffer + some, filled - some);
            filled -= some;
            at += some;
        }
}

/* 8 rows of the matrix into Zn, two units at a time: those are whole pieces. */
static void encode_half(struct cube24_encoder *encoder, const struct conv *c, const int8_t *weight,
                        size_t row_start, int8_t *dense, uint8_t *index)
{
    int8_t buffer[HALF * 2 * MOST_UNIT];
    const size_t width = 2 * c->unit, k1_end = ceil_div(c->columns, SPARSE_K);
    struct cube24_steps steps = cube24_zn_steps(c->cout, c->columns);
    steps.piece = width;
    for (size_t unit = 0; unit < c->units; unit += 2) {
        const size_t k1 = unit * c->unit / SPARSE_K, at = cube24_zn_row(c->cout, k1, row_start);
        for (size_t i = 0; i < HALF; i++)
            for (size_t u = 0; u < 2; u++) {
                int8_t *out = buffer + i * width + u * c->unit;
                if (row_start + i < c->cout && unit + u < c->units)
                    load_unit(&encoder->kernels, c, weight, row_start + i, unit + u, out);
                else
                    memset(out, 0, c->unit);
            }
        cube24_encode_blocks(encoder, buffer, &steps, least(width / SPARSE_K, k1_end - k1),
                             dense + at * K0, index + at * INDEX_K0);
    }
}

int cube24_encode_conv(const int8_t *weight, size_t cout, size_t cin, size_t kh, size_t kw,
                       size_t row_start, size_t rows, int zn, int policy, uint32_t flags,
                       int8_t *dense, uint8_t *index, cube24_changes *changes)
{
    struct conv c;
    struct cube24_encoder encoder;
    if (!conv_shape(&c, cout, cin, kh, kw) || (zn && !cube24_zn_exists(cout, c.columns)) ||
        row_start > cout || rows > cout - row_start ||
        (zn && (row_start % N0 != 0 || (rows % N0 != 0 && row_start + rows != cout))))
        return CUBE24_E_SIZE;
    const int empty = rows == 0 || c.columns == 0;
    if (!cube24_encoder_start(&encoder, policy, flags, cout * c.columns) ||
        (zn != 0 && zn != 1) || (!empty && (!weight || !dense || !index)))
        return CUBE24_E_ARGUMENT;
    if (!empty && c.taps == 1 && !zn) {
        const struct cube24_rows matrix = {rows, cin, c.columns};
        cube24_encode_rows(&encoder, weight + row_start * cin, &matrix,
                           dense + row_start * (c.columns / 2),
                           index + row_start * (c.columns / 8));
    } else if (!empty && !zn) {
        encode_nd(&encoder, &c, weight, row_start, rows, dense, index);
    } else if (!empty && c.taps == 1) {
        for (size_t r = row_start; r < row_start + rows; r += N0)
            cube24_encode_zn_rows(&encoder, weight, cout, cin, r / N0, dense, index);
    } else if (!empty) {
        for (size_t r = row_start; r < ceil_div(row_start + rows, N0) * N0; r += HALF)
            encode_half(&encoder, &c, weight, r, dense, index);
    }
    return cube24_encoder_end(&encoder, changes);
}
