/* SPDX-License-Identifier: Apache-2.0
 *
 * The codec for AVX-512 with VBMI, VBMI2 and VNNI: 16 groups a vector, 8 vectors a block.
 *
 * A group is a lane of 32 bits. Its non-zero mask comes from one dot product of its bytes, cut off
 * at 1, with 1, 2, 4, 8; whatever depends on the mask is then a table of 16 entries. No dot product
 * saturates: the instruction wraps, and no sum comes near to that.
 */
#include <immintrin.h>
#include <string.h>

#include "../paths.h"
#include "k_order.h"
#include "tables.h"

#define INLINE static inline __attribute__((always_inline))

enum { VECTOR = 64 };

INLINE __m512i load(const void *from)
{
    return _mm512_loadu_si512(from);
}

/* A table of 16 bytes for the permutation of bytes, which looks at 6 bits of an index: four times,
 * so that the two bits above a nibble need no clearing. */
INLINE __m512i nibble_table(const uint8_t entries[16])
{
    return _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)entries));
}

/* Write a vector, past the caches if `past`; the address is then a multiple of 64. */
INLINE void store(void *to, __m512i vector, int past)
{
    if (past)
        _mm512_stream_si512((__m512i *)to, vector);
    else
        _mm512_storeu_si512(to, vector);
}

/* Every byte 1 or 0: not zero or zero. */
INLINE __m512i nonzeros(__m512i bytes)
{
    return _mm512_min_epu8(bytes, _mm512_set1_epi8(1));
}

/* lanes + the non-zero mask of each group. */
INLINE __m512i add_masks(__m512i lanes, __m512i elements)
{
    return _mm512_dpbusd_epi32(lanes, nonzeros(elements), _mm512_set1_epi32(0x08040201));
}

/* --- encode --------------------------------------------------------------------------------- */

#define TWO_BYTES(slot0, slot1) {slot0, slot1, 0, 0}
static const uint8_t SLOTS[16][4] = {SLOTS_OF_MASKS(TWO_BYTES)};
static const uint8_t PAIRS[16] = {PAIRS_OF_MASKS};

/* The low halves of the lanes of two vectors, one vector behind the other. */
#define LOW_WORD(i) (2 * (i))
static const uint16_t LOW_WORDS[32] = {CUBE24_32(LOW_WORD, 0)};

/* Where the groups of two vectors start, once for each slot. */
#define GROUP_START(i) ((i) / 2 * 4)
static const uint8_t GROUP_STARTS[VECTOR] = {CUBE24_64(GROUP_START, 0)};

/* From lanes with the masks of 8 vectors, the last in the lowest nibble, to 4 parts of 16 bytes:
 * part p has vectors 2p and 2p + 1 in the high and low nibbles, even groups before odd ones. */
#define EVEN_ODD(i) (4 * ((i) % 8 * 2 + (i) / 8 % 2) + 3 - (i) / 16)
static const uint8_t EVEN_ODD_ORDER[VECTOR] = {CUBE24_64(EVEN_ODD, 0)};

#define COUNT_UP(i) (i)
static const uint8_t COUNT[VECTOR] = {CUBE24_64(COUNT_UP, 0)};

/* How the index is written: as it comes; past the caches, where it stands at whole lines; past the
 * caches, where its blocks follow each other and a line has the end of one and the start of the
 * next: NumPy's large arrays start in the middle of a line. */
enum index_store { INDEX_PLAIN, INDEX_LINES, INDEX_SHIFTED };

/* The last `count` bytes of a block and the first of the next. */
INLINE __m512i shifted(__m512i block, __m512i next, size_t count)
{
    const __m512i from = _mm512_add_epi8(load(COUNT), _mm512_set1_epi8((char)(VECTOR - count)));
    return _mm512_permutex2var_epi8(block, from, next);
}

