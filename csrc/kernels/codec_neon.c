/* SPDX-License-Identifier: Apache-2.0
 *
 * The codec for NEON (AArch64): 16 groups at a time, a piece. Loads and stores take groups apart,
 * so that element p of all groups is one vector, and so are slot 0, slot 1 and the index pair.
 */
#include <arm_neon.h>

#include "../paths.h"
#include "k_order.h"
#include "tables.h"

#define INLINE static inline __attribute__((always_inline))

enum { PIECE_DENSE = CUBE24_PIECE / 2, PIECE_INDEX = CUBE24_PIECE / 8 };

/* All ones where a byte is not zero. */
INLINE uint8x16_t nonzero(uint8x16_t bytes)
{
    return vtstq_u8(bytes, bytes);
}

/* The non-zero mask of each group. */
INLINE uint8x16_t masks_of(uint8x16x4_t e)
{
    const uint8x16_t low = vorrq_u8(vandq_u8(nonzero(e.val[0]), vdupq_n_u8(1)),
                                    vandq_u8(nonzero(e.val[1]), vdupq_n_u8(2)));
    const uint8x16_t high = vorrq_u8(vandq_u8(nonzero(e.val[2]), vdupq_n_u8(4)),
                                     vandq_u8(nonzero(e.val[3]), vdupq_n_u8(8)));
    return vorrq_u8(low, high);
}

INLINE uint8x16x4_t load_groups(const int8_t *weight)
{
    return vld4q_u8((const uint8_t *)weight);
}

/* --- encode --------------------------------------------------------------------------------- */

#define FIRST(slot0, slot1) slot0
#define SECOND(slot0, slot1) slot1
static const uint8_t SLOT_0_OF_MASKS[16] = {SLOTS_OF_MASKS(FIRST)};
static const uint8_t SLOT_1_OF_MASKS[16] = {SLOTS_OF_MASKS(SECOND)};
static const uint8_t PAIRS[16] = {PAIRS_OF_MASKS};

/* Of each group the element with the number in `from`. */
INLINE uint8x16_t choose(uint8x16x4_t e, uint8x16_t from)
{
    const uint8x16_t odd = vtstq_u8(from, vdupq_n_u8(1)), high = vtstq_u8(from, vdupq_n_u8(2));
    return vbslq_u8(high, vbslq_u8(odd, e.val[3], e.val[2]), vbslq_u8(odd, e.val[1], e.val[0]));
}

/* Encode a piece; gives the index pairs with their bits of excess. */
INLINE uint8x16_t encode_piece(const int8_t *weight, int8_t *dense, uint8_t *index)
{
    const uint8x16x4_t e = load_groups(weight);
    const uint8x16_t masks = masks_of(e);
    const uint8x16x2_t slots = {{choose(e, vqtbl1q_u8(vld1q_u8(SLOT_0_OF_MASKS), masks)),
                                 choose(e, vqtbl1q_u8(vld1q_u8(SLOT_1_OF_MASKS), masks))}};
    vst2q_u8((uint8_t *)dense, slots);
    const uint8x16_t pairs = vqtbl1q_u8(vld1q_u8(PAIRS), masks);
    const uint8x16_t plain = vandq_u8(pairs, vdupq_n_u8(0xf));
    const uint8x16_t even = vuzp1q_u8(plain, plain), odd = vuzp2q_u8(plain, plain);
    vst1_u8(index, vget_low_u8(vorrq_u8(even, vshlq_n_u8(odd, 4))));
    return pairs;
}

static int encode(const int8_t *weight, const struct cube24_steps *steps, size_t blocks, int past,
                  int8_t *dense, uint8_t *index)
{
    uint8x16_t excess = vdupq_n_u8(0);
    (void)past; /* stores of this kind are a hint to few cores */
    for (size_t b = 0; b < blocks; b++) {
        for (size_t i = 0; i < CUBE24_PIECES; i++)
            excess = vorrq_u8(excess, encode_piece(weight + i * steps->piece,
                                                   dense + i * PIECE_DENSE,
                                                   index + i * PIECE_INDEX));
        weight += steps->block;
        dense += steps->dense;
        index += steps->index;
    }
    return vmaxvq_u8(vandq_u8(excess, vdupq_n_u8(EXCESS))) != 0;
}

/* --- decode --------------------------------------------------------------------------------- */

static const uint8_t WRITTEN[64] = {CUBE24_64(IS_WRITTEN, 0)};

