/* SPDX-License-Identifier: Apache-2.0
 *
 * The codec for AVX2: 8 groups a vector, 2 vectors a piece.
 *
 * The non-zero mask of a group comes from a dot product of its bytes, cut off at 1, with 1, 2, 4,
 * 8; what depends on the mask is then a table of 16 bytes. Instructions work in halves of 16 bytes:
 * two vectors of results are packed with their halves in turn, and put in order at the end.
 */
#include <immintrin.h>
#include <string.h>

#include "../paths.h"
#include "k_order.h"
#include "tables.h"

#define INLINE static inline __attribute__((always_inline))

enum { VECTOR = 32 };

INLINE __m256i load(const void *from)
{
    return _mm256_loadu_si256((const __m256i *)from);
}

/* Write a vector, past the caches if `past`; the address is then a multiple of 32. */
INLINE void store(void *to, __m256i vector, int past)
{
    if (past)
        _mm256_stream_si256((__m256i *)to, vector);
    else
        _mm256_storeu_si256((__m256i *)to, vector);
}

/* A table for the shuffle of bytes, once for each half. */
INLINE __m256i table_of(const uint8_t entries[16])
{
    return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)entries));
}

INLINE __m256i look_up(__m256i table, __m256i indices)
{
    return _mm256_shuffle_epi8(table, indices);
}

/* Every byte 1 or 0: not zero or zero. */
INLINE __m256i nonzeros(__m256i bytes)
{
    return _mm256_min_epu8(bytes, _mm256_set1_epi8(1));
}

/* The non-zero mask of each group, in lanes of 32 bits. */
INLINE __m256i masks_of(__m256i elements)
{
    const __m256i pairs =
        _mm256_maddubs_epi16(nonzeros(elements), _mm256_set1_epi32(0x08040201));
    return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

/* 1 if a byte is not zero. */
INLINE int any(__m256i bytes)
{
    return !_mm256_testz_si256(bytes, bytes);
}

/* --- encode --------------------------------------------------------------------------------- */

#define FIRST(slot0, slot1) slot0
#define SECOND(slot0, slot1) slot1
static const uint8_t SLOT_0_OF_MASKS[16] = {SLOTS_OF_MASKS(FIRST)};
static const uint8_t SLOT_1_OF_MASKS[16] = {SLOTS_OF_MASKS(SECOND)};
static const uint8_t PAIRS[16] = {PAIRS_OF_MASKS};

/* Where the groups of a half start, once for each slot, for two vectors in turn. */
#define GROUP_START(i) ((i) % 8 / 2 * 4)
static const uint8_t GROUP_STARTS[16] = {CUBE24_16(GROUP_START, 0)};

/* Encode a piece: its dense bytes, and its index bytes as lanes, halves in turn. */
INLINE __m256i encode_piece(const int8_t *weight, int past, int8_t *dense, __m256i *excess)
{
    const __m256i v0 = load(weight), v1 = load(weight + VECTOR);
    /* tables give 0 for a zero mask: the high bytes of these words stay 0 */
    const __m256i masks = _mm256_packs_epi32(masks_of(v0), masks_of(v1));
    const __m256i slot0 = look_up(table_of(SLOT_0_OF_MASKS), masks);
    const __m256i slot1 = look_up(table_of(SLOT_1_OF_MASKS), _mm256_slli_epi16(masks, 8));
    const __m256i from =
        _mm256_or_si256(_mm256_or_si256(slot0, slot1), table_of(GROUP_STARTS));
    const __m256i kept = _mm256_blend_epi32(_mm256_shuffle_epi8(v0, from),
                                            _mm256_shuffle_epi8(v1, from), 0xcc);
    store(dense, _mm256_permute4x64_epi64(kept, 0xd8), past);
    const __m256i pairs = look_up(table_of(PAIRS), masks);
    *excess = _mm256_or_si256(*excess, pairs);
    return _mm256_madd_epi16(_mm256_and_si256(pairs, _mm256_set1_epi8(0xf)),
                             _mm256_set1_epi32(0x00100001));
}

INLINE int encode_run(const int8_t *weight, struct cube24_steps steps, size_t blocks, int past,
                      int8_t *dense, uint8_t *index)
{
    __m256i excess = _mm256_setzero_si256();
    for (size_t b = 0; b < blocks; b++) {
#pragma GCC unroll 2
        for (size_t i = 0; i < 2; i++) {
            __m256i lanes[4];
#pragma GCC unroll 4
            for (size_t j = 0; j < 4; j++)
                lanes[j] = encode_piece(weight + (4 * i + j) * steps.piece, past,
                                        dense + (4 * i + j) * VECTOR, &excess);
            const __m256i bytes = _mm256_packus_epi16(_mm256_packus_epi32(lanes[0], lanes[1]),
                                                      _mm256_packus_epi32(lanes[2], lanes[3]));
            /* 2 bytes of a vector, 2 of the next: the halves of a piece, 4 pieces, twice */
            const __m256i halves = _mm256_permute4x64_epi64(bytes, 0xd8);
            const __m256i order = _mm256_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14,
                                                   15, 0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7,
                                                   14, 15);
            store(index + i * VECTOR, _mm256_shuffle_epi8(halves, order), 0);
        }
        weight += steps.block;
        dense += steps.dense;
        index += steps.index;
    }
    if (past)
        _mm_sfence();
    return any(_mm256_and_si256(excess, _mm256_set1_epi8(EXCESS)));
}

