/* SPDX-License-Identifier: Apache-2.0
 *
 * cube24 for SystemVerilog: the C side of the imports of cube24_pkg.sv. Each function checks that the
 * open arrays are long enough for the sizes, and calls the function of cube24.h; nothing is computed
 * here. Arrays must stand in memory as C has them, which the standard asks of arrays of byte,
 * shortint, int and longint.
 *
 * A function gives a cube24_status, or one of the two below. Outputs that are no arrays are set in
 * any case.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "cube24.h"
#include "fractal.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What is used of svdpi.h, which every simulator brings (IEEE 1800, annex I): declared here, so that
 * the library can be built without one. */
typedef void *svOpenArrayHandle;
extern int svSize(const svOpenArrayHandle array, int dimension);
extern void *svGetArrayPtr(const svOpenArrayHandle array);
extern int svSizeOfArray(const svOpenArrayHandle array);

enum cube24_dpi_status {
    CUBE24_DPI_E_ARRAY = 16, /* an open array is too short, or has elements of another size */
    CUBE24_DPI_E_LAYOUT = 17 /* the simulator does not keep an open array as C does */
};

const char *cube24_dpi_message(int status)
{
    if (status == CUBE24_DPI_E_ARRAY)
        return "an array with fewer elements than the sizes say, or with elements of another type";
    if (status == CUBE24_DPI_E_LAYOUT)
        return "an array that the simulator does not keep as C does";
    return cube24_status_text(status);
}

/* --- sizes and arrays ----------------------------------------------------------------------- */

/* A size; one that is negative, or does not fit, is NO_SIZE, and so is what is made of it. */
static const size_t NO_SIZE = SIZE_MAX;

static size_t size_of(int size)
{
    return size < 0 ? NO_SIZE : (size_t)size;
}

static size_t times(size_t a, size_t b)
{
    if (a == NO_SIZE || b == NO_SIZE || (b != 0 && a > (size_t)PTRDIFF_MAX / b))
        return NO_SIZE;
    return a * b;
}

/* How many blocks cover a size. */
static size_t blocks(size_t size, size_t block)
{
    return size == NO_SIZE ? NO_SIZE : size / block + (size % block != 0);
}

/* Bytes of a row of dense and of index. */
static size_t dense_row(size_t k)
{
    return times(blocks(k, 8), 4);
}

static size_t index_row(size_t k)
{
    return blocks(k, 8);
}

struct array {
    void *data;
    int status;
};

/* Where an array without elements stands; nobody reads or writes it. */
static const uint64_t NOTHING = 0;

/* An open array that must have `count` elements of `element` bytes, or more. */
static struct array take(svOpenArrayHandle handle, size_t element, size_t count)
{
    struct array array = {(void *)&NOTHING, CUBE24_OK};
    if (count == NO_SIZE || count > (size_t)PTRDIFF_MAX / element) {
        array.status = CUBE24_E_SIZE;
        return array;
    }
    if (count == 0)
        return array;
    const int size = svSize(handle, 1);
    if (size < 0 || (size_t)size < count) {
        array.status = CUBE24_DPI_E_ARRAY;
        return array;
    }
    array.data = svGetArrayPtr(handle);
    if (!array.data)
        array.status = CUBE24_DPI_E_LAYOUT;
    else if ((size_t)svSizeOfArray(handle) != (size_t)size * element)
        array.status = CUBE24_DPI_E_ARRAY;
    return array;
}

static struct array bytes(svOpenArrayHandle handle, size_t count)
{
    return take(handle, 1, count);
}

static struct array ints(svOpenArrayHandle handle, size_t count)
{
    return take(handle, sizeof(int32_t), count);
}

static struct array longs(svOpenArrayHandle handle, size_t count)
{
    return take(handle, sizeof(uint64_t), count);
}

static int8_t *int8_of(struct array array)
{
    return (int8_t *)array.data;
}

static uint8_t *uint8_of(struct array array)
{
    return (uint8_t *)array.data;
}

