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

#include "../format.h"
#include "../layer.h"
#include "../paths.h"
#include "transpose.h"

enum { VECTOR = 64, VECTORS = LAYER_COLUMNS / LAYER_VECTOR, NOTHING = 0x80 };

static inline __m512i load(const void *from)
{
    return _mm512_loadu_si512(from);
}

static inline void store(void *to, __m512i x)
{
    _mm512_storeu_si512(to, x);
}

/* sums += a x b, four products for each sum. Written out: around the intrinsic, compilers move
 * accumulators to memory and back. */
static inline void dot(__m512i *sums, __m512i a, __m512i b)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(*sums) : "v"(a), "v"(b));
}

/* --- packing -------------------------------------------------------------------------------- */

/* 16 rows of 8 dwords to 8 vectors of 16 dwords. */
static inline void turn_dwords(const uint8_t *from, size_t row, __m512i out[8])
{
    __m512i x[8], y[8];
    for (int i = 0; i < 8; i++) {
        const __m256i low = _mm256_loadu_si256((const __m256i *)(const void *)(from + (size_t)i * row));
        const __m256i high =
            _mm256_loadu_si256((const __m256i *)(const void *)(from + (size_t)(i + 8) * row));
        x[i] = _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
    }
    for (int i = 0; i < 4; i++) {
        y[2 * i] = _mm512_unpacklo_epi32(x[2 * i], x[2 * i + 1]);
        y[2 * i + 1] = _mm512_unpackhi_epi32(x[2 * i], x[2 * i + 1]);
    }
    for (int i = 0; i < 2; i++) {
        x[4 * i] = _mm512_unpacklo_epi64(y[4 * i], y[4 * i + 2]);
        x[4 * i + 1] = _mm512_unpackhi_epi64(y[4 * i], y[4 * i + 2]);
        x[4 * i + 2] = _mm512_unpacklo_epi64(y[4 * i + 1], y[4 * i + 3]);
        x[4 * i + 3] = _mm512_unpackhi_epi64(y[4 * i + 1], y[4 * i + 3]);
    }
    /* Lanes hold rows 0-3 and 4-7 of one column, then 8-11 and 12-15; columns 0-3 in the even
     * lanes, 4-7 in the odd ones. */
    const __m512i even = _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13);
    const __m512i odd = _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15);
    for (int i = 0; i < 4; i++) {
        out[i] = _mm512_permutex2var_epi64(x[i], even, x[i + 4]);
        out[i + 4] = _mm512_permutex2var_epi64(x[i], odd, x[i + 4]);
    }
}

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

/* By index pair: the element of a group that a slot selects, or NOTHING. */
static void tables(uint32_t options, uint8_t first[16], uint8_t second[16])
{
    for (unsigned pair = 0; pair < 16; pair++) {
        first[pair] = (uint8_t)(pair_i0(pair) < 3 ? pair_i0(pair) : NOTHING);
        second[pair] = (uint8_t)(pair_i1(pair) < 3 ? pair_i1(pair) + 1 : NOTHING);
    }
    if (options & CUBE24_PAIR20_TABLE)
        second[pack_pair(2, 0)] = 2;
}

static inline __m512i table_of(const uint8_t table[16])
{
    return _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)table));
}

/* The index bytes of 16 rows, 8 steps each, by step: 8 times 16 bytes. */
static inline void turn_index(const uint8_t *from, size_t row, uint8_t out[LAYER_TILE][16])
{
    __m128i x[8], y[8];
    for (int i = 0; i < 8; i++) /* rows i and i + 8 side by side */
        x[i] = _mm_unpacklo_epi8(
            _mm_loadl_epi64((const __m128i *)(const void *)(from + (size_t)i * row)),
            _mm_loadl_epi64((const __m128i *)(const void *)(from + (size_t)(i + 8) * row)));
    for (int step = 0; step < 3; step++) {
        for (int i = 0; i < 4; i++) {
            y[2 * i] = _mm_unpacklo_epi8(x[i], x[i + 4]);
            y[2 * i + 1] = _mm_unpackhi_epi8(x[i], x[i + 4]);
        }
        memcpy(x, y, sizeof y);
    }
    memcpy(out, x, sizeof x);
}

static int pack_sparse(const struct cube24_weight_tile *tile, size_t vector, uint8_t *packed,
                       int32_t *start)
{
    __m512i weights[LAYER_TILE], sums = _mm512_setzero_si512();
    uint8_t index[LAYER_TILE][16], first[16], second[16];
    tables(tile->options, first, second);
    const __m512i even = table_of(first), odd = table_of(second);
    /* Low nibble twice, then high nibble twice, of the lowest byte of each dword. */
    const __m512i nibbles = _mm512_set1_epi64(0x2424202004040000);
    const __m512i groups = _mm512_set1_epi32(0x04040000);
    __mmask64 found = 0;
    turn_dwords((const uint8_t *)tile->weight, tile->weight_row, weights);
    turn_index(tile->index, tile->index_row, index);
    for (int s = 0; s < LAYER_TILE; s++) {
        const __m512i bytes =
            _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)index[s]));
        const __m512i pairs = _mm512_and_si512(_mm512_multishift_epi64_epi8(nibbles, bytes),
                                               _mm512_set1_epi8(0xf));
        const __m512i places = _mm512_mask_shuffle_epi8(_mm512_shuffle_epi8(even, pairs),
                                                        0xaaaaaaaaaaaaaaaa, odd, pairs);
        const __mmask64 nothing = _mm512_movepi8_mask(places);
        found |= nothing;
        if (!(tile->kept >> s & 1))
            continue;
        const __m512i taken = _mm512_maskz_mov_epi8(~nothing, weights[s]);
        dot(&sums, _mm512_set1_epi8(1), taken);
        store(packed + vector * VECTOR, taken);
        store(packed + VECTORS * VECTOR + vector * VECTOR, _mm512_or_si512(places, groups));
        packed += PACKED_STEP;
    }
    add_start(start, sums);
    return found != 0;
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
