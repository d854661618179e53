/* SPDX-License-Identifier: Apache-2.0
 * ND <-> Zn fractals, and the K order of convolution weights. */
#include <string.h>

#include "cube24.h"
#include "fractal.h"
#include "sizes.h"

/* 1 if n rows of row_bytes can be cut into fractals of N0 x k0 bytes. */
static int zn_fits(size_t n, size_t row_bytes, size_t k0)
{
    size_t size = k0;
    return k0 != 0 && fits(n, row_bytes) && grow(&size, N0) && grow(&size, ceil_div(n, N0)) &&
           grow(&size, ceil_div(row_bytes, k0));
}

/* The bytes of block k1 in a row; the last block may be short. */
static size_t block_bytes(size_t row_bytes, size_t k0, size_t k1)
{
    return least(k0, row_bytes - k1 * k0);
}

int cube24_nd_to_zn(const uint8_t *nd, size_t n, size_t row_bytes, size_t k0, uint8_t *zn)
{
    if (!zn_fits(n, row_bytes, k0))
        return CUBE24_E_SIZE;
    if (n == 0 || row_bytes == 0)
        return CUBE24_OK;
    if (!nd || !zn)
        return CUBE24_E_ARGUMENT;
    for (size_t k1 = 0; k1 < ceil_div(row_bytes, k0); k1++) {
        const size_t used = block_bytes(row_bytes, k0, k1);
        for (size_t r = 0; r < ceil_div(n, N0) * N0; r++, zn += k0) {
            const size_t bytes = r < n ? used : 0;
            if (bytes != 0)
                memcpy(zn, nd + r * row_bytes + k1 * k0, bytes);
            memset(zn + bytes, 0, k0 - bytes);
        }
    }
    return CUBE24_OK;
}

int cube24_zn_to_nd(const uint8_t *zn, size_t n, size_t row_bytes, size_t k0, uint8_t *nd)
{
    if (!zn_fits(n, row_bytes, k0))
        return CUBE24_E_SIZE;
    if (n == 0 || row_bytes == 0)
        return CUBE24_OK;
    if (!nd || !zn)
        return CUBE24_E_ARGUMENT;
    const size_t rows_stored = ceil_div(n, N0) * N0;
    for (size_t k1 = 0; k1 < ceil_div(row_bytes, k0); k1++)
        for (size_t r = 0; r < n; r++)
            memcpy(nd + r * row_bytes + k1 * k0, zn + (k1 * rows_stored + r) * k0,
                   block_bytes(row_bytes, k0, k1));
    return CUBE24_OK;
}

size_t cube24_c0(void)
{
    return C0;
}

/* Columns of the matrix of a convolution weight; 0 in *fit if it is too large. */
static size_t conv_columns(size_t cout, size_t cin, size_t kh, size_t kw, int *fit)
{
    size_t columns = C0, weight = cin;
    *fit = grow(&columns, ceil_div(cin, C0)) && grow(&columns, kh) && grow(&columns, kw) &&
           fits(columns, cout) && grow(&weight, kh) && grow(&weight, kw) && fits(weight, cout);
    return columns;
}

int cube24_conv_to_matrix(const int8_t *weight, size_t cout, size_t cin, size_t kh, size_t kw,
                          int8_t *matrix)
{
    int fit;
    const size_t columns = conv_columns(cout, cin, kh, kw, &fit);
    if (!fit)
        return CUBE24_E_SIZE;
    if (cout == 0 || columns == 0)
        return CUBE24_OK;
    if (!weight || !matrix)
        return CUBE24_E_ARGUMENT;
    const size_t taps = kh * kw;
    for (size_t n = 0; n < cout; n++)
        for (size_t c1 = 0; c1 < ceil_div(cin, C0); c1++)
            for (size_t tap = 0; tap < taps; tap++)
                for (size_t c0 = 0; c0 < C0; c0++) {
                    const size_t channel = c1 * C0 + c0;
                    *matrix++ = channel < cin ? weight[(n * cin + channel) * taps + tap] : 0;
                }
    return CUBE24_OK;
}

int cube24_matrix_to_conv(const int8_t *matrix, size_t cout, size_t cin, size_t kh, size_t kw,
                          int8_t *weight, uint64_t *padding, uint64_t *first)
{
    int fit;
    const size_t columns = conv_columns(cout, cin, kh, kw, &fit);
    if (!fit)
        return CUBE24_E_SIZE;
    uint64_t lost = 0;
    if (cout != 0 && columns != 0) {
        if (!weight || !matrix)
            return CUBE24_E_ARGUMENT;
        const size_t taps = kh * kw;
        size_t at = 0;
        for (size_t n = 0; n < cout; n++)
            for (size_t c1 = 0; c1 < ceil_div(cin, C0); c1++)
                for (size_t tap = 0; tap < taps; tap++)
                    for (size_t c0 = 0; c0 < C0; c0++, at++) {
                        const size_t channel = c1 * C0 + c0;
                        if (channel < cin)
                            weight[(n * cin + channel) * taps + tap] = matrix[at];
                        else if (matrix[at] != 0 && lost++ == 0 && first)
                            *first = at;
                    }
    }
    if (padding)
        *padding = lost;
    return CUBE24_OK;
}
