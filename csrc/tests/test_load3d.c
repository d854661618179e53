/* SPDX-License-Identifier: Apache-2.0
 * img2col against its formula: every element of the matrix found in the image by divisions, one a
 * dimension. Images are of their exact size; fractals lie between canaries. */
#include "check.h"
#include "cube24.h"
#include "support.h"

/* c1, h, w, kernel, stride, dilation (h, w each), pads: top, left, bottom, right */
static const cube24_image IMAGES[] = {
    {1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0},  {2, 5, 7, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0},
    {1, 6, 5, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},  {3, 7, 9, 3, 3, 2, 1, 1, 2, 0, 2, 1, 3},
    {2, 4, 9, 2, 5, 1, 3, 2, 1, 3, 0, 0, 4},  {3, 8, 6, 2, 5, 3, 2, 3, 1, 2, 1, 0, 2},
    {1, 9, 4, 3, 3, 2, 3, 3, 2, 0, 1, 2, 0},  {2, 3, 3, 3, 3, 5, 4, 1, 1, 0, 0, 0, 0},
    {1, 2, 3, 1, 1, 2, 2, 1, 1, 4, 3, 2, 5},  {2, 5, 5, 1, 1, 9, 9, 7, 8, 0, 0, 0, 0},
    {1, 1, 40, 2, 5, 1, 1, 1, 7, 1, 3, 1, 0}, {3, 16, 2, 3, 3, 1, 1, 4, 1, 2, 2, 2, 2},
};

/* The kernel is put down, and moved by the stride while its last tap is inside. */
static size_t count_positions(size_t padded, size_t kernel, size_t stride, size_t dilation)
{
    size_t count = 0;
    for (size_t start = 0; start + (kernel - 1) * dilation < padded; start += stride)
        count++;
    return count;
}

static size_t height_of(const cube24_image *i)
{
    return count_positions(i->pad_top + i->h + i->pad_bottom, i->kernel_h, i->stride_h,
                           i->dilation_h);
}

static size_t width_of(const cube24_image *i)
{
    return count_positions(i->pad_left + i->w + i->pad_right, i->kernel_w, i->stride_w,
                           i->dilation_w);
}

static size_t columns_of(const cube24_image *i)
{
    return i->c1 * i->kernel_h * i->kernel_w * 32;
}

/* Row `row`, column `column` of the whole img2col matrix. */
static int8_t pixel(const cube24_image *i, const int8_t *x, size_t row, size_t column, int pad)
{
    const size_t c0 = column % 32, kw = column / 32 % i->kernel_w;
    const size_t kh = column / 32 / i->kernel_w % i->kernel_h;
    const size_t c1 = column / 32 / i->kernel_w / i->kernel_h;
    const int64_t y = (int64_t)(row / width_of(i) * i->stride_h + kh * i->dilation_h) -
                      (int64_t)i->pad_top;
    const int64_t z = (int64_t)(row % width_of(i) * i->stride_w + kw * i->dilation_w) -
                      (int64_t)i->pad_left;
    if (y < 0 || y >= (int64_t)i->h || z < 0 || z >= (int64_t)i->w)
        return (int8_t)pad;
    return x[((c1 * i->h + (size_t)y) * i->w + (size_t)z) * 32 + c0];
}

static void check_load(const cube24_image *image, const int8_t *x, size_t m_start, size_t m,
                       size_t k_start, size_t k, int pad)
{
    const size_t rows = ceil_of(m, 16) * 16;
    int8_t *const wanted = allocate(rows * k + 1);
    for (size_t row = 0; row < rows; row++)
        for (size_t column = 0; column < k; column++)
            wanted[((row / 16 * (k / 32) + column / 32) * 16 + row % 16) * 32 + column % 32] =
                row < m ? pixel(image, x, m_start + row, k_start + column, pad) : 0;
    for (int f = 0; f < 2; f++) {
        const struct guarded out = guarded_bytes(rows * k, FILLS[f]);
        CHECK_EQUAL(cube24_load3d(image, x, m_start, m, k_start, k, pad, guarded_int8(out)),
                    CUBE24_OK);
        CHECK(holds(out, wanted));
        guarded_free(out);
    }
    free(wanted);
}

static struct exact random_image(const cube24_image *image, uint64_t *state)
{
    const size_t size = image->c1 * image->h * image->w * 32;
    int8_t *const x = allocate(size);
    random_weight(state, x, size, 100);
    const struct exact copy = exact_copy(x, size);
    free(x);
    return copy;
}

