/* SPDX-License-Identifier: Apache-2.0
 * Dense and sparse multiply-add on fractals: what is refused, around the kernels that multiply. */
#include <string.h>

#include "datapath.h"
#include "format.h"
#include "fractal.h"
#include "paths.h"
#include "sizes.h"

/* 1 if one of the 16 pairs of 8 index bytes holds a 3: two set bits side by side, at an even one. */
static int holds_3(const uint8_t bytes[INDEX_K0])
{
    uint64_t bits;
    memcpy(&bits, bytes, sizeof bits);
    return (bits & bits >> 1 & 0x5555555555555555) != 0;
}

/* The first index of 3 in the first n columns and k elements; 1 if there is one. */
static int find_index3(const uint8_t *index, size_t n, size_t k, cube24_place *place)
{
    const size_t n1 = ceil_div(n, N0);
    for (size_t s = 0; s < ceil_div(k, SPARSE_K); s++) {
        const size_t groups = least(STEP_GROUPS, ceil_div(k - s * SPARSE_K, GROUP));
        for (size_t column = 0; column < n; column++) {
            const uint8_t *bytes =
                index + (s * n1 + column / N0) * INDEX_FRACTAL + column % N0 * INDEX_K0;
            if (!holds_3(bytes))
                continue;
            for (size_t g = 0; g < groups; g++) {
                const unsigned pair = pair_of_byte(bytes[g / 2], g % 2);
                if (pair_i0(pair) != 3 && pair_i1(pair) != 3)
                    continue;
                if (place) {
                    place->row = column;
                    place->group = s * STEP_GROUPS + g;
                    place->fault = CUBE24_FAULT_INDEX3;
                }
                return 1;
            }
        }
    }
    return 0;
}

/* 1 if the fractals of an m x n x k multiplication can exist, and no exact sum of its products
 * (each at most 2^14) can leave int32. */
static int sizes_fit(size_t m, size_t n, size_t k)
{
    return m < 1 << 16 && n < 1 << 16 && k < 1 << 16 && fits(4 * (m + M0), n + N0);
}

int cube24_mmad_start(int32_t *c, size_t m, size_t n, const int32_t *bias)
{
    if (!sizes_fit(m, n, 0))
        return CUBE24_E_SIZE;
    if (m == 0 || n == 0)
        return CUBE24_OK;
    if (!c)
        return CUBE24_E_ARGUMENT;
    const size_t m1 = ceil_div(m, M0);
    for (size_t row = 0; row < m; row++)
        for (size_t column = 0; column < n; column++)
            c[((column / N0 * m1 + row / M0) * M0 + row % M0) * N0 + column % N0] =
                bias ? bias[column] : 0;
    return CUBE24_OK;
}

int cube24_mmad(const int8_t *a, const int8_t *b, size_t m, size_t n, size_t k, uint32_t flags,
                int32_t *c)
{
    if (!sizes_fit(m, n, k))
        return CUBE24_E_SIZE;
    struct cube24_mmad_kernels kernels;
    if (!cube24_choose_mmad(flags, DENSE_OPTIONS, &kernels))
        return CUBE24_E_ARGUMENT;
    if (m == 0 || n == 0 || k == 0)
        return CUBE24_OK;
    if (!a || !b || !c)
        return CUBE24_E_ARGUMENT;
    kernels.mmad(a, b, m, n, k, flags, c);
    return CUBE24_OK;
}

int cube24_find_index3(const uint8_t *index, size_t n, size_t k, cube24_place *place)
{
    if (!sizes_fit(0, n, k))
        return CUBE24_E_SIZE;
    if (n == 0 || k == 0)
        return CUBE24_OK;
    if (!index)
        return CUBE24_E_ARGUMENT;
    return find_index3(index, n, k, place) ? CUBE24_E_REFUSED : CUBE24_OK;
}

int cube24_mmad_sparse(const int8_t *a, const int8_t *dense, const uint8_t *index, size_t m,
                       size_t n, size_t k, uint32_t flags, int32_t *c, cube24_place *place)
{
    if (!sizes_fit(m, n, k))
        return CUBE24_E_SIZE;
    struct cube24_mmad_kernels kernels;
    if (!cube24_choose_mmad(flags, SPARSE_OPTIONS, &kernels))
        return CUBE24_E_ARGUMENT;
    if (m == 0 || n == 0 || k == 0)
        return CUBE24_OK;
    if (!a || !dense || !index || !c)
        return CUBE24_E_ARGUMENT;
    if (!(flags & CUBE24_INDEX3_NOTHING) && find_index3(index, n, k, place))
        return CUBE24_E_REFUSED;
    kernels.mmad_sparse(a, dense, index, m, n, k, flags, c);
    return CUBE24_OK;
}
