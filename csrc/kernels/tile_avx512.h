/* SPDX-License-Identifier: Apache-2.0
 *
 * Weights of 16 columns as AVX-512 multiplies them, for the kernels of multiply-add and of whole
 * layers. Everything is static.
 */
#ifndef CUBE24_TILE_AVX512_H
#define CUBE24_TILE_AVX512_H

#include <immintrin.h>
#include <string.h>

#include "../format.h"
#include "../layer.h"

enum { VECTOR = 64, NOTHING = 0x80 };

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

/* By index pair: the element of a group that a slot selects, or NOTHING. */
static void tables(uint32_t options, uint8_t first[16], uint8_t second[16])
{
    for (unsigned pair = 0; pair < 16; pair++) {
        first[pair] = (uint8_t)(pair_i0(pair) < 3 ? pair_i0(pair) : (unsigned)NOTHING);
        second[pair] = (uint8_t)(pair_i1(pair) < 3 ? pair_i1(pair) + 1 : (unsigned)NOTHING);
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

/* The weights of eight steps, and for each the place among eight neighbouring activations that it
 * takes, as vpshufb reads it. A slot with index 3 has the weight zero and takes zero. Gives 1 if
 * there is one. */
static inline int select_tile(const uint8_t *weight, size_t weight_row, const uint8_t *index,
                              size_t index_row, uint32_t options, __m512i weights[LAYER_TILE],
                              __m512i places[LAYER_TILE])
{
    uint8_t bytes_of[LAYER_TILE][16], first[16], second[16];
    tables(options, first, second);
    const __m512i even = table_of(first), odd = table_of(second);
    /* Low nibble twice, then high nibble twice, of the lowest byte of each dword. */
    const __m512i nibbles = _mm512_set1_epi64(0x2424202004040000);
    const __m512i groups = _mm512_set1_epi32(0x04040000);
    __mmask64 found = 0;
    turn_dwords(weight, weight_row, weights);
    turn_index(index, index_row, bytes_of);
    for (int s = 0; s < LAYER_TILE; s++) {
        const __m512i bytes =
            _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)bytes_of[s]));
        const __m512i pairs = _mm512_and_si512(_mm512_multishift_epi64_epi8(nibbles, bytes),
                                               _mm512_set1_epi8(0xf));
        const __m512i taken = _mm512_mask_shuffle_epi8(_mm512_shuffle_epi8(even, pairs),
                                                       0xaaaaaaaaaaaaaaaa, odd, pairs);
        const __mmask64 nothing = _mm512_movepi8_mask(taken);
        found |= nothing;
        weights[s] = _mm512_maskz_mov_epi8(~nothing, weights[s]);
        places[s] = _mm512_or_si512(taken, groups);
    }
    return found != 0;
}

#endif
