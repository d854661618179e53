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
    for (size_t r = 0; r < rows; r += N0)
        for (size_t i = 0; i < ceil_div(row_bytes, order.bytes); i++)
            copy_column(from + r / N0 * order.down + i * order.across, order.bytes,
                        nd + r * row_bytes + i * order.bytes, row_bytes, least(N0, rows - r),
                        least(order.bytes, row_bytes - i * order.bytes));
}

int cube24_nd_to_zn(const uint8_t *nd, size_t n, size_t row_bytes, size_t k0, uint8_t *zn)
{
    if (!fractals_fit(n, row_bytes, k0))
        return CUBE24_E_SIZE;
    if (n == 0 || row_bytes == 0)
        return CUBE24_OK;
    if (!nd || !zn)
        return CUBE24_E_ARGUMENT;
    const size_t stored = ceil_div(n, N0) * N0;
    to_fractals(nd, n, row_bytes, stored, by_column(k0, stored), zn);
    return CUBE24_OK;
}

int cube24_zn_to_nd(const uint8_t *zn, size_t n, size_t row_bytes, size_t k0, uint8_t *nd)
{
    if (!fractals_fit(n, row_bytes, k0))
        return CUBE24_E_SIZE;
    if (n == 0 || row_bytes == 0)
        return CUBE24_OK;
    if (!nd || !zn)
        return CUBE24_E_ARGUMENT;
    from_fractals(zn, n, row_bytes, by_column(k0, ceil_div(n, N0) * N0), nd);
    return CUBE24_OK;
}

int cube24_nd_to_zz(const uint8_t *nd, size_t m, size_t row_bytes, size_t k0, uint8_t *zz)
{
    if (!fractals_fit(m, row_bytes, k0))
        return CUBE24_E_SIZE;
    if (m == 0 || row_bytes == 0)
        return CUBE24_OK;
    if (!nd || !zz)
        return CUBE24_E_ARGUMENT;
    to_fractals(nd, m, row_bytes, ceil_div(m, M0) * M0, by_row(k0, row_bytes), zz);
    return CUBE24_OK;
}

int cube24_zz_to_nd(const uint8_t *zz, size_t m, size_t row_bytes, size_t k0, uint8_t *nd)
{
    if (!fractals_fit(m, row_bytes, k0))
        return CUBE24_E_SIZE;
    if (m == 0 || row_bytes == 0)
        return CUBE24_OK;
    if (!nd || !zz)
        return CUBE24_E_ARGUMENT;
    from_fractals(zz, m, row_bytes, by_row(k0, row_bytes), nd);
    return CUBE24_OK;
}

/* 1 if columns of fractals of n0 bytes, `stored` rows high, can hold m rows of row_bytes. */
static int columns_fit(size_t m, size_t row_bytes, size_t n0, size_t stored)
{
    size_t size = n0;
    return n0 != 0 && stored >= m && fits(m, row_bytes) && grow(&size, stored) &&
           grow(&size, ceil_div(row_bytes, n0));
}

int cube24_nd_to_nz(const uint8_t *nd, size_t m, size_t row_bytes, size_t n0, size_t stored,
                    uint8_t *nz)
{
    if (!columns_fit(m, row_bytes, n0, stored))
        return CUBE24_E_SIZE;
    if (stored == 0 || row_bytes == 0)
        return CUBE24_OK;
    if ((!nd && m != 0) || !nz)
        return CUBE24_E_ARGUMENT;
    to_fractals(nd, m, row_bytes, stored, by_column(n0, stored), nz);
    return CUBE24_OK;
}

int cube24_nz_to_nd(const uint8_t *nz, size_t m, size_t row_bytes, size_t n0, size_t stored,
                    uint8_t *nd)
{
    if (!columns_fit(m, row_bytes, n0, stored))
        return CUBE24_E_SIZE;
    if (m == 0 || row_bytes == 0)
        return CUBE24_OK;
    if (!nd || !nz)
        return CUBE24_E_ARGUMENT;
    from_fractals(nz, m, row_bytes, by_column(n0, stored), nd);
    return CUBE24_OK;
}

/* --- images --------------------------------------------------------------------------------- */

/* 1 if an image and its blocks of channels can exist; *pixels is h * w. */
static int image_fits(size_t batch, size_t channels, size_t h, size_t w, size_t *pixels)
{
    size_t size = C0;
    if (!fits(h, w) || !grow(&size, ceil_div(channels, C0)) || !grow(&size, h) ||
        !grow(&size, w) || !fits(size, batch))
        return 0;
    *pixels = h * w;
    return 1;
}

int cube24_nchw_to_nc1hwc0(const int8_t *nchw, size_t batch, size_t channels, size_t h, size_t w,
                           uint32_t flags, int8_t *nc1hwc0)
{
    size_t pixels;
    if (!image_fits(batch, channels, h, w, &pixels))
        return CUBE24_E_SIZE;
    const struct cube24_layer_kernels *kernels = cube24_choose_layer(flags, 0);
    if (!kernels)
        return CUBE24_E_ARGUMENT;
    if (batch == 0 || channels == 0 || pixels == 0)
        return CUBE24_OK;
    if (!nchw || !nc1hwc0)
        return CUBE24_E_ARGUMENT;
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
    if (!image_fits(batch, channels, h, w, &pixels))
        return CUBE24_E_SIZE;
    const struct cube24_layer_kernels *kernels = cube24_choose_layer(flags, 0);
    if (!kernels)
        return CUBE24_E_ARGUMENT;
    if (batch == 0 || channels == 0 || pixels == 0)
        return CUBE24_OK;
    if (!nchw || !nc1hwc0)
        return CUBE24_E_ARGUMENT;
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