/* `steps` by value, here and below: what is stored might else be a step. */
INLINE int encode_run(const int8_t *weight, struct cube24_steps steps, size_t blocks, int past,
                      enum index_store how, int8_t *dense, uint8_t *index)
{
    const size_t behind = (uintptr_t)index % VECTOR; /* bytes of a block behind a line */
    const __mmask64 head = ~(__mmask64)0 >> behind;
    __m512i before = _mm512_setzero_si512();
    const __m512i slots = load(SLOTS), pairs = nibble_table(PAIRS), low = load(LOW_WORDS);
    const __m512i starts = load(GROUP_STARTS), order = load(EVEN_ODD_ORDER);
    const __m512i low_nibble = _mm512_set1_epi8(0xf), zero = _mm512_setzero_si512();
    __m512i excess = zero;
    for (size_t b = 0; b < blocks; b++) {
        __m512i masks = zero;
#pragma GCC unroll 4
        for (size_t i = 0; i < 4; i++) {
            const __m512i v0 = load(weight + 2 * i * steps.piece);
            const __m512i v1 = load(weight + (2 * i + 1) * steps.piece);
            const __m512i m0 = add_masks(zero, v0);
            /* a table looks at the low nibble only: the one above keeps the mask before it */
            const __m512i m1 = add_masks(_mm512_slli_epi32(m0, 4), v1);
            masks = _mm512_or_si512(_mm512_slli_epi32(masks, 8), m1);
            const __m512i kept = _mm512_permutex2var_epi16(_mm512_permutexvar_epi32(m0, slots), low,
                                                           _mm512_permutexvar_epi32(m1, slots));
            store(dense + i * VECTOR,
                  _mm512_permutex2var_epi8(v0, _mm512_or_si512(kept, starts), v1), past);
        }
        masks = _mm512_permutexvar_epi8(order, masks);
        const __m512i first = _mm512_permutexvar_epi8(_mm512_srli_epi16(masks, 4), pairs);
        const __m512i second = _mm512_permutexvar_epi8(masks, pairs);
        const __m512i even = _mm512_unpacklo_epi64(first, second);
        const __m512i odd = _mm512_unpackhi_epi64(first, second);
        excess = _mm512_ternarylogic_epi64(excess, even, odd, 0xfe); /* excess | even | odd */
        /* low_nibble ? even : odd << 4 */
        const __m512i bytes =
            _mm512_ternarylogic_epi64(low_nibble, even, _mm512_slli_epi16(odd, 4), 0xca);
        if (how != INDEX_SHIFTED)
            store(index, bytes, how == INDEX_LINES);
        else if (b == 0)
            _mm512_mask_storeu_epi8(index, head, bytes);
        else
            store(index - behind, shifted(before, bytes, behind), 1);
        before = bytes;
        weight += steps.block;
        dense += steps.dense;
        index += steps.index;
    }
    if (how == INDEX_SHIFTED && blocks != 0)
        _mm512_mask_storeu_epi8(index - VECTOR, ~head, before);
    if (past)
        _mm_sfence();
    return _mm512_test_epi8_mask(excess, _mm512_set1_epi8(EXCESS)) != 0;
}

static int encode(const int8_t *weight, const struct cube24_steps *steps, size_t blocks, int past,
                  int8_t *dense, uint8_t *index)
{
    if (!past)
        return encode_run(weight, *steps, blocks, 0, INDEX_PLAIN, dense, index);
    if (((uintptr_t)index | steps->index) % CUBE24_LINE == 0)
        return encode_run(weight, *steps, blocks, 1, INDEX_LINES, dense, index);
    if (steps->index == CUBE24_BLOCK_INDEX)
        return encode_run(weight, *steps, blocks, 1, INDEX_SHIFTED, dense, index);
    return encode_run(weight, *steps, blocks, 1, INDEX_PLAIN, dense, index);
}

/* --- decode --------------------------------------------------------------------------------- */

static const uint8_t ELEMENTS[16][4] = {CUBE24_16(SLOTS_OF_PAIR, 0)};
static const uint8_t WRITTEN[VECTOR] = {CUBE24_64(IS_WRITTEN, 0)};

/* Where the groups of a vector start in its parts of 16 bytes. */
#define PART_START(i) ((i) % 16 / 4 * 4)
static const uint8_t PART_STARTS[VECTOR] = {CUBE24_64(PART_START, 0)};

