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
    for (size_t i = 0; i < count; i++) {
        if (values[i] > 3) {
            if (position)
                *position = i;
            return CUBE24_E_RANGE;
        }
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