static int32_t *int32_of(struct array array)
{
    return (int32_t *)array.data;
}

/* The first status that is not CUBE24_OK. */
static int first(int a, int b, int c, int d)
{
    return a != CUBE24_OK ? a : b != CUBE24_OK ? b : c != CUBE24_OK ? c : d;
}

static void put_place(const cube24_place *place, int *row, int *group)
{
    *row = (int)place->row;
    *group = (int)place->group;
}

/* --- weights to bytes and back -------------------------------------------------------------- */

int cube24_dpi_k_stored(int k)
{
    const size_t stored = k < 0 ? 0 : cube24_k_stored((size_t)k);
    return stored > INT32_MAX ? 0 : (int)stored;
}

int cube24_dpi_encode_group(svOpenArrayHandle weight, int policy, svOpenArrayHandle dense,
                            int *pair)
{
    const struct array w = bytes(weight, 4), d = bytes(dense, 2);
    int8_t kept[4];
    uint8_t index = 0;
    *pair = 0;
    int status = first(w.status, d.status, 0, 0);
    if (status == CUBE24_OK)
        status = cube24_encode(int8_of(w), 1, 4, policy, 0, kept, &index, NULL);
    if (status == CUBE24_OK) {
        memcpy(d.data, kept, 2);
        *pair = index & 0xf;
    }
    return status;
}

int cube24_dpi_decode_group(svOpenArrayHandle dense, int pair, svOpenArrayHandle weight)
{
    const struct array d = bytes(dense, 2), w = bytes(weight, 4);
    const int status = first(d.status, w.status, 0, 0);
    if (status != CUBE24_OK)
        return status;
    if (pair < 0 || pair > 15)
        return CUBE24_E_RANGE;
    const int8_t kept[4] = {int8_of(d)[0], int8_of(d)[1], 0, 0};
    const uint8_t index = (uint8_t)pair;
    return cube24_decode(kept, &index, 1, 8, 1, 4, 0, int8_of(w), NULL);
}

int cube24_dpi_encode(svOpenArrayHandle weight, int n, int k, int policy, svOpenArrayHandle dense,
                      svOpenArrayHandle index)
{
    const size_t rows = size_of(n), columns = size_of(k);
    const struct array w = bytes(weight, times(rows, columns));
    const struct array d = bytes(dense, times(rows, dense_row(columns)));
    const struct array i = bytes(index, times(rows, index_row(columns)));
    const int status = first(w.status, d.status, i.status, 0);
    return status != CUBE24_OK ? status
                               : cube24_encode(int8_of(w), rows, columns, policy, 0, int8_of(d),
                                               uint8_of(i), NULL);
}

int cube24_dpi_decode(svOpenArrayHandle dense, svOpenArrayHandle index, int n, int k,
                      unsigned char strict, svOpenArrayHandle weight)
{
    const size_t rows = size_of(n), columns = size_of(k);
    const struct array d = bytes(dense, times(rows, dense_row(columns)));
    const struct array i = bytes(index, times(rows, index_row(columns)));
    const struct array w = bytes(weight, times(rows, columns));
    const int status = first(d.status, i.status, w.status, 0);
    return status != CUBE24_OK
               ? status
               : cube24_decode(int8_of(d), uint8_of(i), rows, cube24_k_stored(columns), rows,
                               columns, strict ? CUBE24_STRICT : 0, int8_of(w), NULL);
}

int cube24_dpi_find_excess(svOpenArrayHandle weight, int n, int k, int *total, int *row,
                           int *group)
{
    const size_t rows = size_of(n), columns = size_of(k);
    const struct array w = bytes(weight, times(rows, columns));
    cube24_place place;
    uint64_t count = 0;
    *total = 0;
    *row = *group = -1;
    if (w.status != CUBE24_OK)
        return w.status;
    const int status = cube24_list_excess(int8_of(w), rows, columns, &place, 1, &count);
    *total = (int)count;
    if (count != 0)
        put_place(&place, row, group);
    return status;
}