/* A word of one vector and the same word of another to a lane, first for the low words. */
#define WORD_OF_LANE(i) ((i) / 2 + (i) % 2 * 32)
static const uint16_t WORDS_OF_LANES[64] = {CUBE24_64(WORD_OF_LANE, 0)};

/* 16 index pairs of 8 bytes to the low nibbles of 16 lanes, which start 4 bits apart. */
INLINE __m512i spread_pairs(const uint8_t *index)
{
    uint64_t pairs;
    memcpy(&pairs, index, sizeof pairs);
    return _mm512_multishift_epi64_epi8(load(COUNT), _mm512_set1_epi64((long long)pairs));
}

/* Sums of bytes find conflicts: where two slots meet, the larger is written, so that the sum of
 * what is written is less than that of what is read if the smaller was not zero. */
INLINE __m512i add_bytes(__m512i sums, __m512i bytes)
{
    return _mm512_dpbusd_epi32(sums, bytes, _mm512_set1_epi8(1));
}

/* Blocks that do not follow each other are too far apart for the hardware to see them coming: they
 * are asked for so many ahead. On a Zen 4, Zn of 8 MiB: 29 GB/s for 20; of 64 KiB: 38 for 41. */
enum { AHEAD = 4 };

INLINE int decode_run(const int8_t *dense, const uint8_t *index, struct cube24_steps steps,
                      size_t blocks, int past, int strict, int8_t *weight)
{
    const __m512i elements = load(ELEMENTS), starts = load(PART_STARTS), table = load(WRITTEN);
    const __m512i zero = _mm512_setzero_si512(), one = _mm512_set1_epi8(1);
    const __m512i halves[2] = {load(WORDS_OF_LANES), load(WORDS_OF_LANES + 32)};
    const int apart = steps.dense != CUBE24_BLOCK_DENSE;
    __m512i faults = zero, written = one, in = zero, out[2] = {zero, zero};
    for (size_t b = 0; b < blocks; b++) {
        if (apart) {
            for (size_t at = 0; at < CUBE24_BLOCK_DENSE; at += VECTOR)
                _mm_prefetch((const char *)dense + AHEAD * steps.dense + at, _MM_HINT_T0);
            _mm_prefetch((const char *)index + AHEAD * steps.index, _MM_HINT_T0);
        }
        if (!strict) { /* faults |= index & index >> 1 & 0x55: an index of 3 */
            const __m512i bytes = load(index);
            const __m512i high =
                _mm512_and_si512(_mm512_srli_epi16(bytes, 1), _mm512_set1_epi8(0x55));
            faults = _mm512_ternarylogic_epi64(faults, bytes, high, 0xf8);
        }
#pragma GCC unroll 4
        for (size_t i = 0; i < 4; i++) {
            const __m512i slots = load(dense + i * VECTOR);
            const __m512i second = _mm512_srli_epi16(slots, 8);
            const __m512i both = _mm512_max_epu8(slots, second); /* the low byte; the high is any */
            if (!strict)
                in = add_bytes(in, slots);
#pragma GCC unroll 2
            for (size_t half = 0; half < 2; half++) {
                const __m512i pairs = spread_pairs(index + 16 * i + 8 * half);
                const __m512i bytes = _mm512_permutex2var_epi16(slots, halves[half], both);
                const __m512i from = _mm512_permutexvar_epi32(pairs, elements);
                const __m512i e = _mm512_shuffle_epi8(bytes, _mm512_or_si512(from, starts));
                store(weight + (2 * i + half) * steps.piece, e, past);
                if (strict) {
                    const __m512i pair = _mm512_and_si512(pairs, _mm512_set1_epi32(0xf));
                    const __m512i entry = _mm512_dpbusd_epi32(
                        pair, nonzeros(bytes), _mm512_set1_epi32(SLOT_1 << 8 | SLOT_0));
                    written = _mm512_and_si512(written, _mm512_permutexvar_epi8(entry, table));
                } else {
                    out[half] = add_bytes(out[half], e);
                }
            }
        }
        dense += steps.dense;
        index += steps.index;
        weight += steps.block;
    }
    if (past)
        _mm_sfence();
    if (strict)
        return _mm512_cmpneq_epi8_mask(written, one) != 0;
    const __m512i lost = _mm512_sub_epi32(in, _mm512_add_epi32(out[0], out[1]));
    return _mm512_test_epi8_mask(faults, faults) != 0 || _mm512_reduce_add_epi32(lost) != 0;
}

