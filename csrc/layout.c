/* SPDX-License-Identifier: Apache-2.0
 * Rows to fractals and back: Zn, Zz and Nz; and images to blocks of channels. */
#include <string.h>

#include "cube24.h"
#include "fractal.h"
#include "layer.h"
#include "paths.h"
#include "sizes.h"

/* 1 if n rows of row_bytes can be cut into fractals of 16 x k0 bytes. */
static int fractals_fit(size_t n, size_t row_bytes, size_t k0)
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

/* How fractals follow each other: the bytes from one to the next, along rows and along columns of
 * the matrix. Inside all are alike: rows of `bytes` bytes. */
struct order {
    size_t bytes, down, across;
};

/* The columns of fractals one after the other, each `stored` rows high: Zn, Nz. */
static struct order by_column(size_t bytes, size_t stored)
{
    const struct order order = {bytes, N0 * bytes, stored * bytes};
    return order;
}

/* The rows of fractals one after the other: Zz. */
static struct order by_row(size_t bytes, size_t row_bytes)
{
    const struct order order = {bytes, ceil_div(row_bytes, bytes) * M0 * bytes, M0 * bytes};
    return order;
}

/* Rows to fractals; `stored` rows of them are written. */
static void to_fractals(const uint8_t *nd, size_t rows, size_t row_bytes, size_t stored,
                        struct order order, uint8_t *to)
{
    if (row_bytes == 0) /* rows of nothing may be any number */
        return;
    for (size_t r = 0; r < stored; r += N0) {
        const size_t wanted = least(N0, stored - r), given = r < rows ? least(N0, rows - r) : 0;
        for (size_t i = 0; i < ceil_div(row_bytes, order.bytes); i++) {
            uint8_t *fractal = to + r / N0 * order.down + i * order.across;
            const size_t bytes = least(order.bytes, row_bytes - i * order.bytes);
            if (bytes != order.bytes || given != wanted)
                memset(fractal, 0, wanted * order.bytes);
            if (given != 0)
                copy_column(nd + r * row_bytes + i * order.bytes, row_bytes, fractal, order.bytes,
                            given, bytes);
        }
    }
}

static void from_fractals(const uint8_t *from, size_t rows, size_t row_bytes, struct order order,
                          uint8_t *nd)
{
    if (row_bytes == 0)
        return;
    for (size_t r = 0; r < rows; r += N0)
        for (size_t i = 0; i < ceil_div(row_bytes, order.bytes); i++)
            copy_column(from + r / N0 * order.down + i * order.across, order.bytes,
                        nd + r * row_bytes + i * order.bytes, row_bytes, least(N0, rows - r),
                        least(order.bytes, row_bytes - i * order.bytes));
}

/* What is refused of rows and of blocks of k0 bytes. Where there is nothing to move, pointers may be
 * NULL: nothing is read or written then. */
static int fractals_status(const void *from, size_t rows, size_t row_bytes, size_t k0,
                           const void *to)
{
    if (!fractals_fit(rows, row_bytes, k0))
        return CUBE24_E_SIZE;
    return rows != 0 && row_bytes != 0 && (!from || !to) ? CUBE24_E_ARGUMENT : CUBE24_OK;
}

int cube24_nd_to_zn(const uint8_t *nd, size_t n, size_t row_bytes, size_t k0, uint8_t *zn)
{
    const int status = fractals_status(nd, n, row_bytes, k0, zn);
    const size_t stored = ceil_div(n, N0) * N0;
    if (status == CUBE24_OK)
        to_fractals(nd, n, row_bytes, stored, by_column(k0, stored), zn);
    return status;
}

int cube24_zn_to_nd(const uint8_t *zn, size_t n, size_t row_bytes, size_t k0, uint8_t *nd)
{
    const int status = fractals_status(zn, n, row_bytes, k0, nd);
    if (status == CUBE24_OK)
        from_fractals(zn, n, row_bytes, by_column(k0, ceil_div(n, N0) * N0), nd);
    return status;
}

int cube24_nd_to_zz(const uint8_t *nd, size_t m, size_t row_bytes, size_t k0, uint8_t *zz)
{
    const int status = fractals_status(nd, m, row_bytes, k0, zz);
    if (status == CUBE24_OK)
        to_fractals(nd, m, row_bytes, ceil_div(m, M0) * M0, by_row(k0, row_bytes), zz);
    return status;
}

int cube24_zz_to_nd(const uint8_t *zz, size_t m, size_t row_bytes, size_t k0, uint8_t *nd)
{
    const int status = fractals_status(zz, m, row_bytes, k0, nd);
    if (status == CUBE24_OK)
        from_fractals(zz, m, row_bytes, by_row(k0, row_bytes), nd);
    return status;
}

