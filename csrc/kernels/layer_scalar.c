/* SPDX-License-Identifier: Apache-2.0
 *
 * The reference kernels of whole layers, portable C. Packed is the matrix that the weights stand
 * for, as int16: for each step and 16 columns, eight rows of k. Two slots may select one element;
 * their sum fits.
 */
#include <string.h>

#include "../format.h"
#include "../layer.h"
#include "../paths.h"
#include "../requant.h"
#include "../sizes.h"

/* The elements of one step for 16 columns. */
typedef int16_t step_columns[LAYER_STEP][LAYER_VECTOR];

static void pack_dense(const int8_t *weight, size_t column, step_columns to)
{
    for (size_t k = 0; k < LAYER_STEP; k++)
        to[k][column] = weight[k];
}

/* Two groups; gives 1 if there is an index of 3. */
static int pack_sparse(const int8_t *dense, uint8_t index, uint32_t options, size_t column,
                       step_columns to)
{
    int found = 0;
    for (size_t k = 0; k < LAYER_STEP; k++)
        to[k][column] = 0;
    for (size_t g = 0; g < 2; g++) {
        const unsigned pair = pair_of_byte(index, (unsigned)g);
        const unsigned first = slot0_element(pair), second = slot1_element(pair, options);
        if (first < GROUP - 1)
            to[GROUP * g + first][column] = dense[2 * g];
        if (second < GROUP)
            to[GROUP * g + second][column] =
                (int16_t)(to[GROUP * g + second][column] + dense[2 * g + 1]);
        found |= first == GROUP - 1 || second == GROUP;
    }
    return found;
}

static int pack(const struct cube24_weight_tile *tile, size_t vector, uint8_t *packed,
                int32_t *start)
{
    int found = 0;
    (void)start; /* activations are the numbers themselves */
    for (size_t s = 0; s < LAYER_TILE; s++) {
        step_columns step;
        for (size_t column = 0; column < LAYER_VECTOR; column++) {
            const int8_t *weight = tile->weight + column * tile->weight_row;
            if (!tile->index)
                pack_dense(weight + s * LAYER_STEP, column, step);
            else
                found |= pack_sparse(weight + s * LAYER_STEP / 2,
                                     tile->index[column * tile->index_row + s], tile->options,
                                     column, step);
        }
        if (tile->kept >> s & 1) {
            memcpy(packed + vector * sizeof step, step, sizeof step);
            packed += 2 * PACKED_STEP;
        }
    }
    return found;
}

static void multiply_row(const uint8_t *activations, const uint8_t *packed, size_t steps,
                         int32_t sums[LAYER_VECTOR])
{
    for (size_t s = 0; s < steps; s++) {
        int16_t a[LAYER_STEP];
        step_columns step;
        memcpy(a, activations + s * sizeof a, sizeof a);
        memcpy(step, packed + s * 2 * PACKED_STEP, sizeof step);
        for (size_t k = 0; k < LAYER_STEP; k++)
            for (size_t column = 0; column < LAYER_VECTOR; column++)
                sums[column] =
                    (int32_t)((uint32_t)sums[column] + (uint32_t)(a[k] * step[k][column]));
    }
}

static void multiply(const uint8_t *activations, size_t row_bytes, size_t rows,
                     const uint8_t *packed, size_t steps, size_t vectors, int sparse,
                     const int32_t *start, int32_t *sums, size_t stride)
{
    (void)sparse; /* packed is the same for both */
    for (size_t row = 0; row < rows; row++)
        for (size_t vector = 0; vector < vectors; vector++) {
            int32_t *to = sums + row * stride + vector * LAYER_VECTOR, made[LAYER_VECTOR];
            memcpy(made, start ? start + vector * LAYER_VECTOR : to, sizeof made);
            multiply_row(activations + row * row_bytes,
                         packed + vector * sizeof(step_columns), steps, made);
            memcpy(to, made, sizeof made);
        }
}

static void requantise(const int32_t *sums, size_t rows, const struct cube24_requant_columns *how,
                       uint8_t *out)
{
    for (size_t i = 0; i < rows * LAYER_COLUMNS; i++) {
        const size_t column = i % LAYER_COLUMNS;
        const int32_t x = how->shift ? shift_sum(sums[i], how->shift) : sums[i];
        const float y = scale_sum(x, how->scale[column], how->relu, how->alpha);
        out[i] = (uint8_t)(nearest_int(clamp_float(y, how->low[column], how->high[column])) +
                           how->offset[column]);
    }
}

/* In squares, so that neither side of them is walked along in vain. */
enum { SQUARE = 16 };

static void transpose8(const uint8_t *from, size_t from_stride, size_t rows, size_t columns,
                       uint8_t *to, size_t to_stride, size_t width, uint8_t flip)
{
    for (size_t row = 0; row < width; row += SQUARE)
        for (size_t column = 0; column < columns; column++)
            for (size_t i = row; i < least(row + SQUARE, width); i++)
                to[column * to_stride + i] =
                    (uint8_t)((i < rows ? from[i * from_stride + column] : 0) ^ flip);
}

static void transpose32(const int32_t *from, size_t from_stride, size_t rows, size_t columns,
                        int32_t *to, size_t to_stride)
{
    for (size_t row = 0; row < rows; row += SQUARE)
        for (size_t column = 0; column < columns; column++)
            for (size_t i = row; i < least(row + SQUARE, rows); i++)
                to[column * to_stride + i] = from[i * from_stride + column];
}

const struct cube24_layer_kernels cube24_layer_scalar = {
    2, 0, pack, multiply, requantise, transpose8, transpose32,
};
