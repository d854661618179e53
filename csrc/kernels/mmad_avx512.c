/* SPDX-License-Identifier: Apache-2.0
 *
 * The kernels of multiply-add for AVX-512 with VNNI. A row of a fractal of c is one vector, so a step
 * of the hardware is a few dot products and one addition that saturates. Activations are uint8, the
 * number plus 128, because vpdpbusd multiplies uint8 by int8.
 */
#include <immintrin.h>
#include <string.h>

#include "../fractal.h"
#include "../paths.h"
#include "../sizes.h"
#include "tile_avx512.h"

enum { TILES = 8, ROW = SPARSE_K }; /* columns of fractals that are done at a time */

struct call {
    const int8_t *a, *b;
    const uint8_t *index; /* NULL: dense */
    size_t m, n, k, k_step;
    uint32_t flags;
    int32_t *c;
};

/* What one fractal of b is in a step. */
struct tile {
    __m512i weights[LAYER_TILE], places[LAYER_TILE], start;
};

static void load_tile(const struct call *call, size_t step, size_t j, struct tile *tile)
{
    const size_t fractal = step * ceil_div(call->n, N0) + j;
    const uint8_t *weight = (const uint8_t *)call->b + fractal * FRACTAL;
    __m512i sums = _mm512_setzero_si512();
    if (call->index)
        select_tile(weight, K0, call->index + fractal * INDEX_FRACTAL, INDEX_K0, call->flags,
                    tile->weights, tile->places);
    else
        turn_dwords(weight, K0, tile->weights);
    for (size_t s = 0; s < LAYER_TILE; s++)
        dot(&sums, _mm512_set1_epi8(1), tile->weights[s]);
    tile->start = _mm512_slli_epi32(_mm512_sub_epi32(_mm512_setzero_si512(), sums), 7);
}

/* The 16 rows of a in a step; what lies beyond k is zero. */
static void load_rows(const struct call *call, size_t step, size_t i, uint8_t rows[M0][ROW])
{
    const size_t steps = ceil_div(call->k, call->k_step), fractals = call->k_step / K0;
    const int8_t *from = call->a + (i * steps + step) * fractals * FRACTAL;
    const size_t left = call->k - step * call->k_step;
    const __mmask64 there = left < ROW ? ((__mmask64)1 << left) - 1 : ~(__mmask64)0;
    for (size_t row = 0; row < M0; row++) {
        const __m256i low = _mm256_loadu_si256((const __m256i *)(const void *)(from + row * K0));
        const __m256i high =
            fractals == 1 ? low
                          : _mm256_loadu_si256(
                                (const __m256i *)(const void *)(from + FRACTAL + row * K0));
        const __m512i both = _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
        store(rows[row], _mm512_xor_si512(_mm512_maskz_mov_epi8(there, both),
                                          _mm512_set1_epi8((char)0x80)));
    }
}

/* The exact sums of one step for one row. */
static inline __m512i step_sums(const struct tile *tile, const uint8_t row[ROW], int sparse)
{
    __m512i even = tile->start, odd = _mm512_setzero_si512();
    for (size_t s = 0; s < LAYER_TILE; s += 2) {
        if (sparse) {
            long long eight[2];
            memcpy(eight, row + LAYER_STEP * s, sizeof eight);
            dot(&even, _mm512_shuffle_epi8(_mm512_set1_epi64(eight[0]), tile->places[s]),
                tile->weights[s]);
            dot(&odd, _mm512_shuffle_epi8(_mm512_set1_epi64(eight[1]), tile->places[s + 1]),
                tile->weights[s + 1]);
        } else {
            int32_t four[2];
            memcpy(four, row + 4 * s, sizeof four);
            dot(&even, _mm512_set1_epi32(four[0]), tile->weights[s]);
            dot(&odd, _mm512_set1_epi32(four[1]), tile->weights[s + 1]);
        }
    }
    return _mm512_add_epi32(even, odd);
}

/* Add sums to a row of c: those of the columns of the mask. */
static inline void accumulate(int32_t *c, __m512i sums, __mmask16 columns, uint32_t flags)
{
    const __m512i before = _mm512_maskz_loadu_epi32(columns, c);
    __m512i after = _mm512_add_epi32(before, sums);
    if (!(flags & CUBE24_WRAP)) {
        /* Beyond int32, the sign is that of neither: then the end of the side that c was on. */
        const __mmask16 beyond = _mm512_movepi32_mask(_mm512_and_si512(
            _mm512_xor_si512(before, after), _mm512_xor_si512(sums, after)));
        const __m512i end = _mm512_xor_si512(_mm512_srai_epi32(before, 31),
                                             _mm512_set1_epi32(INT32_MAX));
        after = _mm512_mask_mov_epi32(after, beyond, end);
    }
    _mm512_mask_storeu_epi32(c, columns, after);
}

static __mmask16 columns_of(const struct call *call, size_t j)
{
    const size_t left = call->n - j * N0;
    return (__mmask16)(left < N0 ? (1U << left) - 1 : 0xffff);
}

static int32_t *fractal_of(const struct call *call, size_t i, size_t j)
{
    return call->c + (j * ceil_div(call->m, M0) + i) * C_FRACTAL;
}

/* Step after step: after each, its sums are added to c. */
static void multiply_by_step(const struct call *call)
{
    const size_t m1 = ceil_div(call->m, M0), n1 = ceil_div(call->n, N0);
    struct tile tiles[TILES];
    uint8_t rows[M0][ROW];
    for (size_t first = 0; first < n1; first += TILES) {
        const size_t count = least(TILES, n1 - first);
        for (size_t step = 0; step < ceil_div(call->k, call->k_step); step++) {
            for (size_t j = 0; j < count; j++)
                load_tile(call, step, first + j, &tiles[j]);
            for (size_t i = 0; i < m1; i++) {
                load_rows(call, step, i, rows);
                for (size_t j = 0; j < count; j++)
                    for (size_t row = 0; row < least(M0, call->m - i * M0); row++)
                        accumulate(fractal_of(call, i, first + j) + row * N0,
                                   step_sums(&tiles[j], rows[row], call->index != NULL),
                                   columns_of(call, first + j), call->flags);
            }
        }
    }
}

/* All steps, then one addition to c; sums of all products fit int32. */
static void multiply_whole(const struct call *call)
{
    struct tile tile;
    uint8_t rows[M0][ROW];
    for (size_t j = 0; j < ceil_div(call->n, N0); j++)
        for (size_t i = 0; i < ceil_div(call->m, M0); i++) {
            __m512i sums[M0];
            for (size_t row = 0; row < M0; row++)
                sums[row] = _mm512_setzero_si512();
            for (size_t step = 0; step < ceil_div(call->k, call->k_step); step++) {
                load_tile(call, step, j, &tile);
                load_rows(call, step, i, rows);
                for (size_t row = 0; row < M0; row++)
                    sums[row] = _mm512_add_epi32(
                        sums[row], step_sums(&tile, rows[row], call->index != NULL));
            }
            for (size_t row = 0; row < least(M0, call->m - i * M0); row++)
                accumulate(fractal_of(call, i, j) + row * N0, sums[row], columns_of(call, j),
                           call->flags);
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

const struct cube24_mmad_kernels cube24_mmad_avx512 = {mmad, mmad_sparse};
