/* SPDX-License-Identifier: Apache-2.0
 *
 * The kernels of whole layers for AVX-512 with VNNI. Activations are uint8, the number plus 128,
 * because vpdpbusd multiplies uint8 by int8; 128 times the sum of the weights is taken off again.
 *
 * A packed step holds eight vectors. Dense: four elements of k for each of 16, 32, 48, 64 columns,
 * then the other four. 2:4: the four kept weights of each column, then for each of them the place
 * among eight neighbouring activations that it takes, as vpshufb reads it: the datapath selects,
 * and so does this.
 */
#include <immintrin.h>
#include <string.h>

#include "../layer.h"
#include "../paths.h"
#include "tile_avx512.h"
#include "transpose.h"

enum { VECTORS = LAYER_COLUMNS / LAYER_VECTOR };

/* --- packing -------------------------------------------------------------------------------- */

static inline void add_start(int32_t *start, __m512i weights)
{
    store(start, _mm512_sub_epi32(load(start), _mm512_slli_epi32(weights, 7)));
}

static void pack_dense(const struct cube24_weight_tile *tile, size_t vector, uint8_t *packed,
                       int32_t *start)
{
    __m512i dwords[2 * LAYER_TILE], sums = _mm512_setzero_si512();
    const uint8_t *from = (const uint8_t *)tile->weight;
    turn_dwords(from, tile->weight_row, dwords);
    turn_dwords(from + 4 * LAYER_TILE, tile->weight_row, dwords + LAYER_TILE);
    for (int s = 0; s < LAYER_TILE; s++) {
        if (!(tile->kept >> s & 1))
            continue;
        for (int half = 0; half < 2; half++) {
            const __m512i weights = dwords[2 * s + half];
            dot(&sums, _mm512_set1_epi8(1), weights);
            store(packed + (size_t)half * VECTORS * VECTOR + vector * VECTOR, weights);
        }
        packed += PACKED_STEP;
    }
    add_start(start, sums);
}

static int pack_sparse(const struct cube24_weight_tile *tile, size_t vector, uint8_t *packed,
                       int32_t *start)
{
    __m512i weights[LAYER_TILE], places[LAYER_TILE], sums = _mm512_setzero_si512();
    const int found = select_tile((const uint8_t *)tile->weight, tile->weight_row, tile->index,
                                  tile->index_row, tile->options, weights, places);
    for (int s = 0; s < LAYER_TILE; s++) {
        if (!(tile->kept >> s & 1))
            continue;
        dot(&sums, _mm512_set1_epi8(1), weights[s]);
        store(packed + vector * VECTOR, weights[s]);
        store(packed + VECTORS * VECTOR + vector * VECTOR, places[s]);
        packed += PACKED_STEP;
    }
    add_start(start, sums);
    return found;
}

static int pack(const struct cube24_weight_tile *tile, size_t vector, uint8_t *packed,
                int32_t *start)
{
    if (tile->index)
        return pack_sparse(tile, vector, packed, start);
    pack_dense(tile, vector, packed, start);
    return 0;
}

/* --- multiplication ------------------------------------------------------------------------- */

/* Rows and vectors of a block are constants wherever this is called, so it has no loops over them
 * and all its sums stay in registers. */
#define CONSTANT static inline __attribute__((always_inline))

struct block {
    const uint8_t *activations;
    size_t row_bytes;
    const uint8_t *packed;
    size_t steps;
    const int32_t *start;
    int32_t *sums;
    size_t stride;
};

enum { DENSE_ROWS = 6, SPARSE_ROWS = 5 };

CONSTANT void finish(const struct block *b, __m512i sums[DENSE_ROWS][VECTORS], size_t rows,
                     size_t vectors)
{
#pragma GCC unroll 6
    for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (size_t v = 0; v < vectors; v++) {
            int32_t *to = b->sums + r * b->stride + v * LAYER_VECTOR;
            const __m512i before = load(b->start ? b->start + v * LAYER_VECTOR : to);
            store(to, _mm512_add_epi32(sums[r][v], before));
        }
}

CONSTANT void dense_block(const struct block *b, size_t rows, size_t vectors)
{
    __m512i sums[DENSE_ROWS][VECTORS];
#pragma GCC unroll 6
    for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (size_t v = 0; v < vectors; v++)
            sums[r][v] = _mm512_setzero_si512();
    for (size_t half = 0; half < 2 * b->steps; half++) {
        const uint8_t *packed = b->packed + half * VECTORS * VECTOR;
        __m512i weights[VECTORS];
#pragma GCC unroll 4
        for (size_t v = 0; v < vectors; v++)
            weights[v] = load(packed + v * VECTOR);
#pragma GCC unroll 6
        for (size_t r = 0; r < rows; r++) {
            int32_t four;
            memcpy(&four, b->activations + r * b->row_bytes + 4 * half, sizeof four);
            const __m512i a = _mm512_set1_epi32(four);
#pragma GCC unroll 4
            for (size_t v = 0; v < vectors; v++)
                dot(&sums[r][v], a, weights[v]);
        }
    }
    finish(b, sums, rows, vectors);
}