int cube24_dpi_find_refused(svOpenArrayHandle dense, svOpenArrayHandle index, int n, int k,
                            unsigned char strict, int *total, int *row, int *group, int *fault)
{
    const size_t rows = size_of(n), columns = size_of(k);
    const struct array d = bytes(dense, times(rows, dense_row(columns)));
    const struct array i = bytes(index, times(rows, index_row(columns)));
    cube24_place place;
    uint64_t count = 0;
    *total = 0;
    *row = *group = -1;
    *fault = CUBE24_FAULT_NONE;
    int status = first(d.status, i.status, 0, 0);
    if (status == CUBE24_OK)
        status = cube24_list_refused(int8_of(d), uint8_of(i), rows, cube24_k_stored(columns), rows,
                                     columns, strict ? CUBE24_STRICT : 0, &place, 1, &count);
    *total = (int)count;
    if (count != 0) {
        put_place(&place, row, group);
        *fault = (int)place.fault;
    }
    return status;
}

int cube24_dpi_prune(svOpenArrayHandle weight, int n, int k, int policy, svOpenArrayHandle out,
                     int *dropped)
{
    const size_t rows = size_of(n), columns = size_of(k), count = times(rows, columns);
    const struct array w = bytes(weight, count), o = bytes(out, count);
    cube24_cost cost;
    *dropped = 0;
    int status = first(w.status, o.status, 0, 0);
    if (status == CUBE24_OK)
        status = cube24_prune(int8_of(w), rows, columns, policy, 0, int8_of(o), &cost);
    if (status == CUBE24_OK)
        *dropped = (int)cost.weights;
    return status;
}

int cube24_dpi_pack_index(svOpenArrayHandle values, int count, svOpenArrayHandle packed)
{
    const size_t size = size_of(count);
    const struct array v = bytes(values, size), p = bytes(packed, blocks(size, 4));
    const int status = first(v.status, p.status, 0, 0);
    return status != CUBE24_OK ? status
                               : cube24_pack_index(uint8_of(v), size, uint8_of(p), NULL);
}

int cube24_dpi_unpack_index(svOpenArrayHandle packed, int count, svOpenArrayHandle values)
{
    const size_t size = size_of(count);
    const struct array p = bytes(packed, blocks(size, 4)), v = bytes(values, size);
    const int status = first(p.status, v.status, 0, 0);
    return status != CUBE24_OK ? status : cube24_unpack_index(uint8_of(p), size, uint8_of(v));
}

int cube24_dpi_conv_to_matrix(svOpenArrayHandle weight, int cout, int cin, int kh, int kw,
                              svOpenArrayHandle matrix)
{
    const size_t taps = times(size_of(kh), size_of(kw)), n = size_of(cout), c = size_of(cin);
    const struct array w = bytes(weight, times(times(n, c), taps));
    const struct array m = bytes(matrix, times(times(n, times(blocks(c, K0), K0)), taps));
    const int status = first(w.status, m.status, 0, 0);
    return status != CUBE24_OK ? status
                               : cube24_conv_to_matrix(int8_of(w), n, c, size_of(kh), size_of(kw),
                                                       0, int8_of(m));
}

/* --- layouts -------------------------------------------------------------------------------- */

/* Bytes of fractals of 16 rows of k0 bytes that hold rows of row_bytes. */
static size_t fractal_bytes(size_t rows, size_t row_bytes, size_t k0)
{
    if (k0 == 0 || k0 == NO_SIZE)
        return NO_SIZE;
    return times(times(blocks(rows, M0), M0), times(blocks(row_bytes, k0), k0));
}

typedef int turn(const uint8_t *from, size_t rows, size_t row_bytes, size_t k0, uint8_t *to);

