/* SPDX-License-Identifier: Apache-2.0
 *
 * The reference kernels of the codec: portable C, one group after the other, as format.h says it.
 */
#include "../format.h"
#include "../paths.h"

static uint64_t encode(const int8_t *weight, size_t pairs, int8_t *dense, uint8_t *index)
{
    uint64_t excess = 0;
    for (size_t p = 0; p < pairs; p++, weight += PAIR, dense += GROUP) {
        const unsigned low = nonzero_mask(weight), high = nonzero_mask(weight + GROUP);
        index[p] = pack_byte(encode_group(weight, low, dense),
                             encode_group(weight + GROUP, high, dense + 2));
        excess += POPCOUNT[low] > 2;
        excess += POPCOUNT[high] > 2;
    }
    return excess;
}

static void count(const int8_t *weight, size_t pairs, uint64_t *masks)
{
    for (size_t g = 0; g < 2 * pairs; g++, weight += GROUP)
        masks[nonzero_mask(weight)]++;
}

static uint64_t decode(const int8_t *dense, const uint8_t *index, size_t pairs, int8_t *weight)
{
    uint64_t refused = 0;
    for (size_t p = 0; p < pairs; p++, dense += GROUP, weight += PAIR) {
        refused += decode_group(dense, pair_of_byte(index[p], 0), weight) != CUBE24_FAULT_NONE;
        refused += decode_group(dense + 2, pair_of_byte(index[p], 1), weight + GROUP) !=
                   CUBE24_FAULT_NONE;
    }
    return refused;
}

const struct cube24_codec_kernels cube24_codec_scalar = {
    .encode = encode,
    .count = count,
    .decode = decode,
};