static int decode(const int8_t *dense, const uint8_t *index, const struct cube24_steps *steps,
                  size_t blocks, int past, int8_t *weight)
{
    return past ? decode_run(dense, index, *steps, blocks, 1, 0, weight)
                : decode_run(dense, index, *steps, blocks, 0, 0, weight);
}

static int decode_strict(const int8_t *dense, const uint8_t *index,
                         const struct cube24_steps *steps, size_t blocks, int past, int8_t *weight)
{
    return past ? decode_run(dense, index, *steps, blocks, 1, 1, weight)
                : decode_run(dense, index, *steps, blocks, 0, 1, weight);
}

/* --- count ---------------------------------------------------------------------------------- */

/* Counters of 4 bits, two to a byte, 8 vectors of them; each block adds up to 2 to each. */
enum { COUNTERS = 8, BLOCKS_PER_COUNTER = 15 / 2 };

/* What a mask adds to counter c: that of mask 2c, or that of mask 2c + 1 above it. */
#define ONE(i) ((i) % 16 == (i) / 16 * 2 ? 0x01 : (i) % 16 == (i) / 16 * 2 + 1 ? 0x10 : 0)
#define ONES_OF(c) {CUBE24_16(ONE, (c) * 16)}
static const uint8_t ONES[COUNTERS][16] = {
    ONES_OF(0), ONES_OF(1), ONES_OF(2), ONES_OF(3), ONES_OF(4), ONES_OF(5), ONES_OF(6), ONES_OF(7),
};

static void count(const int8_t *weight, size_t blocks, uint64_t *masks)
{
    const __m512i low_nibble = _mm512_set1_epi8(0xf), zero = _mm512_setzero_si512();
    __m512i ones[COUNTERS];
    for (unsigned c = 0; c < COUNTERS; c++)
        ones[c] = nibble_table(ONES[c]);
    while (blocks != 0) {
        const size_t some = blocks < BLOCKS_PER_COUNTER ? blocks : BLOCKS_PER_COUNTER;
        __m512i counters[COUNTERS];
        for (unsigned c = 0; c < COUNTERS; c++)
            counters[c] = zero;
        for (size_t b = 0; b < some; b++) {
            __m512i even = zero; /* nibbles of all 8 pieces, in any order */
#pragma GCC unroll 4
            for (size_t i = 0; i < 4; i++, weight += 2 * VECTOR) {
                const __m512i first = add_masks(zero, load(weight));
                const __m512i pair = add_masks(_mm512_slli_epi32(first, 4), load(weight + VECTOR));
                even = _mm512_or_si512(_mm512_slli_epi32(even, 8), pair);
            }
            const __m512i odd = _mm512_srli_epi16(even, 4);
#pragma GCC unroll 8
            for (unsigned c = 0; c < COUNTERS; c++) {
                const __m512i two = _mm512_add_epi8(_mm512_permutexvar_epi8(even, ones[c]),
                                                    _mm512_permutexvar_epi8(odd, ones[c]));
                counters[c] = _mm512_add_epi8(counters[c], two);
            }
        }
        for (unsigned c = 0; c < COUNTERS; c++) {
            const __m512i first = _mm512_and_si512(counters[c], low_nibble);
            const __m512i second = _mm512_and_si512(_mm512_srli_epi16(counters[c], 4), low_nibble);
            masks[2 * c] += (uint64_t)_mm512_reduce_add_epi64(_mm512_sad_epu8(first, zero));
            masks[2 * c + 1] += (uint64_t)_mm512_reduce_add_epi64(_mm512_sad_epu8(second, zero));
        }
        blocks -= some;
    }
}

/* --- prune ---------------------------------------------------------------------------------- */