static int turn_rows(turn *call, int to_fractals, svOpenArrayHandle from, int rows, int row_bytes,
                     int k0, svOpenArrayHandle to)
{
    const size_t m = size_of(rows), width = size_of(row_bytes), wide = size_of(k0);
    const size_t nd = times(m, width), fractals = fractal_bytes(m, width, wide);
    const struct array f = bytes(from, to_fractals ? nd : fractals);
    const struct array t = bytes(to, to_fractals ? fractals : nd);
    const int status = first(f.status, t.status, 0, 0);
    return status != CUBE24_OK ? status : call(uint8_of(f), m, width, wide, uint8_of(t));
}

int cube24_dpi_nd_to_zn(svOpenArrayHandle nd, int n, int row_bytes, int k0, svOpenArrayHandle zn)
{
    return turn_rows(cube24_nd_to_zn, 1, nd, n, row_bytes, k0, zn);
}

int cube24_dpi_zn_to_nd(svOpenArrayHandle zn, int n, int row_bytes, int k0, svOpenArrayHandle nd)
{
    return turn_rows(cube24_zn_to_nd, 0, zn, n, row_bytes, k0, nd);
}

int cube24_dpi_nd_to_zz(svOpenArrayHandle nd, int m, int row_bytes, int k0, svOpenArrayHandle zz)
{
    return turn_rows(cube24_nd_to_zz, 1, nd, m, row_bytes, k0, zz);
}

int cube24_dpi_zz_to_nd(svOpenArrayHandle zz, int m, int row_bytes, int k0, svOpenArrayHandle nd)
{
    return turn_rows(cube24_zz_to_nd, 0, zz, m, row_bytes, k0, nd);
}

/* Nz of whole fractals, elements of one or four bytes. */
static int nd_to_nz(struct array nd, size_t m, size_t n, size_t element, size_t n0,
                    struct array nz)
{
    const int status = first(nd.status, nz.status, 0, 0);
    return status != CUBE24_OK ? status
                               : cube24_nd_to_nz(uint8_of(nd), m, n * element, n0 * element,
                                                 blocks(m, M0) * M0, uint8_of(nz));
}

static int nz_to_nd(struct array nz, size_t m, size_t n, size_t element, size_t n0,
                    struct array nd)
{
    const int status = first(nz.status, nd.status, 0, 0);
    return status != CUBE24_OK ? status
                               : cube24_nz_to_nd(uint8_of(nz), m, n * element, n0 * element,
                                                 blocks(m, M0) * M0, uint8_of(nd));
}

int cube24_dpi_nd_to_nz(svOpenArrayHandle nd, int rows, int columns, svOpenArrayHandle nz)
{
    const size_t m = size_of(rows), n = size_of(columns);
    return nd_to_nz(bytes(nd, times(m, n)), m, n, 1, K0, bytes(nz, fractal_bytes(m, n, K0)));
}

int cube24_dpi_nz_to_nd(svOpenArrayHandle nz, int rows, int columns, svOpenArrayHandle nd)
{
    const size_t m = size_of(rows), n = size_of(columns);
    return nz_to_nd(bytes(nz, fractal_bytes(m, n, K0)), m, n, 1, K0, bytes(nd, times(m, n)));
}

int cube24_dpi_nd_to_nz_int(svOpenArrayHandle nd, int rows, int columns, svOpenArrayHandle nz)
{
    const size_t m = size_of(rows), n = size_of(columns);
    return nd_to_nz(ints(nd, times(m, n)), m, n, 4, N0, ints(nz, fractal_bytes(m, n, N0)));
}

int cube24_dpi_nz_to_nd_int(svOpenArrayHandle nz, int rows, int columns, svOpenArrayHandle nd)
{
    const size_t m = size_of(rows), n = size_of(columns);
    return nz_to_nd(ints(nz, fractal_bytes(m, n, N0)), m, n, 4, N0, ints(nd, times(m, n)));
}

/* Elements of a batch of images, and of their blocks of 32 channels. */
static size_t image_size(int batch, int h, int w, size_t channels)
{
    return times(times(size_of(batch), channels), times(size_of(h), size_of(w)));
}

