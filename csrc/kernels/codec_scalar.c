/* SPDX-License-Identifier: Apache-2.0
 *
 * The reference kernels of the codec: portable C, one group after the other, as format.h says it.
 */
#include "../format.h"
#include "../fractal.h"
#include "../paths.h"

/* Bytes of a piece: 64 elements of a row. */
enum { PIECE_PAIRS = CUBE24_PIECE / PAIR, PIECE_DENSE = CUBE24_PIECE / 2 };

/* Encode a piece; 1 if a group of it is in excess. */
static int encode_piece(const int8_t *weight, int8_t *dense, uint8_t *index)
{
    int excess = 0;
    for (size_t p = 0; p < PIECE_PAIRS; p++, weight += PAIR, dense += GROUP) {
        const unsigned low = nonzero_mask(weight), high = nonzero_mask(weight + GROUP);
        index[p] = pack_byte(encode_group(weight, low, dense),
                             encode_group(weight + GROUP, high, dense + 2));
        excess |= POPCOUNT[low] > 2 || POPCOUNT[high] > 2;
    }
    return excess;
}

static int encode(const int8_t *weight, const struct cube24_steps *steps, size_t blocks, int past,
                  int8_t *dense, uint8_t *index)
{
    int excess = 0;
    (void)past; /* portable C has no such stores */
    for (size_t b = 0; b < blocks; b++) {
        for (size_t i = 0; i < CUBE24_PIECES; i++)
            excess |= encode_piece(weight + i * steps->piece, dense + i * PIECE_DENSE,
                                   index + i * PIECE_PAIRS);
        weight += steps->block;
        dense += steps->dense;
        index += steps->index;
    }
    return excess;
}

/* Decode a piece; 1 if a group of it is refused. */
static int decode_piece(const int8_t *dense, const uint8_t *index, int strict, int8_t *weight)
{
    int refused = 0;
    for (size_t g = 0; g < CUBE24_PIECE / GROUP; g++) {
        const unsigned pair = pair_of_byte(index[g / 2], g % 2);
        const int8_t *slots = dense + 2 * g;
        refused |= decode_group(slots, pair, weight + GROUP * g) != CUBE24_FAULT_NONE;
        refused |= strict && !is_canonical(slots, pair);
    }
    return refused;
}

static int decode_blocks(const int8_t *dense, const uint8_t *index,
                         const struct cube24_steps *steps, size_t blocks, int strict,
                         int8_t *weight)
{
    int refused = 0;
    for (size_t b = 0; b < blocks; b++) {
        for (size_t i = 0; i < CUBE24_PIECES; i++)
            refused |= decode_piece(dense + i * PIECE_DENSE, index + i * PIECE_PAIRS, strict,
                                    weight + i * steps->piece);
        dense += steps->dense;
        index += steps->index;
        weight += steps->block;
    }
    return refused;
}

static int decode(const int8_t *dense, const uint8_t *index, const struct cube24_steps *steps,
                  size_t blocks, int past, int8_t *weight)
{
    (void)past;
    return decode_blocks(dense, index, steps, blocks, 0, weight);
}

static int decode_strict(const int8_t *dense, const uint8_t *index,
                         const struct cube24_steps *steps, size_t blocks, int past, int8_t *weight)
{
    (void)past;
    return decode_blocks(dense, index, steps, blocks, 1, weight);
}

static void count(const int8_t *weight, size_t blocks, uint64_t *masks)
{
    for (size_t g = 0; g < blocks * (CUBE24_BLOCK / GROUP); g++, weight += GROUP)
        masks[nonzero_mask(weight)]++;
}

static unsigned keep_magnitude(const int8_t e[GROUP])
{
    unsigned keep = 0;
    for (int round = 0; round < 2; round++) {
        int best = -1, largest = 0;
        for (int p = 0; p < GROUP; p++) {
            const int size = e[p] < 0 ? -e[p] : e[p];
            if (!(keep >> p & 1) && size > largest) { /* strictly: a tie keeps the lower */
                best = p;
                largest = size;
            }
        }
        if (best >= 0)
            keep |= 1U << best;
    }
    return keep;
}

/* The elements of a group that a policy keeps. */
static unsigned keep_by_policy(const int8_t e[GROUP], unsigned mask, int policy)
{
    switch (policy) {
    case CUBE24_POLICY_FIRST_TWO:
        return KEEP_FIRST_TWO[mask];
    case CUBE24_POLICY_FIRST_LAST:
        return KEEP_FIRST_LAST[mask];
    default:
        return keep_magnitude(e);
    }
}

static void prune(const int8_t *weight, size_t blocks, int policy, int8_t *out, cube24_cost *cost)
{
    for (size_t i = 0; i < blocks * CUBE24_BLOCK; i += GROUP) {
        const int8_t *e = weight + i;
        const unsigned mask = nonzero_mask(e), keep = keep_by_policy(e, mask, policy);
        cost->groups += keep != mask;
        for (size_t p = 0; p < GROUP; p++) {
            const int8_t value = e[p];
            const unsigned size = (unsigned)(value < 0 ? -value : value);
            const int lost = (mask & ~keep) >> p & 1;
            cost->l1_total += size;
            cost->l2_total += size * size;
            cost->weights += lost ? 1 : 0;
            cost->l1_removed += lost ? size : 0;
            cost->l2_removed += lost ? size * size : 0;
            out[i + p] = lost ? 0 : value;
        }
    }
}

static void channels_last(const int8_t *weight, size_t taps, int8_t *matrix)
{
    for (size_t tap = 0; tap < taps; tap++)
#pragma GCC unroll 8
        for (size_t c0 = 0; c0 < C0; c0++)
            matrix[tap * C0 + c0] = weight[c0 * taps + tap];
}

static void channels_first(const int8_t *matrix, size_t taps, int8_t *weight)
{
    for (size_t tap = 0; tap < taps; tap++)
#pragma GCC unroll 8
        for (size_t c0 = 0; c0 < C0; c0++)
            weight[c0 * taps + tap] = matrix[tap * C0 + c0];
}

const struct cube24_codec_kernels cube24_codec_scalar = {
    .encode = encode,
    .decode = decode,
    .decode_strict = decode_strict,
    .count = count,
    .prune = prune,
    .channels_last = channels_last,
    .channels_first = channels_first,
};