static int encode(const int8_t *weight, const struct cube24_steps *steps, size_t blocks, int past,
                  int8_t *dense, uint8_t *index)
{
    return past ? encode_run(weight, *steps, blocks, 1, dense, index)
                : encode_run(weight, *steps, blocks, 0, dense, index);
}

/* --- decode --------------------------------------------------------------------------------- */

/* For each index pair the states of its slots that the encoder writes, a bit a state; and the bit
 * of a state: slot 0 is not zero, slot 1 is not zero. */
#define STATES_OF_PAIR(pair)                                                                \
    (IS_WRITTEN(pair) | IS_WRITTEN((pair) | SLOT_0) << 1 | IS_WRITTEN((pair) | SLOT_1) << 2 | \
     IS_WRITTEN((pair) | SLOT_0 | SLOT_1) << 3)
#define BIT_OF_STATE(i) (1 << (i) % 4)
static const uint8_t STATES[16] = {CUBE24_16(STATES_OF_PAIR, 0)};
static const uint8_t BITS[16] = {CUBE24_16(BIT_OF_STATE, 0)};

/* The bytes of 8 groups. Where both slots meet and neither is zero, *conflict is not. */
INLINE __m256i decode_groups(__m256i slots, const uint8_t *index, __m256i *conflict)
{
    const __m256i starts =
        _mm256_broadcastsi128_si256(_mm_setr_epi32(0, 0x04040404, 0x08080808, 0x0c0c0c0c));
    int pairs;
    memcpy(&pairs, index, sizeof pairs);
    const __m256i lanes = _mm256_srlv_epi32(_mm256_set1_epi32(pairs),
                                            _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28));
    const __m256i pair = _mm256_shuffle_epi8(lanes, starts);
    const __m256i i0 = _mm256_and_si256(pair, _mm256_set1_epi8(0x3));
    const __m256i i1 = _mm256_and_si256(pair, _mm256_set1_epi8(0xc));
    /* slot 0 is element i0; slot 1 is element i1 + 1, and never element 0 */
    const __m256i is0 = _mm256_cmpeq_epi8(i0, _mm256_set1_epi32(0x03020100));
    const __m256i is1 = _mm256_cmpeq_epi8(i1, _mm256_set1_epi32(0x080400ff));
    const __m256i slot0 = _mm256_and_si256(_mm256_shuffle_epi8(slots, starts), is0);
    const __m256i second = _mm256_or_si256(starts, _mm256_set1_epi8(1));
    const __m256i slot1 = _mm256_and_si256(_mm256_shuffle_epi8(slots, second), is1);
    *conflict = _mm256_or_si256(*conflict, _mm256_min_epu8(slot0, slot1));
    return _mm256_or_si256(slot0, slot1);
}

/* For each of 16 groups, in the low bytes of words, the bit of its state if the encoder writes such
 * a group, else 0; the high bytes are not 0. */
INLINE __m256i written(__m256i slots, const uint8_t *index)
{
    const __m256i states = _mm256_maddubs_epi16(nonzeros(slots), _mm256_set1_epi16(0x0201));
    const __m256i bytes =
        _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)index));
    const __m256i pairs = _mm256_and_si256(_mm256_or_si256(bytes, _mm256_slli_epi32(bytes, 12)),
                                           _mm256_set1_epi16(0xf));
    return _mm256_and_si256(look_up(table_of(STATES), pairs), look_up(table_of(BITS), states));
}

