/* SPDX-License-Identifier: Apache-2.0
 *
 * The kernels of multiply-add for AVX2. A row of a fractal of c is two vectors, so a step of the
 * hardware is a few exact products of int16 and one addition that saturates.
 */
#include <immintrin.h>
#include <string.h>

#include "../fractal.h"
#include "../paths.h"
#include "../sizes.h"
#include "tile_avx2.h"

enum { TILES = 4, ROW = SPARSE_K }; /* columns of fractals that are done at a time */

struct call {
    const int8_t *a, *b;
    const uint8_t *index; /* NULL: dense */
    size_t m, n, k, k_step;
    uint32_t flags;
    int32_t *c;
};

/* What one fractal of b is in a step: 8 steps of 2:4, or 4 of dense weights. */
typedef uint8_t packed_tile[LAYER_TILE][COLUMNS_BYTES];

/* 16 sums of a row. */
struct sums {
    __m256i low, high;
};

static void load_tile(const struct call *call, size_t step, size_t j, packed_tile packed)
{
    const size_t fractal = step * ceil_div(call->n, N0) + j;
    const int8_t *weight = call->b + fractal * FRACTAL;
    if (!call->index) {
        for (size_t s = 0; s < LAYER_TILE / 2; s++)
            pack_dense_step(weight + s * LAYER_STEP, K0, packed[s]);
        return;
    }
    const struct cube24_weight_tile tile = {
        weight, K0, call->index + fractal * INDEX_FRACTAL, INDEX_K0, 0xff, call->flags,
    };
    uint32_t places[16];
    tables(call->flags, places);
    for (size_t s = 0; s < LAYER_TILE; s++)
        pack_sparse_step(&tile, s, places, packed[s]);
}

/* The 16 rows of a in a step; what lies beyond k is zero. */
static void load_rows(const struct call *call, size_t step, size_t i, int16_t rows[M0][ROW])
{
    const size_t steps = ceil_div(call->k, call->k_step), fractals = call->k_step / K0;
    const int8_t *from = call->a + (i * steps + step) * fractals * FRACTAL;
    const size_t left = call->k - step * call->k_step;
    for (size_t row = 0; row < M0; row++) {
        for (size_t k = 0; k < call->k_step; k += 16) {
            const int8_t *bytes = from + k / K0 * FRACTAL + row * K0 + k % K0;
            store(rows[row] + k, _mm256_cvtepi8_epi16(
                                     _mm_loadu_si128((const __m128i *)(const void *)bytes)));
        }
        for (size_t k = left; k < call->k_step; k++)
            rows[row][k] = 0;
    }
}

static inline struct sums sparse_sums(packed_tile packed, const int16_t row[ROW])
{
    __m256i parts[4];
    for (size_t v = 0; v < 4; v++)
        parts[v] = _mm256_setzero_si256();
    for (size_t s = 0; s < LAYER_TILE; s++) {
        const __m256i a = _mm256_broadcastsi128_si256(
            _mm_loadu_si128((const __m128i *)(const void *)(row + LAYER_STEP * s)));
        for (size_t v = 0; v < 4; v++)
            parts[v] = _mm256_add_epi32(
                parts[v],
                _mm256_madd_epi16(_mm256_shuffle_epi8(a, load(packed[s] + (4 + v) * VECTOR)),
                                  load(packed[s] + v * VECTOR)));
    }
    const struct sums sums = {
        _mm256_permute4x64_epi64(_mm256_hadd_epi32(parts[0], parts[1]), 0xd8),
        _mm256_permute4x64_epi64(_mm256_hadd_epi32(parts[2], parts[3]), 0xd8),
    };
    return sums;
}

static inline struct sums dense_sums(packed_tile packed, const int16_t row[ROW])
{
    struct sums sums = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    for (size_t pair = 0; pair < K0 / 2; pair++) {
        const uint8_t *weights = packed[pair / 4] + pair % 4 * 2 * VECTOR;
        int32_t two;
        memcpy(&two, row + 2 * pair, sizeof two);
        const __m256i a = _mm256_set1_epi32(two);
        sums.low = _mm256_add_epi32(sums.low, _mm256_madd_epi16(a, load(weights)));
        sums.high = _mm256_add_epi32(sums.high, _mm256_madd_epi16(a, load(weights + VECTOR)));
    }
    return sums;
}

/* The exact sums of one step for one row. */
static inline struct sums step_sums(packed_tile packed, const int16_t row[ROW], int sparse)
{
    return sparse ? sparse_sums(packed, row) : dense_sums(packed, row);
}