static const uint8_t FIRST_TWO[16][4] = {FIRST_TWO_OF_MASKS(KEEP_BYTES)};
static const uint8_t FIRST_LAST[16][4] = {FIRST_LAST_OF_MASKS(KEEP_BYTES)};

/* The two largest of each group, by counting for each element how many of the other three come
 * before it: rotated by r bytes, element p meets element p - r, which wins a tie if it is lower. */
INLINE __m512i keep_largest(__m512i e)
{
    const __m512i size = _mm512_abs_epi8(e); /* of -128 it is 128, unsigned */
    const __m512i ties[3] = {_mm512_set1_epi32(0x01010100), _mm512_set1_epi32(0x01010000),
                             _mm512_set1_epi32(0x01000000)};
    const __mmask64 a =
        _mm512_cmpgt_epu8_mask(_mm512_add_epi8(_mm512_rol_epi32(size, 8), ties[0]), size);
    const __mmask64 b =
        _mm512_cmpgt_epu8_mask(_mm512_add_epi8(_mm512_rol_epi32(size, 16), ties[1]), size);
    const __mmask64 c =
        _mm512_cmpgt_epu8_mask(_mm512_add_epi8(_mm512_rol_epi32(size, 24), ties[2]), size);
    return _mm512_maskz_mov_epi8(~((a & b) | (a & c) | (b & c)), e);
}

/* Sums of |w| and w * w, in lanes that a run does not overflow. */
struct norms {
    __m512i l1, l2;
};

INLINE void add_norms(struct norms *sums, __m512i e)
{
    const __m512i odd = _mm512_srai_epi16(e, 8);
    const __m512i even = _mm512_srai_epi16(_mm512_slli_epi16(e, 8), 8);
    sums->l1 = add_bytes(sums->l1, _mm512_abs_epi8(e));
    sums->l2 = _mm512_dpwssd_epi32(_mm512_dpwssd_epi32(sums->l2, odd, odd), even, even);
}

/* The sum of unsigned lanes. */
INLINE uint64_t sum_of(__m512i lanes)
{
    const __m512i low = _mm512_and_si512(lanes, _mm512_set1_epi64(0xffffffff));
    return (uint64_t)_mm512_reduce_add_epi64(_mm512_add_epi64(low, _mm512_srli_epi64(lanes, 32)));
}

INLINE void prune_run(const int8_t *weight, size_t blocks, int policy, int8_t *out,
                      cube24_cost *cost)
{
    const __m512i keep = load(policy == CUBE24_POLICY_FIRST_TWO ? FIRST_TWO : FIRST_LAST);
    const __m512i zero = _mm512_setzero_si512();
    struct norms total = {zero, zero}, removed = {zero, zero};
    uint64_t groups = 0, weights = 0;
    for (size_t i = 0; i < blocks * CUBE24_PIECES; i++) {
        const __m512i e = load(weight + i * VECTOR);
        const __m512i kept =
            policy == CUBE24_POLICY_MAGNITUDE
                ? keep_largest(e)
                : _mm512_and_si512(e, _mm512_permutexvar_epi32(add_masks(zero, e), keep));
        const __m512i lost = _mm512_xor_si512(e, kept);
        groups += (unsigned)__builtin_popcount(_mm512_test_epi32_mask(lost, lost));
        weights += (unsigned)__builtin_popcountll(_mm512_test_epi8_mask(lost, lost));
        add_norms(&total, e);
        add_norms(&removed, lost);
        store(out + i * VECTOR, kept, 0);
    }
    cost->groups += groups;
    cost->weights += weights;
    cost->l1_removed += sum_of(removed.l1);
    cost->l1_total += sum_of(total.l1);
    cost->l2_removed += sum_of(removed.l2);
    cost->l2_total += sum_of(total.l2);
}

#include "prune.h"

const struct cube24_codec_kernels cube24_codec_avx512 = {
    .encode = encode,
    .decode = decode,
    .decode_strict = decode_strict,
    .count = count,
    .prune = prune,
    .channels_last = channels_last,
    .channels_first = channels_first,
};