/* The same of columns of fractals, `stored` rows high, of which the first m are rows of the matrix;
 * moved: how many rows are read or written on the side of the fractals. */
static int columns_status(const void *nd, size_t m, size_t row_bytes, size_t n0, size_t stored,
                          const void *nz, size_t moved)
{
    size_t size = n0;
    if (n0 == 0 || stored < m || !fits(m, row_bytes) || !grow(&size, stored) ||
        !grow(&size, ceil_div(row_bytes, n0)))
        return CUBE24_E_SIZE;
    const int missing = row_bytes != 0 && ((m != 0 && !nd) || (moved != 0 && !nz));
    return missing ? CUBE24_E_ARGUMENT : CUBE24_OK;
}

int cube24_nd_to_nz(const uint8_t *nd, size_t m, size_t row_bytes, size_t n0, size_t stored,
                    uint8_t *nz)
{
    const int status = columns_status(nd, m, row_bytes, n0, stored, nz, stored);
    if (status == CUBE24_OK)
        to_fractals(nd, m, row_bytes, stored, by_column(n0, stored), nz);
    return status;
}

int cube24_nz_to_nd(const uint8_t *nz, size_t m, size_t row_bytes, size_t n0, size_t stored,
                    uint8_t *nd)
{
    const int status = columns_status(nd, m, row_bytes, n0, stored, nz, m);
    if (status == CUBE24_OK)
        from_fractals(nz, m, row_bytes, by_column(n0, stored), nd);
    return status;
}

/* --- images --------------------------------------------------------------------------------- */

/* What is refused of an image, its blocks of channels and a choice of path. *pixels is h * w, and
 * *kernels NULL if there is nothing to move. */
static int image_status(const void *from, size_t batch, size_t channels, size_t h, size_t w,
                        uint32_t flags, const void *to, size_t *pixels,
                        const struct cube24_layer_kernels **kernels)
{
    size_t size = C0;
    if (!fits(h, w) || !grow(&size, ceil_div(channels, C0)) || !grow(&size, h) ||
        !grow(&size, w) || !fits(size, batch))
        return CUBE24_E_SIZE;
    *pixels = h * w;
    *kernels = cube24_choose_layer(flags, 0);
    if (!*kernels)
        return CUBE24_E_ARGUMENT;
    if (batch == 0 || channels == 0 || *pixels == 0) {
        *kernels = NULL;
        return CUBE24_OK;
    }
    return from && to ? CUBE24_OK : CUBE24_E_ARGUMENT;
}

int cube24_nchw_to_nc1hwc0(const int8_t *nchw, size_t batch, size_t channels, size_t h, size_t w,
                           uint32_t flags, int8_t *nc1hwc0)
{
    size_t pixels;
    const struct cube24_layer_kernels *kernels;
    const int status =
        image_status(nchw, batch, channels, h, w, flags, nc1hwc0, &pixels, &kernels);
    if (status != CUBE24_OK || !kernels)
        return status;
    const uint8_t *from = (const uint8_t *)nchw;
    uint8_t *to = (uint8_t *)nc1hwc0;
    for (size_t image = 0; image < batch; image++)
        for (size_t c = 0; c < channels; c += C0) {
            const size_t count = least(C0, channels - c);
            kernels->transpose8(from, pixels, count, pixels, to, C0, C0, 0);
            from += count * pixels;
            to += C0 * pixels;
        }
    return CUBE24_OK;
}

int cube24_nc1hwc0_to_nchw(const int8_t *nc1hwc0, size_t batch, size_t channels, size_t h,
                           size_t w, uint32_t flags, int8_t *nchw)
{
    size_t pixels;
    const struct cube24_layer_kernels *kernels;
    const int status =
        image_status(nc1hwc0, batch, channels, h, w, flags, nchw, &pixels, &kernels);
    if (status != CUBE24_OK || !kernels)
        return status;
    const uint8_t *from = (const uint8_t *)nc1hwc0;
    uint8_t *to = (uint8_t *)nchw;
    for (size_t image = 0; image < batch; image++)
        for (size_t c = 0; c < channels; c += C0) {
            const size_t count = least(C0, channels - c);
            kernels->transpose8(from, C0, pixels, count, to, pixels, pixels, 0);
            from += C0 * pixels;
            to += count * pixels;
        }
    return CUBE24_OK;
}

size_t cube24_c0(void)
{
    return C0;
}
