/* SPDX-License-Identifier: Apache-2.0
 *
 * The kernels of whole layers for AVX2. Activations and weights are int16: vpmaddwd is exact, where
 * vpmaddubsw, of bytes, would saturate.
 *
 * A packed step has 256 bytes for each 16 columns. Dense: for two neighbouring elements of k, those
 * of 16 columns, four times. 2:4: four vectors of the four kept weights of four columns, then for
 * each of them the bytes among eight neighbouring activations that it takes, as vpshufb reads them.
 */
#include <immintrin.h>
#include <string.h>

#include "../layer.h"
#include "../paths.h"
#include "tile_avx2.h"
#include "transpose.h"

enum { STEP_BYTES = 2 * PACKED_STEP };

/* --- packing -------------------------------------------------------------------------------- */

static int pack(const struct cube24_weight_tile *tile, size_t vector, uint8_t *packed,
                int32_t *start)
{
    uint32_t places[16];
    int found = 0;
    (void)start; /* activations are the numbers themselves */
    tables(tile->options, places);
    packed += vector * COLUMNS_BYTES;
    for (size_t s = 0; s < LAYER_TILE; s++) {
        uint8_t passed_over[COLUMNS_BYTES];
        const int kept = tile->kept >> s & 1;
        uint8_t *to = kept ? packed : passed_over;
        if (tile->index)
            found |= pack_sparse_step(tile, s, places, to);
        else
            pack_dense_step(tile->weight + s * LAYER_STEP, tile->weight_row, to);
        packed += kept ? STEP_BYTES : 0;
    }
    return found;
}

/* --- multiplication ------------------------------------------------------------------------- */

#define CONSTANT static inline __attribute__((always_inline))

struct block {
    const uint8_t *activations;
    size_t row_bytes;
    const uint8_t *packed;
    size_t steps;
    const int32_t *start; /* of these 16 columns, or NULL */
    int32_t *sums;
    size_t stride;
};

enum { DENSE_ROWS = 4, SPARSE_ROWS = 2 };

CONSTANT void finish(const struct block *b, size_t row, size_t column, __m256i sums)
{
    int32_t *to = b->sums + row * b->stride + column;
    store(to, _mm256_add_epi32(sums, load(b->start ? b->start + column : to)));
}

CONSTANT void dense_block(const struct block *b, size_t rows)
{
    __m256i sums[DENSE_ROWS][2];
#pragma GCC unroll 4
    for (size_t r = 0; r < rows; r++)
        sums[r][0] = sums[r][1] = _mm256_setzero_si256();
    for (size_t pair = 0; pair < 4 * b->steps; pair++) {
        const uint8_t *packed = b->packed + pair / 4 * STEP_BYTES + pair % 4 * 2 * VECTOR;
        const __m256i low = load(packed), high = load(packed + VECTOR);
#pragma GCC unroll 4
        for (size_t r = 0; r < rows; r++) {
            int32_t two;
            memcpy(&two, b->activations + r * b->row_bytes + 4 * pair, sizeof two);
            const __m256i a = _mm256_set1_epi32(two);
            sums[r][0] = _mm256_add_epi32(sums[r][0], _mm256_madd_epi16(a, low));
            sums[r][1] = _mm256_add_epi32(sums[r][1], _mm256_madd_epi16(a, high));
        }
    }
#pragma GCC unroll 4
    for (size_t r = 0; r < rows; r++) {
        finish(b, r, 0, sums[r][0]);
        finish(b, r, 8, sums[r][1]);
    }
}

/* Each sum of a column is in two parts until the end. */
CONSTANT void sparse_block(const struct block *b, size_t rows)
{
    __m256i sums[SPARSE_ROWS][4];
#pragma GCC unroll 2
    for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (size_t v = 0; v < 4; v++)
            sums[r][v] = _mm256_setzero_si256();
    for (size_t s = 0; s < b->steps; s++) {
        const uint8_t *packed = b->packed + s * STEP_BYTES;
        __m256i a[SPARSE_ROWS];
#pragma GCC unroll 2
        for (size_t r = 0; r < rows; r++)
            a[r] = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(
                const void *)(b->activations + r * b->row_bytes + 2 * LAYER_STEP * s)));