INLINE int decode_run(const int8_t *dense, const uint8_t *index, struct cube24_steps steps,
                      size_t blocks, int past, int strict, int8_t *weight)
{
    __m256i faults = _mm256_setzero_si256(), conflict = _mm256_setzero_si256();
    __m256i right = _mm256_set1_epi8(-1);
    for (size_t b = 0; b < blocks; b++) {
        for (size_t i = 0; i < CUBE24_BLOCK_INDEX; i += VECTOR) { /* an index of 3 */
            const __m256i bytes = load(index + i);
            const __m256i both = _mm256_and_si256(bytes, _mm256_srli_epi16(bytes, 1));
            faults = _mm256_or_si256(faults, _mm256_and_si256(both, _mm256_set1_epi8(0x55)));
        }
#pragma GCC unroll 8
        for (size_t i = 0; i < CUBE24_PIECES; i++) {
            const __m256i slots = load(dense + i * VECTOR);
            const __m256i low = _mm256_cvtepu16_epi32(_mm256_castsi256_si128(slots));
            const __m256i high = _mm256_cvtepu16_epi32(_mm256_extracti128_si256(slots, 1));
            int8_t *out = weight + i * steps.piece;
            store(out, decode_groups(low, index + 8 * i, &conflict), past);
            store(out + VECTOR, decode_groups(high, index + 8 * i + 4, &conflict), past);
            if (strict)
                right = _mm256_min_epu8(right, written(slots, index + 8 * i));
        }
        dense += steps.dense;
        index += steps.index;
        weight += steps.block;
    }
    if (past)
        _mm_sfence();
    if (strict)
        return any(_mm256_cmpeq_epi8(right, _mm256_setzero_si256()));
    return any(_mm256_or_si256(faults, conflict));
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

/* Counters of 4 bits, two to a byte, 8 vectors of them; a part of a block adds up to 1 to each. */
enum { COUNTERS = 8, PART = 128, PARTS = CUBE24_BLOCK / PART, PARTS_PER_COUNTER = 15 };

/* What a mask adds to counter c: that of mask 2c, or that of mask 2c + 1 above it. */
#define ONE(i) ((i) % 16 == (i) / 16 * 2 ? 0x01 : (i) % 16 == (i) / 16 * 2 + 1 ? 0x10 : 0)
#define ONES_OF(c) {CUBE24_16(ONE, (c) * 16)}
static const uint8_t ONES[COUNTERS][16] = {
    ONES_OF(0), ONES_OF(1), ONES_OF(2), ONES_OF(3), ONES_OF(4), ONES_OF(5), ONES_OF(6), ONES_OF(7),
};

/* The sum of lanes of 64 bits. */
INLINE uint64_t sum_of(__m256i lanes)
{
    const __m128i two = _mm_add_epi64(_mm256_castsi256_si128(lanes),
                                      _mm256_extracti128_si256(lanes, 1));
    return (uint64_t)_mm_cvtsi128_si64(_mm_add_epi64(two, _mm_unpackhi_epi64(two, two)));
}

INLINE uint64_t sum_of_bytes(__m256i bytes)
{
    return sum_of(_mm256_sad_epu8(bytes, _mm256_setzero_si256()));
}

static void count(const int8_t *weight, size_t blocks, uint64_t *masks)
{
    const __m256i low_nibble = _mm256_set1_epi8(0xf);
    for (size_t parts = blocks * PARTS; parts != 0;) {
        const size_t some = parts < PARTS_PER_COUNTER ? parts : PARTS_PER_COUNTER;
        __m256i counters[COUNTERS];
        for (unsigned c = 0; c < COUNTERS; c++)
            counters[c] = _mm256_setzero_si256();
        for (size_t p = 0; p < some; p++, weight += PART) {
            const __m256i words0 =
                _mm256_packs_epi32(masks_of(load(weight)), masks_of(load(weight + VECTOR)));
            const __m256i words1 = _mm256_packs_epi32(masks_of(load(weight + 2 * VECTOR)),
                                                      masks_of(load(weight + 3 * VECTOR)));
            const __m256i bytes = _mm256_packus_epi16(words0, words1); /* in any order */
#pragma GCC unroll 8
            for (unsigned c = 0; c < COUNTERS; c++)
                counters[c] = _mm256_add_epi8(counters[c], look_up(table_of(ONES[c]), bytes));
        }
        for (unsigned c = 0; c < COUNTERS; c++) {
            masks[2 * c] += sum_of_bytes(_mm256_and_si256(counters[c], low_nibble));
            masks[2 * c + 1] += sum_of_bytes(
                _mm256_and_si256(_mm256_srli_epi16(counters[c], 4), low_nibble));
        }
        parts -= some;
    }
}

/* --- prune ---------------------------------------------------------------------------------- */

#define AS_BITS(keep) keep
static const uint8_t FIRST_TWO[16] = {FIRST_TWO_OF_MASKS(AS_BITS)};
static const uint8_t FIRST_LAST[16] = {FIRST_LAST_OF_MASKS(AS_BITS)};

/* The elements that a table of masks keeps. */
INLINE __m256i keep_by_table(__m256i e, const uint8_t table[16])
{
    const __m256i starts =
        _mm256_broadcastsi128_si256(_mm_setr_epi32(0, 0x04040404, 0x08080808, 0x0c0c0c0c));
    const __m256i bit = _mm256_set1_epi32(0x08040201);
    const __m256i keep = _mm256_shuffle_epi8(look_up(table_of(table), masks_of(e)), starts);
    return _mm256_and_si256(e, _mm256_cmpeq_epi8(_mm256_and_si256(keep, bit), bit));
}

/* The element that is r positions before, of the same group, and 1 more where it wins a tie. */
#define BEFORE(r, p, start) ((start) + ((p) + 4 - (r)) % 4)
#define BEFORE_4(r, start) \
    BEFORE(r, 0, start), BEFORE(r, 1, start), BEFORE(r, 2, start), BEFORE(r, 3, start)
#define BEFORE_16(r) {BEFORE_4(r, 0), BEFORE_4(r, 4), BEFORE_4(r, 8), BEFORE_4(r, 12)}
static const uint8_t ROTATED[3][16] = {BEFORE_16(1), BEFORE_16(2), BEFORE_16(3)};

/* All ones where an element is not beaten by the one that is r before. */
INLINE __m256i holds_against(__m256i size, int r)
{
    static const int TIES[3] = {0x01010100, 0x01010000, 0x01000000};
    const __m256i other = _mm256_add_epi8(_mm256_shuffle_epi8(size, table_of(ROTATED[r - 1])),
                                          _mm256_set1_epi32(TIES[r - 1]));
    return _mm256_cmpeq_epi8(_mm256_max_epu8(size, other), size);
}

/* The two largest of each group: those that at most one of the other three beats. */
INLINE __m256i keep_largest(__m256i e)
{
    const __m256i size = _mm256_abs_epi8(e); /* of -128 it is 128, unsigned */
    const __m256i a = holds_against(size, 1), b = holds_against(size, 2);
    const __m256i c = holds_against(size, 3);
    const __m256i two = _mm256_or_si256(_mm256_and_si256(a, b),
                                        _mm256_and_si256(c, _mm256_or_si256(a, b)));
    return _mm256_and_si256(e, two);
}

/* Sums of |w| in lanes of 64 bits, of w * w in lanes of 32 bits, which a run does not overflow. */
struct norms {
    __m256i l1, l2;
};

INLINE void add_norms(struct norms *sums, __m256i e)
{
    const __m256i odd = _mm256_srai_epi16(e, 8);
    const __m256i even = _mm256_srai_epi16(_mm256_slli_epi16(e, 8), 8);
    const __m256i sizes = _mm256_sad_epu8(_mm256_abs_epi8(e), _mm256_setzero_si256());
    const __m256i squares =
        _mm256_add_epi32(_mm256_madd_epi16(odd, odd), _mm256_madd_epi16(even, even));
    sums->l1 = _mm256_add_epi64(sums->l1, sizes);
    sums->l2 = _mm256_add_epi32(sums->l2, squares);
}

INLINE uint64_t sum_of_32(__m256i lanes)
{
    const __m256i low = _mm256_and_si256(lanes, _mm256_set1_epi64x(0xffffffff));
    return sum_of(_mm256_add_epi64(low, _mm256_srli_epi64(lanes, 32)));
}

/* How many lanes or bytes are not zero, from the mask of those that are. */
INLINE unsigned others(int zeros, unsigned of)
{
    return of - (unsigned)__builtin_popcount((unsigned)zeros);
}

INLINE void prune_run(const int8_t *weight, size_t blocks, int policy, int8_t *out,
                      cube24_cost *cost)
{
    const __m256i zero = _mm256_setzero_si256();
    struct norms total = {zero, zero}, removed = {zero, zero};
    uint64_t groups = 0, weights = 0;
    for (size_t i = 0; i < blocks * CUBE24_BLOCK; i += VECTOR) {
        const __m256i e = load(weight + i);
        const __m256i kept = policy == CUBE24_POLICY_FIRST_TWO    ? keep_by_table(e, FIRST_TWO)
                             : policy == CUBE24_POLICY_FIRST_LAST ? keep_by_table(e, FIRST_LAST)
                                                                  : keep_largest(e);
        const __m256i lost = _mm256_xor_si256(e, kept);
        const __m256i whole = _mm256_cmpeq_epi32(lost, zero);
        groups += others(_mm256_movemask_ps(_mm256_castsi256_ps(whole)), 8);
        weights += others(_mm256_movemask_epi8(_mm256_cmpeq_epi8(lost, zero)), VECTOR);
        add_norms(&total, e);
        add_norms(&removed, lost);
        store(out + i, kept, 0);
    }
    cost->groups += groups;
    cost->weights += weights;
    cost->l1_removed += sum_of(removed.l1);
    cost->l1_total += sum_of(total.l1);
    cost->l2_removed += sum_of_32(removed.l2);
    cost->l2_total += sum_of_32(total.l2);
}

#include "prune.h"

const struct cube24_codec_kernels cube24_codec_avx2 = {
    .encode = encode,
    .decode = decode,
    .decode_strict = decode_strict,
    .count = count,
    .prune = prune,
    .channels_last = channels_last,
    .channels_first = channels_first,
};
