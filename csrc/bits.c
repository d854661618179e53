/* SPDX-License-Identifier: Apache-2.0
 * 2-bit values to bytes and back. */
#include "cube24.h"
#include "sizes.h"

int cube24_pack_index(const uint8_t *values, size_t count, uint8_t *packed, uint64_t *position)
{
    if (!fits(count, 1))
        return CUBE24_E_SIZE;
    if (count != 0 && (!values || !packed))
        return CUBE24_E_ARGUMENT;
    /* loops over whole bytes without a way out: compilers make vectors of them */
    unsigned all = 0;
    for (size_t i = 0; i < count; i++)
        all |= values[i];
    if (all > 3) {
        size_t first = 0;
        while (values[first] <= 3)
            first++;
        if (position)
            *position = first;
        return CUBE24_E_RANGE;
    }
    for (size_t i = 0; i < count / 4; i++) {
        const uint8_t *v = values + 4 * i;
        packed[i] = (uint8_t)(v[0] | v[1] << 2 | v[2] << 4 | v[3] << 6);
    }
    for (size_t i = count / 4 * 4; i < count; i++) {
        const unsigned shift = 2 * (i % 4);
        packed[i / 4] = (uint8_t)(shift ? packed[i / 4] | values[i] << shift : values[i]);
    }
    return CUBE24_OK;
}

int cube24_unpack_index(const uint8_t *packed, size_t count, uint8_t *values)
{
    if (!fits(count, 1))
        return CUBE24_E_SIZE;
    if (count != 0 && (!values || !packed))
        return CUBE24_E_ARGUMENT;
    for (size_t i = 0; i < count; i++)
        values[i] = packed[i / 4] >> (2 * (i % 4)) & 3;
    return CUBE24_OK;
}
