/* SPDX-License-Identifier: Apache-2.0
 *
 * The kernels of whole layers, as layer.c calls them. It does what does not depend on the
 * instruction set: img2col, tails, chunks that fit the caches, and where everything stands.
 *
 * Activations are taken into a form that the kernels multiply well, one or two bytes each, and
 * weights are packed for them, one block of LAYER_COLUMNS columns at a time:
 *
 *     packed    for each step of LAYER_STEP elements of k: PACKED_STEP bytes times the bytes of an
 *               activation; what they hold is the business of the path
 *     sums      rows x LAYER_COLUMNS int32
 */
#ifndef CUBE24_LAYER_H
#define CUBE24_LAYER_H

#include <stddef.h>
#include <stdint.h>

enum {
    LAYER_COLUMNS = 64, /* of a block */
    LAYER_VECTOR = 16,  /* columns that are packed at a time, as many as a fractal has */
    LAYER_STEP = 8,     /* of k: two groups, which share an index byte */
    LAYER_TILE = 8,     /* steps that are packed at a time: the 64 of k of a fractal */
    PACKED_STEP = LAYER_COLUMNS * LAYER_STEP
};

/* What is packed at a time: LAYER_VECTOR columns, LAYER_TILE steps. All its bytes can be read. */
struct cube24_weight_tile {
    const int8_t *weight; /* a row of 8 bytes a step for each column, of 2:4 4 bytes a step */
    size_t weight_row;    /* from one row to the next */
    const uint8_t *index; /* a byte a step; NULL: the weight is dense */
    size_t index_row;
    unsigned kept;    /* bit s: step s is packed, behind those before it; else it is passed over */
    uint32_t options; /* CUBE24_PAIR20_TABLE */
};

/* Requantisation of the columns of a block, as cube24.h says. What is clamped twice, before the
 * offset is added and behind it, is clamped once: low and high are whole numbers. */
struct cube24_requant_columns {
    float scale[LAYER_COLUMNS];
    float low[LAYER_COLUMNS], high[LAYER_COLUMNS];
    int16_t offset[LAYER_COLUMNS];
    int32_t shift; /* 0: none */
    int is_signed;
    int relu;
    float alpha;
};

struct cube24_layer_kernels {
    size_t activation; /* bytes: 1 or 2 */
    int flip;          /* 1: activations are uint8, the number plus 128; else they are the number */

    /* Pack a tile: `packed` is where the first of its steps stands in a block, `vector` which 16
     * columns of it they are. start[LAYER_VECTOR] is added what makes up for the form of the
     * activations. A slot with index 3 selects nothing. Gives 1 if there is one, else 0. */
    int (*pack)(const struct cube24_weight_tile *tile, size_t vector, uint8_t *packed,
                int32_t *start);

    /* sums = start + activations x packed, or with start NULL added to sums. `vectors` of 16
     * columns are written, stride int32 from row to row; modulo 2^32. */
    void (*multiply)(const uint8_t *activations, size_t row_bytes, size_t rows,
                     const uint8_t *packed, size_t steps, size_t vectors, int sparse,
                     const int32_t *start, int32_t *sums, size_t stride);

    /* Rows of LAYER_COLUMNS sums to rows of as many bytes. */
    void (*requantise)(const int32_t *sums, size_t rows, const struct cube24_requant_columns *how,
                       uint8_t *out);

    /* to[column][row] = from[row][column] ^ flip; rows from `rows` to `width` are zero ^ flip.
     * Strides count elements. */
    void (*transpose8)(const uint8_t *from, size_t from_stride, size_t rows, size_t columns,
                       uint8_t *to, size_t to_stride, size_t width, uint8_t flip);

    /* The same for int32, without flip and width. */
    void (*transpose32)(const int32_t *from, size_t from_stride, size_t rows, size_t columns,
                        int32_t *to, size_t to_stride);
};

#endif