int cube24_dpi_nchw_to_nc1hwc0(svOpenArrayHandle nchw, int batch, int channels, int h, int w,
                               svOpenArrayHandle nc1hwc0)
{
    const size_t c = size_of(channels);
    const struct array from = bytes(nchw, image_size(batch, h, w, c));
    const struct array to = bytes(nc1hwc0, image_size(batch, h, w, times(blocks(c, K0), K0)));
    const int status = first(from.status, to.status, 0, 0);
    return status != CUBE24_OK ? status
                               : cube24_nchw_to_nc1hwc0(int8_of(from), size_of(batch), c,
                                                        size_of(h), size_of(w), 0, int8_of(to));
}

int cube24_dpi_nc1hwc0_to_nchw(svOpenArrayHandle nc1hwc0, int batch, int channels, int h, int w,
                               svOpenArrayHandle nchw)
{
    const size_t c = size_of(channels);
    const struct array from = bytes(nc1hwc0, image_size(batch, h, w, times(blocks(c, K0), K0)));
    const struct array to = bytes(nchw, image_size(batch, h, w, c));
    const int status = first(from.status, to.status, 0, 0);
    return status != CUBE24_OK ? status
                               : cube24_nc1hwc0_to_nchw(int8_of(from), size_of(batch), c,
                                                        size_of(h), size_of(w), 0, int8_of(to));
}

/* --- img2col -------------------------------------------------------------------------------- */

static cube24_image image_of(int c1, int h, int w, int kernel_h, int kernel_w, int stride_h,
                             int stride_w, int dilation_h, int dilation_w, int pad_top,
                             int pad_left, int pad_bottom, int pad_right)
{
    const cube24_image image = {
        size_of(c1),         size_of(h),          size_of(w),          size_of(kernel_h),
        size_of(kernel_w),   size_of(stride_h),   size_of(stride_w),   size_of(dilation_h),
        size_of(dilation_w), size_of(pad_top),    size_of(pad_left),   size_of(pad_bottom),
        size_of(pad_right),
    };
    return image;
}

int cube24_dpi_image_output(int c1, int h, int w, int kernel_h, int kernel_w, int stride_h,
                            int stride_w, int dilation_h, int dilation_w, int pad_top,
                            int pad_left, int pad_bottom, int pad_right, int *height, int *width)
{
    const cube24_image image =
        image_of(c1, h, w, kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, pad_top,
                 pad_left, pad_bottom, pad_right);
    size_t rows = 0, columns = 0;
    const int status = cube24_image_output(&image, &rows, &columns);
    *height = (int)rows;
    *width = (int)columns;
    return status;
}

int cube24_dpi_load3d(svOpenArrayHandle x, int c1, int h, int w, int kernel_h, int kernel_w,
                      int stride_h, int stride_w, int dilation_h, int dilation_w, int pad_top,
                      int pad_left, int pad_bottom, int pad_right, int m_start, int m, int k_start,
                      int k, int pad, svOpenArrayHandle zz)
{
    const cube24_image image =
        image_of(c1, h, w, kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, pad_top,
                 pad_left, pad_bottom, pad_right);
    const struct array from =
        bytes(x, times(times(image.c1, K0), times(image.h, image.w)));
    const struct array to = bytes(zz, times(times(blocks(size_of(m), M0), M0), size_of(k)));
    const int status = first(from.status, to.status, 0, 0);
    return status != CUBE24_OK ? status
                               : cube24_load3d(&image, int8_of(from), size_of(m_start), size_of(m),
                                               size_of(k_start), size_of(k), pad, int8_of(to));
}

/* --- the datapath --------------------------------------------------------------------------- */

int cube24_dpi_select_group(svOpenArrayHandle a, int pair, unsigned int flags,
                            svOpenArrayHandle selected)
{
    const struct array from = bytes(a, 4), to = bytes(selected, 2);
    const int status = first(from.status, to.status, 0, 0);
    return status != CUBE24_OK
               ? status
               : cube24_select(int8_of(from), (uint32_t)pair, flags, int8_of(to));
}

