/* SPDX-License-Identifier: Apache-2.0
 * Coverage: what stands in the bytes of a case, as bits of small tables. Which bins they are is not
 * known here. */
#include <string.h>

#include "cube24.h"
#include "format.h"
#include "sizes.h"

enum { PLACES = 16, CLASSES = 8 };

static unsigned kind_of(unsigned pair, const int8_t slots[2])
{
    const unsigned there = (slots[0] != 0 ? 2u : 0u) + (slots[1] != 0 ? 1u : 0u);
    return 16 * pair_i0(pair) + 4 * pair_i1(pair) + there;
}

int cube24_tally_groups(const int8_t *dense, const uint8_t *index, size_t n, size_t k_stored,
                        const uint8_t *counted, const uint8_t *classes, uint32_t flags,
                        cube24_tally *tally, uint8_t *weights)
{
    if (k_stored % 8 != 0 || !fits(n, k_stored))
        return CUBE24_E_SIZE;
    const size_t groups = k_stored / GROUP;
    if ((flags & ~(uint32_t)CUBE24_PAIR20_TABLE) != 0 || !tally || !classes ||
        (groups != 0 && (!counted || !weights || (n != 0 && (!dense || !index)))))
        return CUBE24_E_ARGUMENT;
    memset(tally, 0, sizeof *tally);
    if (groups != 0)
        memset(weights, 0, k_stored);
    for (size_t row = 0; row < n; row++)
        for (size_t g = 0; g < groups; g++) {
            if (!counted[g])
                continue;
            const size_t at = row * groups + g;
            const unsigned pair = pair_of_byte(index[at / 2], at % 2);
            const int8_t *slots = dense + 2 * at;
            const uint8_t bit0 = classes[(uint8_t)slots[0]], bit1 = classes[(uint8_t)slots[1]];
            const unsigned kind = kind_of(pair, slots);
            tally->places[kind] = (uint16_t)(tally->places[kind] | 1u << g % PLACES);
            tally->columns[kind] = (uint16_t)(tally->columns[kind] | 1u << row % PLACES);
            tally->slots[kind][0] |= bit0;
            tally->slots[kind][1] |= bit1;
            if (pair_i0(pair) != 3)
                weights[GROUP * g + slot0_element(pair)] |= bit0;
            if (pair_i1(pair) != 3)
                weights[GROUP * g + slot1_element(pair, flags)] |= bit1;
        }
    return CUBE24_OK;
}

int cube24_spread_groups(const int8_t *dense, const uint8_t *index, size_t n, size_t k_stored,
                         uint32_t flags, int16_t *matrix)
{
    if (k_stored % 8 != 0 || !fits(n, k_stored) || !fits(n * k_stored, sizeof *matrix))
        return CUBE24_E_SIZE;
    const size_t size = n * k_stored;
    if ((flags & ~(uint32_t)CUBE24_PAIR20_TABLE) != 0 ||
        (size != 0 && (!dense || !index || !matrix)))
        return CUBE24_E_ARGUMENT;
    if (size != 0)
        memset(matrix, 0, size * sizeof *matrix);
    for (size_t at = 0; at < size / GROUP; at++) {
        const unsigned pair = pair_of_byte(index[at / 2], at % 2);
        int16_t *group = matrix + GROUP * at;
        if (pair_i0(pair) != 3)
            group[slot0_element(pair)] = dense[2 * at];
        if (pair_i1(pair) != 3)
            group[slot1_element(pair, flags)] =
                (int16_t)(group[slot1_element(pair, flags)] + dense[2 * at + 1]);
    }
    return CUBE24_OK;
}

int cube24_tally_products(const int8_t *activations, size_t m, size_t k, const uint8_t *weights,
                          size_t k_stored, const uint8_t *classes, uint8_t *held,
                          uint8_t *products)
{
    if (k > k_stored || !fits(m, k) || !fits(k_stored, 1))
        return CUBE24_E_SIZE;
    if (!classes || !products || (k_stored != 0 && (!weights || !held)) ||
        (m != 0 && k != 0 && !activations))
        return CUBE24_E_ARGUMENT;
    if (k_stored != 0)
        memset(held, 0, k_stored);
    for (size_t row = 0; row < m; row++)
        for (size_t i = 0; i < k; i++)
            held[i] |= classes[(uint8_t)activations[row * k + i]];
    for (size_t i = k; i < k_stored; i++)
        held[i] = m != 0 ? classes[0] : 0;
    memset(products, 0, CLASSES);
    for (size_t i = 0; i < k_stored; i++)
        for (unsigned bit = 0; bit < CLASSES; bit++)
            if (held[i] >> bit & 1)
                products[bit] |= weights[i];
    return CUBE24_OK;
}
