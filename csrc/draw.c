/* SPDX-License-Identifier: Apache-2.0
 * The random numbers of golden cases, and the groups of weights that they fill: docs/vectors.md has
 * the rules. */
#include "cube24.h"
#include "format.h"
#include "sizes.h"

/* SplitMix64's word of a state. */
static uint64_t mixed(uint64_t z)
{
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

int cube24_draw_words(const uint64_t *seeds, size_t generators, size_t count, uint64_t *words)
{
    if (!fits(generators, count) || !fits(generators * count, sizeof *words))
        return CUBE24_E_SIZE;
    if (generators != 0 && count != 0 && (!seeds || !words))
        return CUBE24_E_ARGUMENT;
    for (size_t of = 0; of < generators; of++)
        for (size_t i = 0; i < count; i++)
            words[of * count + i] =
                mixed(seeds[of] + ((uint64_t)i + 1) * UINT64_C(0x9E3779B97F4A7C15));
    return CUBE24_OK;
}

int cube24_draw_groups(const uint64_t *words, size_t count, const uint8_t *masks, size_t choices,
                       const int8_t *values, int8_t *groups)
{
    if (!fits(count, sizeof *words) || choices == 0 || choices > UINT32_MAX)
        return CUBE24_E_SIZE;
    if (!masks || !values || (count != 0 && (!words || !groups)))
        return CUBE24_E_ARGUMENT;
    for (size_t g = 0; g < count; g++) {
        const unsigned mask = masks[(words[g] >> 32) * choices >> 32];
        uint64_t left = words[g];
        for (unsigned element = 0; element < GROUP; element++) {
            const int chosen = mask >> element & 1;
            groups[GROUP * g + element] = chosen ? values[left & 0xFF] : 0;
            left >>= chosen ? 8 : 0;
        }
    }
    return CUBE24_OK;
}