CONSTANT void sparse_block(const struct block *b, size_t rows, size_t vectors)
{
    __m512i sums[DENSE_ROWS][VECTORS];
#pragma GCC unroll 6
    for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (size_t v = 0; v < vectors; v++)
            sums[r][v] = _mm512_setzero_si512();
    for (size_t s = 0; s < b->steps; s++) {
        const uint8_t *packed = b->packed + s * PACKED_STEP;
        __m512i a[SPARSE_ROWS];
#pragma GCC unroll 5
        for (size_t r = 0; r < rows; r++) {
            long long eight;
            memcpy(&eight, b->activations + r * b->row_bytes + LAYER_STEP * s, sizeof eight);
            a[r] = _mm512_set1_epi64(eight);
        }
#pragma GCC unroll 4
        for (size_t v = 0; v < vectors; v++) {
            const __m512i weights = load(packed + v * VECTOR);
            const __m512i places = load(packed + (VECTORS + v) * VECTOR);
#pragma GCC unroll 5
            for (size_t r = 0; r < rows; r++)
                dot(&sums[r][v], _mm512_shuffle_epi8(a[r], places), weights);
        }
    }
    finish(b, sums, rows, vectors);
}

#define OF_VECTORS(kind, rows)                                                                   \
    switch (vectors) {                                                                           \
    case 1:                                                                                      \
        kind##_block(b, rows, 1);                                                                \
        break;                                                                                   \
    case 2:                                                                                      \
        kind##_block(b, rows, 2);                                                                \
        break;                                                                                   \
    case 3:                                                                                      \
        kind##_block(b, rows, 3);                                                                \
        break;                                                                                   \
    default:                                                                                     \
        kind##_block(b, rows, 4);                                                                \
    }                                                                                            \
    break

static void dense_rows(const struct block *b, size_t rows, size_t vectors)
{
    switch (rows) {
    case 1:
        OF_VECTORS(dense, 1);
    case 2:
        OF_VECTORS(dense, 2);
    case 3:
        OF_VECTORS(dense, 3);
    case 4:
        OF_VECTORS(dense, 4);
    case 5:
        OF_VECTORS(dense, 5);
    default:
        OF_VECTORS(dense, 6);
    }
}

static void sparse_rows(const struct block *b, size_t rows, size_t vectors)
{
    switch (rows) {
    case 1:
        OF_VECTORS(sparse, 1);
    case 2:
        OF_VECTORS(sparse, 2);
    case 3:
        OF_VECTORS(sparse, 3);
    case 4:
        OF_VECTORS(sparse, 4);
    default:
        OF_VECTORS(sparse, 5);
    }
}

static void multiply(const uint8_t *activations, size_t row_bytes, size_t rows,
                     const uint8_t *packed, size_t steps, size_t vectors, int sparse,
                     const int32_t *start, int32_t *sums, size_t stride)
{
    const size_t most = sparse ? SPARSE_ROWS : DENSE_ROWS;
    for (size_t row = 0, count; row < rows; row += count) {
        const struct block block = {
            activations + row * row_bytes, row_bytes, packed, steps, start, sums + row * stride,
            stride,
        };
        /* Of even size: a single row at the end would take as long as two. */
        count = ceil_div(rows - row, ceil_div(rows - row, most));
        if (sparse)
            sparse_rows(&block, count, vectors);
        else
            dense_rows(&block, count, vectors);
    }
}

/* --- requantisation ------------------------------------------------------------------------- */

/* Sixteen columns, before the offset is added. */
CONSTANT __m512i scaled(const int32_t *sums, const struct cube24_requant_columns *how, size_t v)
{
    const size_t column = v * LAYER_VECTOR;
    __m512i sum = load(sums + column);
    if (how->shift) {
        sum = _mm512_sra_epi32(sum, _mm_cvtsi32_si128(how->shift));
        sum = _mm512_max_epi32(sum, _mm512_set1_epi32(INT16_MIN));
        sum = _mm512_min_epi32(sum, _mm512_set1_epi32(INT16_MAX));
    }
    __m512 scale = _mm512_loadu_ps(how->scale + column);
    if (how->relu)
        scale = _mm512_mask_mov_ps(scale, _mm512_movepi32_mask(sum), _mm512_set1_ps(how->alpha));
    __m512 y = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), scale);
    y = _mm512_max_ps(y, _mm512_loadu_ps(how->low + column));
    y = _mm512_min_ps(y, _mm512_loadu_ps(how->high + column));
    return _mm512_cvtps_epi32(y);
}

static void requantise(const int32_t *sums, size_t rows, const struct cube24_requant_columns *how,
                       uint8_t *out)
{
    /* Packing goes lane by lane: dword 4 i + j of the result are columns of vector j, lane i. */
    const __m512i order =
        _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512i low = load(how->offset), high = load(how->offset + LAYER_COLUMNS / 2);
    const __m512i crossed = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
    /* int16 of vectors 0 and 1, and 2 and 3, as packing orders them. */
    const __m512i first = _mm512_permutexvar_epi64(crossed, low);
    const __m512i second = _mm512_permutexvar_epi64(crossed, high);
    for (size_t row = 0; row < rows; row++) {
        const int32_t *from = sums + row * LAYER_COLUMNS;
        const __m512i a = _mm512_add_epi16(
            _mm512_packs_epi32(scaled(from, how, 0), scaled(from, how, 1)), first);
        const __m512i b = _mm512_add_epi16(
            _mm512_packs_epi32(scaled(from, how, 2), scaled(from, how, 3)), second);
        const __m512i bytes = how->is_signed ? _mm512_packs_epi16(a, b) : _mm512_packus_epi16(a, b);
        store(out + row * LAYER_COLUMNS, _mm512_permutexvar_epi32(order, bytes));
    }
}

const struct cube24_layer_kernels cube24_layer_avx512 = {
    1, 1, pack, multiply, requantise, transpose8, transpose32,
};