int cube24_dpi_accumulate(int c, int sum, unsigned int flags, int *result)
{
    int32_t made = 0;
    const int status = cube24_accumulate(c, sum, flags, &made);
    *result = made;
    return status;
}

/* Int32 of an m x n result in fractals. */
static size_t result_size(size_t m, size_t n)
{
    return times(times(blocks(m, M0), M0), times(blocks(n, N0), N0));
}

int cube24_dpi_mmad_start(svOpenArrayHandle c, int m, int n, svOpenArrayHandle bias,
                          unsigned char with_bias)
{
    const size_t rows = size_of(m), columns = size_of(n);
    const struct array to = ints(c, result_size(rows, columns));
    const struct array b = ints(bias, with_bias ? columns : 0);
    const int status = first(to.status, b.status, 0, 0);
    return status != CUBE24_OK ? status
                               : cube24_mmad_start(int32_of(to), rows, columns,
                                                   with_bias ? int32_of(b) : NULL);
}

int cube24_dpi_mmad(svOpenArrayHandle a, svOpenArrayHandle b, int m, int n, int k,
                    unsigned int flags, svOpenArrayHandle c)
{
    const size_t rows = size_of(m), columns = size_of(n), depth = size_of(k);
    const struct array left = bytes(a, fractal_bytes(rows, depth, K0));
    const struct array right = bytes(b, fractal_bytes(columns, depth, K0));
    const struct array to = ints(c, result_size(rows, columns));
    const int status = first(left.status, right.status, to.status, 0);
    return status != CUBE24_OK ? status
                               : cube24_mmad(int8_of(left), int8_of(right), rows, columns, depth,
                                             flags, int32_of(to));
}

/* Bytes of the index of n columns and k elements, in fractals; it is a quarter of dense. */
static size_t index_bytes(size_t n, size_t k)
{
    return times(times(blocks(n, N0), N0), times(blocks(k, SPARSE_K), INDEX_K0));
}

int cube24_dpi_find_index3(svOpenArrayHandle index, int n, int k, int *column, int *group)
{
    const size_t columns = size_of(n), depth = size_of(k);
    const struct array i = bytes(index, index_bytes(columns, depth));
    cube24_place place;
    *column = *group = -1;
    if (i.status != CUBE24_OK)
        return i.status;
    const int status = cube24_find_index3(uint8_of(i), columns, depth, &place);
    if (status == CUBE24_E_REFUSED)
        put_place(&place, column, group);
    return status;
}

int cube24_dpi_mmad_sparse(svOpenArrayHandle a, svOpenArrayHandle dense, svOpenArrayHandle index,
                           int m, int n, int k, unsigned int flags, svOpenArrayHandle c)
{
    const size_t rows = size_of(m), columns = size_of(n), depth = size_of(k);
    const struct array left = bytes(a, fractal_bytes(rows, times(blocks(depth, SPARSE_K), SPARSE_K), K0));
    const struct array d = bytes(dense, times(index_bytes(columns, depth), 4));
    const struct array i = bytes(index, index_bytes(columns, depth));
    const struct array to = ints(c, result_size(rows, columns));
    const int status = first(left.status, d.status, i.status, to.status);
    return status != CUBE24_OK
               ? status
               : cube24_mmad_sparse(int8_of(left), int8_of(d), uint8_of(i), rows, columns, depth,
                                    flags, int32_of(to), NULL);
}

int cube24_dpi_matmul_dense(svOpenArrayHandle a, svOpenArrayHandle weight, int m, int n, int k,
                            svOpenArrayHandle bias, unsigned char with_bias, unsigned int flags,
                            svOpenArrayHandle c)
{
    const size_t rows = size_of(m), columns = size_of(n), depth = size_of(k);
    const struct array left = bytes(a, times(rows, depth));
    const struct array w = bytes(weight, times(columns, depth));
    const struct array b = ints(bias, with_bias ? columns : 0);
    const struct array to = ints(c, times(rows, columns));
    const int status = first(left.status, w.status, b.status, to.status);
    return status != CUBE24_OK ? status
                               : cube24_matmul(int8_of(left), int8_of(w), NULL, rows, columns,
                                               depth, with_bias ? int32_of(b) : NULL, flags,
                                               int32_of(to), NULL);
}

