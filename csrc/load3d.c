/* SPDX-License-Identifier: Apache-2.0
 * img2col: an NC1HWC0 image to the fractals of a that a convolution multiplies. */
#include <string.h>

#include "cube24.h"
#include "fractal.h"
#include "sizes.h"

/* Output positions along one axis; 0 if the kernel does not fit. */
static size_t positions(size_t size, size_t before, size_t after, size_t kernel, size_t stride,
                        size_t dilation)
{
    const size_t padded = size + before + after, span = (kernel - 1) * dilation + 1;
    return padded < span ? 0 : (padded - span) / stride + 1;
}

int cube24_image_output(const cube24_image *image, size_t *height, size_t *width)
{
    if (!image || !height || !width)
        return CUBE24_E_ARGUMENT;
    const size_t counts[] = {
        image->c1,         image->h,          image->w,          image->kernel_h,
        image->kernel_w,   image->stride_h,   image->stride_w,   image->dilation_h,
        image->dilation_w, image->pad_top,    image->pad_left,   image->pad_bottom,
        image->pad_right,
    };
    const size_t positive = 9; /* the first nine must not be zero */
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        if ((i < positive && counts[i] == 0) || counts[i] > INT16_MAX)
            return CUBE24_E_SIZE;
    const size_t rows = positions(image->h, image->pad_top, image->pad_bottom, image->kernel_h,
                                  image->stride_h, image->dilation_h);
    const size_t columns = positions(image->w, image->pad_left, image->pad_right,
                                     image->kernel_w, image->stride_w, image->dilation_w);
    if (rows == 0 || columns == 0)
        return CUBE24_E_SIZE;
    *height = rows;
    *width = columns;
    return CUBE24_OK;
}

int cube24_load3d(const cube24_image *image, const int8_t *x, size_t m_start, size_t m,
                  size_t k_start, size_t k, int pad, int8_t *out)
{
    size_t height, width;
    const int status = cube24_image_output(image, &height, &width);
    if (status != CUBE24_OK)
        return status;
    const size_t taps = image->kernel_h * image->kernel_w, columns = image->c1 * taps * C0;
    if (m_start > height * width || m > height * width - m_start || k_start % C0 || k % C0 ||
        k_start > columns || k > columns - k_start)
        return CUBE24_E_SIZE;
    if (m == 0 || k == 0)
        return CUBE24_OK;
    if (!x || !out || pad < INT8_MIN || pad > INT8_MAX)
        return CUBE24_E_ARGUMENT;
    for (size_t i = 0; i < ceil_div(m, M0); i++) {
        for (size_t block = k_start / C0; block < (k_start + k) / C0; block++) {
            const size_t c1 = block / taps, tap = block % taps;
            for (size_t row = 0; row < M0; row++, out += C0) {
                if (i * M0 + row >= m) {
                    memset(out, 0, C0);
                    continue;
                }
                const size_t at = m_start + i * M0 + row;
                /* Coordinates in the padded image; they cannot be beyond its end. */
                const size_t y = at / width * image->stride_h +
                                 tap / image->kernel_w * image->dilation_h;
                const size_t z = at % width * image->stride_w +
                                 tap % image->kernel_w * image->dilation_w;
                if (y < image->pad_top || y - image->pad_top >= image->h ||
                    z < image->pad_left || z - image->pad_left >= image->w)
                    memset(out, pad, C0);
                else
                    memcpy(out,
                           x + ((c1 * image->h + y - image->pad_top) * image->w + z -
                                image->pad_left) *
                                   C0,
                           C0);
            }
        }
    }
    return CUBE24_OK;
}