static inline __m256i added(__m256i before, __m256i sums, uint32_t flags)
{
    const __m256i after = _mm256_add_epi32(before, sums);
    if (flags & CUBE24_WRAP)
        return after;
    /* Beyond int32, the sign is that of neither: then the end of the side that c was on. */
    const __m256i beyond =
        _mm256_and_si256(_mm256_xor_si256(before, after), _mm256_xor_si256(sums, after));
    const __m256i end =
        _mm256_xor_si256(_mm256_srai_epi32(before, 31), _mm256_set1_epi32(INT32_MAX));
    return _mm256_castps_si256(_mm256_blendv_ps(
        _mm256_castsi256_ps(after), _mm256_castsi256_ps(end), _mm256_castsi256_ps(beyond)));
}

/* Add sums to the first columns of a row of c. */
static inline void accumulate(int32_t *c, struct sums sums, size_t columns, uint32_t flags)
{
    int32_t row[N0];
    memcpy(row, c, columns * sizeof *row);
    memset(row + columns, 0, (N0 - columns) * sizeof *row);
    store(row, added(load(row), sums.low, flags));
    store(row + 8, added(load(row + 8), sums.high, flags));
    memcpy(c, row, columns * sizeof *row);
}

static int32_t *fractal_of(const struct call *call, size_t i, size_t j)
{
    return call->c + (j * ceil_div(call->m, M0) + i) * C_FRACTAL;
}

/* Step after step: after each, its sums are added to c. */
static void multiply_by_step(const struct call *call)
{
    const size_t m1 = ceil_div(call->m, M0), n1 = ceil_div(call->n, N0);
    packed_tile tiles[TILES];
    int16_t rows[M0][ROW];
    for (size_t first = 0; first < n1; first += TILES) {
        const size_t count = least(TILES, n1 - first);
        for (size_t step = 0; step < ceil_div(call->k, call->k_step); step++) {
            for (size_t j = 0; j < count; j++)
                load_tile(call, step, first + j, tiles[j]);
            for (size_t i = 0; i < m1; i++) {
                load_rows(call, step, i, rows);
                for (size_t j = 0; j < count; j++)
                    for (size_t row = 0; row < least(M0, call->m - i * M0); row++)
                        accumulate(fractal_of(call, i, first + j) + row * N0,
                                   step_sums(tiles[j], rows[row], call->index != NULL),
                                   least(N0, call->n - (first + j) * N0), call->flags);
            }
        }
    }
}

/* All steps, then one addition to c; sums of all products fit int32. */
static void multiply_whole(const struct call *call)
{
    packed_tile tile;
    int16_t rows[M0][ROW];
    for (size_t j = 0; j < ceil_div(call->n, N0); j++)
        for (size_t i = 0; i < ceil_div(call->m, M0); i++) {
            struct sums sums[M0];
            for (size_t row = 0; row < M0; row++)
                sums[row].low = sums[row].high = _mm256_setzero_si256();
            for (size_t step = 0; step < ceil_div(call->k, call->k_step); step++) {
                load_tile(call, step, j, tile);
                load_rows(call, step, i, rows);
                for (size_t row = 0; row < M0; row++) {
                    const struct sums more = step_sums(tile, rows[row], call->index != NULL);
                    sums[row].low = _mm256_add_epi32(sums[row].low, more.low);
                    sums[row].high = _mm256_add_epi32(sums[row].high, more.high);
                }
            }
            for (size_t row = 0; row < least(M0, call->m - i * M0); row++)
                accumulate(fractal_of(call, i, j) + row * N0, sums[row],
                           least(N0, call->n - j * N0), call->flags);
        }
}

static void multiply(const struct call *call)
{
    if (call->flags & CUBE24_GRAIN_INSTRUCTION)
        multiply_whole(call);
    else
        multiply_by_step(call);
}

static void mmad(const int8_t *a, const int8_t *b, size_t m, size_t n, size_t k, uint32_t flags,
                 int32_t *c)
{
    const struct call call = {a, b, NULL, m, n, k, K0, flags, c};
    multiply(&call);
}

static void mmad_sparse(const int8_t *a, const int8_t *dense, const uint8_t *index, size_t m,
                        size_t n, size_t k, uint32_t flags, int32_t *c)
{
    const struct call call = {a, dense, index, m, n, k, SPARSE_K, flags, c};
    multiply(&call);
}

const struct cube24_mmad_kernels cube24_mmad_avx2 = {mmad, mmad_sparse};