static void img2col_gives_what_the_formula_gives(void)
{
    static const int pads[] = {0, -128, 7, 127};
    uint64_t state = 6;
    for (size_t i = 0; i < COUNT(IMAGES); i++) {
        const cube24_image *const image = &IMAGES[i];
        const size_t rows = height_of(image) * width_of(image), columns = columns_of(image);
        const struct exact x = random_image(image, &state);
        for (size_t p = 0; p < COUNT(pads); p++)
            check_load(image, exact_int8(x), 0, rows, 0, columns, pads[p]);
        check_load(image, exact_int8(x), rows - 1, 1, columns - 32, 32, 7);
        check_load(image, exact_int8(x), rows, 0, 0, columns, 7);
        check_load(image, exact_int8(x), 0, rows, columns, 0, 7);
        for (int trial = 0; trial < 40; trial++) {
            const size_t m_start = random_below(&state, rows);
            const size_t m = 1 + random_below(&state, rows - m_start);
            const size_t k_start = random_below(&state, columns / 32) * 32;
            const size_t k = (1 + random_below(&state, (columns - k_start) / 32)) * 32;
            check_load(image, exact_int8(x), m_start, m, k_start, k,
                       pads[random_below(&state, COUNT(pads))]);
        }
        exact_free(x);
    }
}

static void output_sizes_are_counted(void)
{
    for (size_t i = 0; i < COUNT(IMAGES); i++) {
        size_t height = 99, width = 99;
        CHECK_EQUAL(cube24_image_output(&IMAGES[i], &height, &width), CUBE24_OK);
        CHECK_EQUAL(height, height_of(&IMAGES[i]));
        CHECK_EQUAL(width, width_of(&IMAGES[i]));
    }
    for (size_t h = 1; h <= 9; h++) /* one axis, all small numbers, on both axes crosswise */
        for (size_t kernel = 1; kernel <= 4; kernel++)
            for (size_t stride = 1; stride <= 4; stride++)
                for (size_t dilation = 1; dilation <= 3; dilation++)
                    for (size_t pads = 0; pads < 9; pads++) {
                        const cube24_image up = {1, h, 3, kernel, 1, stride, 1, dilation, 1,
                                                 pads % 3, 0, pads / 3, 0};
                        const cube24_image across = {1, 3, h, 1, kernel, 1, stride, 1, dilation,
                                                     0, pads % 3, 0, pads / 3};
                        size_t height = 99, width = 99;
                        const int fits = height_of(&up) > 0;
                        const int status = fits ? CUBE24_OK : CUBE24_E_SIZE;
                        CHECK_EQUAL(cube24_image_output(&up, &height, &width), status);
                        if (fits)
                            CHECK(height == height_of(&up) && width == 3);
                        height = width = 99;
                        CHECK_EQUAL(cube24_image_output(&across, &height, &width), status);
                        if (fits)
                            CHECK(height == 3 && width == width_of(&across));
                    }
}

static const cube24_image ORDINARY = {2, 5, 6, 3, 2, 1, 1, 1, 1, 1, 0, 1, 1};

/* Number `which` of an image, in the order of its declaration. */
static size_t *number(cube24_image *i, size_t which)
{
    size_t *const numbers[] = {
        &i->c1,       &i->h,          &i->w,          &i->kernel_h, &i->kernel_w,
        &i->stride_h, &i->stride_w,   &i->dilation_h, &i->dilation_w, &i->pad_top,
        &i->pad_left, &i->pad_bottom, &i->pad_right,
    };
    return numbers[which];
}

enum { NUMBERS = 13, POSITIVE_NUMBERS = 9 };

/* Both functions refuse the image and write nothing. */
static void check_image_refused(const cube24_image *image, int status)
{
    static const int8_t x[1024];
    int8_t out[512];
    size_t height = 99, width = 99;
    CHECK_EQUAL(cube24_image_output(image, &height, &width), status);
    CHECK_EQUAL(height, 99);
    CHECK_EQUAL(width, 99);
    memset(out, FILLS[0], sizeof out);
    CHECK_EQUAL(cube24_load3d(image, x, 0, 1, 0, 32, 0, out), status);
    CHECK(is_filled((const uint8_t *)out, sizeof out, FILLS[0]));
}

static void images_that_cannot_be_are_refused(void)
{
    static const size_t large[] = {32768, 65536, SIZE_MAX, SIZE_MAX / 2 + 1};
    cube24_image image = ORDINARY;
    size_t height, width;
    for (size_t which = 0; which < NUMBERS; which++) {
        const size_t kept = *number(&image, which);
        *number(&image, which) = 0;
        if (which < POSITIVE_NUMBERS)
            check_image_refused(&image, CUBE24_E_SIZE);
        else
            CHECK_EQUAL(cube24_image_output(&image, &height, &width), CUBE24_OK);
        for (size_t i = 0; i < COUNT(large); i++) {
            *number(&image, which) = large[i];
            check_image_refused(&image, CUBE24_E_SIZE);
        }
        *number(&image, which) = kept;
    }
    check_image_refused(NULL, CUBE24_E_ARGUMENT);
    height = width = 99;
    CHECK_EQUAL(cube24_image_output(&image, NULL, &width), CUBE24_E_ARGUMENT);
    CHECK_EQUAL(cube24_image_output(&image, &height, NULL), CUBE24_E_ARGUMENT);
    CHECK(height == 99 && width == 99);

    const cube24_image most = {1, 32767, 32767, 1, 1, 32767, 1, 1, 1, 32767, 0, 32767, 0};
    CHECK_EQUAL(cube24_image_output(&most, &height, &width), CUBE24_OK);
    CHECK_EQUAL(height, 3);
    CHECK_EQUAL(width, 32767);
}