/* The index pairs of 16 groups. */
INLINE uint8x16_t load_pairs(const uint8_t *index)
{
    const uint8x8_t bytes = vld1_u8(index);
    const uint8x8x2_t pairs = vzip_u8(vand_u8(bytes, vdup_n_u8(0xf)), vshr_n_u8(bytes, 4));
    return vcombine_u8(pairs.val[0], pairs.val[1]);
}

/* Decode a piece; not zero where a group has an index of 3 or a conflict. */
INLINE uint8x16_t decode_piece(uint8x16x2_t slots, uint8x16_t pairs, int8_t *weight)
{
    const uint8x16_t i0 = vandq_u8(pairs, vdupq_n_u8(3)), i1 = vshrq_n_u8(pairs, 2);
    const uint8x16_t three = vdupq_n_u8(3);
    uint8x16_t faults = vorrq_u8(vceqq_u8(i0, three), vceqq_u8(i1, three));
    uint8x16x4_t e;
    for (int p = 0; p < 4; p++) {
        const uint8x16_t is0 = vceqq_u8(i0, vdupq_n_u8((uint8_t)p));
        const uint8x16_t is1 = vceqq_u8(i1, vdupq_n_u8((uint8_t)(p - 1))); /* none is 255 */
        const uint8x16_t slot0 = vandq_u8(slots.val[0], is0), slot1 = vandq_u8(slots.val[1], is1);
        e.val[p] = vorrq_u8(slot0, slot1);
        faults = vorrq_u8(faults, vminq_u8(slot0, slot1));
    }
    vst4q_u8((uint8_t *)weight, e);
    return faults;
}

/* Not zero where the encoder does not write such a group. */
INLINE uint8x16_t not_written(uint8x16x2_t slots, uint8x16_t pairs)
{
    const uint8x16_t states = vorrq_u8(vandq_u8(nonzero(slots.val[0]), vdupq_n_u8(SLOT_0)),
                                       vandq_u8(nonzero(slots.val[1]), vdupq_n_u8(SLOT_1)));
    const uint8x16x4_t table = vld1q_u8_x4(WRITTEN);
    return veorq_u8(vqtbl4q_u8(table, vorrq_u8(pairs, states)), vdupq_n_u8(1));
}

INLINE int decode_run(const int8_t *dense, const uint8_t *index, const struct cube24_steps *steps,
                      size_t blocks, int strict, int8_t *weight)
{
    uint8x16_t faults = vdupq_n_u8(0);
    for (size_t b = 0; b < blocks; b++) {
        for (size_t i = 0; i < CUBE24_PIECES; i++) {
            const uint8x16x2_t slots = vld2q_u8((const uint8_t *)dense + i * PIECE_DENSE);
            const uint8x16_t pairs = load_pairs(index + i * PIECE_INDEX);
            faults = vorrq_u8(faults, decode_piece(slots, pairs, weight + i * steps->piece));
            if (strict)
                faults = vorrq_u8(faults, not_written(slots, pairs));
        }
        dense += steps->dense;
        index += steps->index;
        weight += steps->block;
    }
    return vmaxvq_u8(faults) != 0;
}

static int decode(const int8_t *dense, const uint8_t *index, const struct cube24_steps *steps,
                  size_t blocks, int past, int8_t *weight)
{
    (void)past;
    return decode_run(dense, index, steps, blocks, 0, weight);
}

static int decode_strict(const int8_t *dense, const uint8_t *index,
                         const struct cube24_steps *steps, size_t blocks, int past, int8_t *weight)
{
    (void)past;
    return decode_run(dense, index, steps, blocks, 1, weight);
}

/* --- count ---------------------------------------------------------------------------------- */

enum { MASKS = 16, PIECES_PER_COUNTER = 255 };

static void count(const int8_t *weight, size_t blocks, uint64_t *masks)
{
    for (size_t pieces = blocks * CUBE24_PIECES; pieces != 0;) {
        const size_t some = pieces < PIECES_PER_COUNTER ? pieces : PIECES_PER_COUNTER;
        uint8x16_t counters[MASKS];
        for (unsigned m = 0; m < MASKS; m++)
            counters[m] = vdupq_n_u8(0);
        for (size_t i = 0; i < some; i++, weight += CUBE24_PIECE) {
            const uint8x16_t found = masks_of(load_groups(weight));
            for (unsigned m = 0; m < MASKS; m++) /* equal is -1 */
                counters[m] = vsubq_u8(counters[m], vceqq_u8(found, vdupq_n_u8((uint8_t)m)));
        }
        for (unsigned m = 0; m < MASKS; m++)
            masks[m] += vaddlvq_u8(counters[m]);
        pieces -= some;
    }
}

/* --- prune ---------------------------------------------------------------------------------- */