int cube24_dpi_matmul_sparse(svOpenArrayHandle a, svOpenArrayHandle dense, svOpenArrayHandle index,
                             int m, int n, int k, svOpenArrayHandle bias, unsigned char with_bias,
                             unsigned int flags, svOpenArrayHandle c, int *row, int *group)
{
    const size_t rows = size_of(m), columns = size_of(n), depth = size_of(k);
    const struct array left = bytes(a, times(rows, depth));
    const struct array d = bytes(dense, times(columns, dense_row(depth)));
    const struct array i = bytes(index, times(columns, index_row(depth)));
    const struct array b = ints(bias, with_bias ? columns : 0);
    const struct array to = ints(c, times(rows, columns));
    cube24_place place;
    *row = *group = -1;
    int status = first(first(left.status, d.status, 0, 0), i.status, b.status, to.status);
    if (status != CUBE24_OK)
        return status;
    status = cube24_matmul(int8_of(left), int8_of(d), uint8_of(i), rows, columns, depth,
                           with_bias ? int32_of(b) : NULL, flags, int32_of(to), &place);
    if (status == CUBE24_E_REFUSED)
        put_place(&place, row, group);
    return status;
}

/* --- requantisation ------------------------------------------------------------------------- */

int cube24_dpi_write_word(double scale, unsigned char shifts, int shift, int offset,
                          unsigned char is_signed, unsigned int flags, uint64_t *word)
{
    const cube24_word fields = {(float)scale, shifts, shift, offset, is_signed};
    *word = 0;
    return cube24_write_words(&fields, 1, flags, word, NULL);
}

int cube24_dpi_read_word(uint64_t word, unsigned int flags, double *scale, unsigned char *shifts,
                         int *shift, int *offset, unsigned char *is_signed)
{
    cube24_word fields;
    memset(&fields, 0, sizeof fields);
    const int status = cube24_read_words(&word, 1, flags, &fields);
    *scale = (double)fields.scale;
    *shifts = (unsigned char)fields.shifts;
    *shift = fields.shift;
    *offset = fields.offset;
    *is_signed = (unsigned char)fields.is_signed;
    return status;
}

int cube24_dpi_requantise(svOpenArrayHandle sums, int rows, int columns, svOpenArrayHandle words,
                          int count, double alpha, unsigned int flags, svOpenArrayHandle out)
{
    const size_t m = size_of(rows), n = size_of(columns), word_count = size_of(count);
    const struct array s = ints(sums, times(m, n)), w = longs(words, word_count);
    const struct array o = bytes(out, times(m, n));
    const int status = first(s.status, w.status, o.status, 0);
    return status != CUBE24_OK
               ? status
               : cube24_requantise(int32_of(s), m, n, (const uint64_t *)w.data, word_count,
                                   (float)alpha, flags, uint8_of(o), NULL);
}

int cube24_dpi_dequantise(svOpenArrayHandle sums, int rows, int columns, svOpenArrayHandle words,
                          int count, double alpha, unsigned int flags, svOpenArrayHandle out)
{
    const size_t m = size_of(rows), n = size_of(columns), word_count = size_of(count);
    const struct array s = ints(sums, times(m, n)), w = longs(words, word_count);
    const struct array o = take(out, sizeof(uint16_t), times(m, n));
    const int status = first(s.status, w.status, o.status, 0);
    return status != CUBE24_OK
               ? status
               : cube24_dequantise(int32_of(s), m, n, (const uint64_t *)w.data, word_count,
                                   (float)alpha, flags, (uint16_t *)o.data, NULL);
}

#ifdef __cplusplus
}
#endif