/* By one row or column too few, along each axis, also through the dilation. */
static void kernels_that_do_not_fit_are_refused(void)
{
    static const cube24_image images[] = {
        {1, 2, 9, 3, 1, 1, 1, 1, 1, 0, 0, 0, 0}, {1, 9, 2, 1, 3, 1, 1, 1, 1, 0, 0, 0, 0},
        {1, 4, 9, 3, 1, 1, 1, 2, 1, 0, 0, 0, 0}, {1, 9, 4, 1, 3, 1, 1, 1, 2, 0, 0, 0, 0},
        {1, 2, 9, 5, 1, 1, 1, 1, 1, 1, 0, 1, 0}, {1, 9, 2, 1, 5, 1, 1, 1, 1, 0, 1, 0, 1},
        {1, 1, 1, 32767, 1, 1, 1, 32767, 1, 0, 0, 0, 0},
    };
    for (size_t i = 0; i < COUNT(images); i++)
        check_image_refused(&images[i], CUBE24_E_SIZE);
}

static void ranges_outside_the_matrix_are_refused(void)
{
    const size_t rows = height_of(&ORDINARY) * width_of(&ORDINARY), columns = columns_of(&ORDINARY);
    const size_t ranges[][4] = {
        {0, rows + 1, 0, 32},        {1, rows, 0, 32},           {rows, 1, 0, 32},
        {rows + 1, 0, 0, 32},        {rows + 1, SIZE_MAX, 0, 32}, {1, SIZE_MAX, 0, 32},
        {SIZE_MAX, 1, 0, 32},        {SIZE_MAX, 2, 0, 32},       {0, 1, 0, columns + 32},
        {0, 1, 32, columns},         {0, 1, columns, 32},        {0, 1, columns + 32, 0},
        {0, 1, 32, SIZE_MAX - 31},   {0, 1, SIZE_MAX - 31, 32},  {0, 1, SIZE_MAX - 31, 64},
        {0, 1, 1, 32},               {0, 1, 16, 32},             {0, 1, 0, 31},
        {0, 1, 0, 33},               {0, 1, 0, 16},              {0, 1, 31, 33},
    };
    int8_t x[2 * 5 * 6 * 32] = {0}, out[512];
    memset(out, FILLS[0], sizeof out);
    for (size_t i = 0; i < COUNT(ranges); i++) {
        const size_t *const r = ranges[i];
        CHECK_EQUAL(cube24_load3d(&ORDINARY, x, r[0], r[1], r[2], r[3], 0, out), CUBE24_E_SIZE);
        CHECK_EQUAL(cube24_load3d(&ORDINARY, NULL, r[0], r[1], r[2], r[3], 128, NULL),
                    CUBE24_E_SIZE);
    }
    CHECK_EQUAL(cube24_load3d(&ORDINARY, NULL, 0, 1, 0, 32, 0, out), CUBE24_E_ARGUMENT);
    CHECK_EQUAL(cube24_load3d(&ORDINARY, x, 0, 1, 0, 32, 0, NULL), CUBE24_E_ARGUMENT);
    CHECK_EQUAL(cube24_load3d(&ORDINARY, x, 0, 1, 0, 32, -129, out), CUBE24_E_ARGUMENT);
    CHECK_EQUAL(cube24_load3d(&ORDINARY, x, 0, 1, 0, 32, 128, out), CUBE24_E_ARGUMENT);
    CHECK(is_filled((const uint8_t *)out, sizeof out, FILLS[0]));
    /* without elements, NULL will do */
    CHECK_EQUAL(cube24_load3d(&ORDINARY, NULL, 0, 0, 0, 32, 0, NULL), CUBE24_OK);
    CHECK_EQUAL(cube24_load3d(&ORDINARY, NULL, 0, 1, 0, 0, 0, NULL), CUBE24_OK);
}

int main(void)
{
    img2col_gives_what_the_formula_gives();
    output_sizes_are_counted();
    images_that_cannot_be_are_refused();
    kernels_that_do_not_fit_are_refused();
    ranges_outside_the_matrix_are_refused();
    return check_report("test_load3d");
}