#define AS_BITS(keep) keep
static const uint8_t FIRST_TWO[16] = {FIRST_TWO_OF_MASKS(AS_BITS)};
static const uint8_t FIRST_LAST[16] = {FIRST_LAST_OF_MASKS(AS_BITS)};

/* The elements that a table of masks keeps. */
INLINE uint8x16x4_t keep_by_table(uint8x16x4_t e, const uint8_t table[16])
{
    const uint8x16_t keep = vqtbl1q_u8(vld1q_u8(table), masks_of(e));
    for (int p = 0; p < 4; p++)
        e.val[p] = vandq_u8(e.val[p], vtstq_u8(keep, vdupq_n_u8((uint8_t)(1 << p))));
    return e;
}

/* |w|, of -128 it is 128, unsigned. */
INLINE uint8x16_t size_of(uint8x16_t e)
{
    return vreinterpretq_u8_s8(vabsq_s8(vreinterpretq_s8_u8(e)));
}

/* The two largest of each group: those that at most one of the other three beats. Of two that are as
 * large, the first wins. */
INLINE uint8x16x4_t keep_largest(uint8x16x4_t e)
{
    uint8x16_t beaten[4]; /* by how many, negative */
    for (int p = 0; p < 4; p++)
        beaten[p] = vdupq_n_u8(0);
    for (int p = 0; p < 3; p++)
        for (int q = p + 1; q < 4; q++) {
            const uint8x16_t first = vcgeq_u8(size_of(e.val[p]), size_of(e.val[q]));
            beaten[q] = vaddq_u8(beaten[q], first);
            beaten[p] = vaddq_u8(beaten[p], vmvnq_u8(first));
        }
    for (int p = 0; p < 4; p++)
        e.val[p] = vandq_u8(e.val[p], vcgeq_s8(vreinterpretq_s8_u8(beaten[p]), vdupq_n_s8(-1)));
    return e;
}

/* Sums of |w| and of w * w in lanes of 32 bits, which a run does not overflow. */
struct norms {
    uint32x4_t l1;
    int32x4_t l2;
};

INLINE void add_norms(struct norms *sums, uint8x16_t elements)
{
    const int8x16_t e = vreinterpretq_s8_u8(elements);
    const int8x8_t low = vget_low_s8(e), high = vget_high_s8(e);
    sums->l1 = vpadalq_u16(sums->l1, vpaddlq_u8(size_of(elements)));
    sums->l2 = vpadalq_s16(sums->l2, vmull_s8(low, low));
    sums->l2 = vpadalq_s16(sums->l2, vmull_s8(high, high));
}

INLINE void prune_run(const int8_t *weight, size_t blocks, int policy, int8_t *out,
                      cube24_cost *cost)
{
    struct norms total = {vdupq_n_u32(0), vdupq_n_s32(0)}, removed = total;
    uint64_t groups = 0, weights = 0;
    for (size_t i = 0; i < blocks * CUBE24_BLOCK; i += CUBE24_PIECE) {
        const uint8x16x4_t e = load_groups(weight + i);
        const uint8x16x4_t kept = policy == CUBE24_POLICY_FIRST_TWO    ? keep_by_table(e, FIRST_TWO)
                                  : policy == CUBE24_POLICY_FIRST_LAST ? keep_by_table(e, FIRST_LAST)
                                                                       : keep_largest(e);
        uint8x16_t count_lost = vdupq_n_u8(0);
        for (int p = 0; p < 4; p++) {
            const uint8x16_t lost = veorq_u8(e.val[p], kept.val[p]);
            count_lost = vsubq_u8(count_lost, nonzero(lost));
            add_norms(&total, e.val[p]);
            add_norms(&removed, lost);
        }
        groups += vaddvq_u8(vandq_u8(nonzero(count_lost), vdupq_n_u8(1)));
        weights += vaddvq_u8(count_lost);
        vst4q_u8((uint8_t *)out + i, kept);
    }
    cost->groups += groups;
    cost->weights += weights;
    cost->l1_removed += vaddlvq_u32(removed.l1);
    cost->l1_total += vaddlvq_u32(total.l1);
    cost->l2_removed += (uint64_t)vaddlvq_s32(removed.l2);
    cost->l2_total += (uint64_t)vaddlvq_s32(total.l2);
}

#include "prune.h"

const struct cube24_codec_kernels cube24_codec_neon = {
    .encode = encode,
    .decode = decode,
    .decode_strict = decode_strict,
    .count = count,
    .prune = prune,
    .channels_last = channels_last,
    .channels_first = channels_first,
};
