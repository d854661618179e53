/* SPDX-License-Identifier: Apache-2.0
 *
 * Weights of 16 columns as AVX2 multiplies them, for the kernels of multiply-add and of whole layers.
 * A step has 256 bytes: see layer_avx2.c. Everything is static.
 */
#ifndef CUBE24_TILE_AVX2_H
#define CUBE24_TILE_AVX2_H

#include <immintrin.h>
#include <string.h>

#include "../format.h"
#include "../layer.h"

enum {
    VECTOR = 32,
    COLUMNS_BYTES = 2 * LAYER_VECTOR * LAYER_STEP, /* of 16 columns in a step */
    NOTHING = 0x80
};

static inline __m256i load(const void *from)
{
    return _mm256_loadu_si256((const __m256i *)from);
}

static inline void store(void *to, __m256i x)
{
    _mm256_storeu_si256((__m256i *)to, x);
}

static inline void pack_dense_step(const int8_t *weight, size_t row, uint8_t *packed)
{
    for (size_t column = 0; column < LAYER_VECTOR; column++) {
        uint8_t pairs[2 * LAYER_STEP];
        const __m128i eight =
            _mm_loadl_epi64((const __m128i *)(const void *)(weight + column * row));
        _mm_storeu_si128((__m128i *)(void *)pairs, _mm_cvtepi8_epi16(eight));
        for (size_t pair = 0; pair < 4; pair++)
            memcpy(packed + pair * 2 * VECTOR + 4 * column, pairs + 4 * pair, 4);
    }
}

/* By index pair: the bytes of eight int16 that the two slots of the first group select. */
static inline void tables(uint32_t options, uint32_t places[16])
{
    for (unsigned pair = 0; pair < 16; pair++) {
        const unsigned i0 = pair_i0(pair);
        const unsigned i1 = options & CUBE24_PAIR20_TABLE && pair == pack_pair(2, 0)
                                ? 2
                                : pair_i1(pair) + 1;
        const uint32_t first = i0 < 3 ? 2 * i0 | (2 * i0 + 1) << 8 : NOTHING | NOTHING << 8;
        const uint32_t second = i1 < 4 ? 2 * i1 | (2 * i1 + 1) << 8 : NOTHING | NOTHING << 8;
        places[pair] = first | second << 16;
    }
}

/* Gives 1 if there is an index of 3. */
static inline int pack_sparse_step(const struct cube24_weight_tile *tile, size_t s,
                                   const uint32_t places[16], uint8_t *packed)
{
    uint32_t all = 0;
    for (size_t column = 0; column < LAYER_VECTOR; column++) {
        const uint8_t index = tile->index[column * tile->index_row + s];
        const uint32_t low = places[index & 0xf];
        const uint32_t high = places[index >> 4] | 0x08080808; /* the second group */
        memcpy(packed + 4 * VECTOR + 8 * column, &low, 4);
        memcpy(packed + 4 * VECTOR + 8 * column + 4, &high, 4);
        all |= low | high;
    }
    for (size_t column = 0; column < LAYER_VECTOR; column += 4) {
        const int8_t *weight = tile->weight + column * tile->weight_row + 4 * s;
        int32_t fours[4];
        for (size_t i = 0; i < 4; i++)
            memcpy(fours + i, weight + i * tile->weight_row, 4);
        store(packed + 8 * column,
              _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)fours)));
    }
    return (all & 0x80808080) != 0;
}

#endif
