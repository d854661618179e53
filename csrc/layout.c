/* SPDX-License-Identifier: Apache-2.0
 * ND <-> Zn fractals. */
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

/* Copy some bytes of each row, between rows some bytes apart. Inlined, so that `bytes` can be a
 * constant: a copy of so few is then an instruction or two. */
static inline void copy_rows(const uint8_t *from, size_t from_step, uint8_t *to, size_t to_step,
                             size_t rows, size_t bytes)
{
    for (size_t r = 0; r < rows; r++)
        memcpy(to + r * to_step, from + r * from_step, bytes);
}

static void copy_column(const uint8_t *from, size_t from_step, uint8_t *to, size_t to_step,
                        size_t rows, size_t bytes)
{
    if (bytes == K0)
        copy_rows(from, from_step, to, to_step, rows, K0);
    else if (bytes == INDEX_K0)
        copy_rows(from, from_step, to, to_step, rows, INDEX_K0);
    else
        copy_rows(from, from_step, to, to_step, rows, bytes);
}

int cube24_nd_to_zn(const uint8_t *nd, size_t n, size_t row_bytes, size_t k0, uint8_t *zn)
{
    if (!zn_fits(n, row_bytes, k0))
        return CUBE24_E_SIZE;
    if (n == 0 || row_bytes == 0)
        return CUBE24_OK;
    if (!nd || !zn)
        return CUBE24_E_ARGUMENT;
    const size_t k1_end = ceil_div(row_bytes, k0), rows_stored = ceil_div(n, N0) * N0;
    for (size_t r = 0; r < rows_stored; r += N0) {
        const size_t rows = least(N0, n - r);
        for (size_t k1 = 0; k1 < k1_end; k1++) {
            uint8_t *block = zn + (k1 * rows_stored + r) * k0;
            const size_t bytes = least(k0, row_bytes - k1 * k0);
            if (bytes != k0 || rows != N0)
                memset(block, 0, N0 * k0);
            copy_column(nd + r * row_bytes + k1 * k0, row_bytes, block, k0, rows, bytes);
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
    const size_t k1_end = ceil_div(row_bytes, k0), rows_stored = ceil_div(n, N0) * N0;
    for (size_t r = 0; r < n; r += N0)
        for (size_t k1 = 0; k1 < k1_end; k1++)
            copy_column(zn + (k1 * rows_stored + r) * k0, k0, nd + r * row_bytes + k1 * k0,
                        row_bytes, least(N0, n - r), least(k0, row_bytes - k1 * k0));
    return CUBE24_OK;
}

size_t cube24_c0(void)
{
    return C0;
}