#pragma GCC unroll 4
        for (size_t v = 0; v < 4; v++) {
            const __m256i weights = load(packed + v * VECTOR);
            const __m256i places = load(packed + (4 + v) * VECTOR);
#pragma GCC unroll 2
            for (size_t r = 0; r < rows; r++)
                sums[r][v] = _mm256_add_epi32(
                    sums[r][v], _mm256_madd_epi16(_mm256_shuffle_epi8(a[r], places), weights));
        }
    }
#pragma GCC unroll 2
    for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 2
        for (size_t v = 0; v < 4; v += 2)
            finish(b, r, 4 * v,
                   _mm256_permute4x64_epi64(_mm256_hadd_epi32(sums[r][v], sums[r][v + 1]), 0xd8));
}

static void dense_rows(const struct block *b, size_t rows)
{
    switch (rows) {
    case 1:
        dense_block(b, 1);
        break;
    case 2:
        dense_block(b, 2);
        break;
    case 3:
        dense_block(b, 3);
        break;
    default:
        dense_block(b, 4);
    }
}

static void sparse_rows(const struct block *b, size_t rows)
{
    if (rows == 1)
        sparse_block(b, 1);
    else
        sparse_block(b, 2);
}

static void multiply(const uint8_t *activations, size_t row_bytes, size_t rows,
                     const uint8_t *packed, size_t steps, size_t vectors, int sparse,
                     const int32_t *start, int32_t *sums, size_t stride)
{
    const size_t most = sparse ? SPARSE_ROWS : DENSE_ROWS;
    for (size_t vector = 0; vector < vectors; vector++)
        for (size_t row = 0; row < rows; row += most) {
            const struct block block = {
                activations + row * row_bytes,
                row_bytes,
                packed + vector * COLUMNS_BYTES,
                steps,
                start ? start + vector * LAYER_VECTOR : NULL,
                sums + row * stride + vector * LAYER_VECTOR,
                stride,
            };
            if (sparse)
                sparse_rows(&block, least(most, rows - row));
            else
                dense_rows(&block, least(most, rows - row));
        }
}

/* --- requantisation ------------------------------------------------------------------------- */

/* Eight columns, before the offset is added. */
CONSTANT __m256i scaled(const int32_t *sums, const struct cube24_requant_columns *how,
                        size_t column)
{
    __m256i sum = load(sums);
    if (how->shift) {
        sum = _mm256_sra_epi32(sum, _mm_cvtsi32_si128(how->shift));
        sum = _mm256_max_epi32(sum, _mm256_set1_epi32(INT16_MIN));
        sum = _mm256_min_epi32(sum, _mm256_set1_epi32(INT16_MAX));
    }
    __m256 scale = _mm256_loadu_ps(how->scale + column);
    if (how->relu)
        scale = _mm256_blendv_ps(scale, _mm256_set1_ps(how->alpha), _mm256_castsi256_ps(sum));
    __m256 y = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), scale);
    y = _mm256_max_ps(y, _mm256_loadu_ps(how->low + column));
    y = _mm256_min_ps(y, _mm256_loadu_ps(how->high + column));
    return _mm256_cvtps_epi32(y);
}

static void requantise(const int32_t *sums, size_t rows, const struct cube24_requant_columns *how,
                       uint8_t *out)
{
    for (size_t row = 0; row < rows; row++)
        for (size_t column = 0; column < LAYER_COLUMNS; column += LAYER_VECTOR) {
            const int32_t *from = sums + row * LAYER_COLUMNS + column;
            const __m256i both = _mm256_packs_epi32(scaled(from, how, column),
                                                    scaled(from + 8, how, column + 8));
            const __m256i moved =
                _mm256_add_epi16(_mm256_permute4x64_epi64(both, 0xd8), load(how->offset + column));
            const __m128i low = _mm256_castsi256_si128(moved);
            const __m128i high = _mm256_extracti128_si256(moved, 1);
            _mm_storeu_si128((__m128i *)(void *)(out + row * LAYER_COLUMNS + column),
                             how->is_signed ? _mm_packs_epi16(low, high)
                                            : _mm_packus_epi16(low, high));
        }
}

const struct cube24_layer_kernels cube24_layer_avx2 = {
    2, 0, pack, multiply, requantise, transpose8, transpose32,
};
