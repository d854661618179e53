/* SPDX-License-Identifier: Apache-2.0
 * Whole layers beside plain loops that know nothing of chunks, packing or vectors: for each result,
 * every element of k is looked up in the image and in the bytes of the weight.
 */
#include "check.h"
#include "support.h"

/* --- the reference -------------------------------------------------------------------------- */

/* Element k of the K order (C1, Kh, Kw, 32) for output position `row`, or of a row of activations. */
static int activation(const cube24_layer *l, size_t batch, size_t row, size_t k)
{
    if (l->form == CUBE24_ROWS)
        return l->x[row * l->k + k];
    const cube24_image *i = &l->image;
    const size_t width =
        (i->w + i->pad_left + i->pad_right - (i->kernel_w - 1) * i->dilation_w - 1) / i->stride_w + 1;
    const size_t channel = k / (i->kernel_h * i->kernel_w * 32) * 32 + k % 32;
    const size_t tap = k / 32 % (i->kernel_h * i->kernel_w);
    const long long y = (long long)(row / width * i->stride_h + tap / i->kernel_w * i->dilation_h) -
                        (long long)i->pad_top;
    const long long z = (long long)(row % width * i->stride_w + tap % i->kernel_w * i->dilation_w) -
                        (long long)i->pad_left;
    if (y < 0 || z < 0 || y >= (long long)i->h || z >= (long long)i->w)
        return l->pad;
    if (channel >= l->channels)
        return 0;
    const size_t at = l->form == CUBE24_NCHW
                          ? ((batch * l->channels + channel) * i->h + (size_t)y) * i->w + (size_t)z
                          : ((batch * i->h + (size_t)y) * i->w + (size_t)z) * l->channels + channel;
    return l->x[at];
}

/* Slot `slot` of group `group` of column `n`: its weight, and its two bits. */
static void slot_of(const cube24_layer *l, size_t n, size_t group, size_t slot, int *weight,
                    unsigned *bits)
{
    size_t dense, index;
    if (l->zn) {
        const size_t fractal = group / 16 * ceil_of(l->n, 16) + n / 16;
        dense = fractal * 512 + n % 16 * 32 + group % 16 * 2 + slot;
        index = fractal * 128 + n % 16 * 8 + group % 16 / 2;
    } else {
        const size_t pairs = ceil_of(l->k, 8);
        dense = n * pairs * 4 + 2 * group + slot;
        index = n * pairs + group / 2;
    }
    *weight = l->weight[dense];
    *bits = l->index[index] >> (4 * (group % 2) + 2 * slot) & 3U;
}

static int64_t sparse_sum(const cube24_layer *l, size_t batch, size_t row, size_t n, uint32_t flags)
{
    int64_t sum = 0;
    for (size_t group = 0; group < ceil_of(l->k, 4); group++) {
        int w0, w1;
        unsigned i0, i1;
        slot_of(l, n, group, 0, &w0, &i0);
        slot_of(l, n, group, 1, &w1, &i1);
        const size_t first = 4 * group + i0;
        const size_t second =
            4 * group + (flags & CUBE24_PAIR20_TABLE && i0 == 2 && i1 == 0 ? 2 : i1 + 1);
        if (i0 < 3 && first < l->k)
            sum += w0 * activation(l, batch, first < l->k ? row : 0, first);
        if (i1 < 3 && second < l->k)
            sum += w1 * activation(l, batch, row, second);
    }
    return sum;
}

static int32_t sum_of(const cube24_layer *l, size_t batch, size_t row, size_t n, uint32_t flags)
{
    int64_t sum = l->bias ? l->bias[n] : 0;
    if (l->index)
        sum += sparse_sum(l, batch, row, n, flags);
    else
        for (size_t k = 0; k < l->k; k++)
            sum += l->weight[n * l->k + k] * activation(l, batch, row, k);
    return (int32_t)(uint32_t)(uint64_t)sum;
}

/* The nearest whole number, ties to even, of a number that is small. */
static int nearest(float y)
{
    int below = (int)y;
    while ((float)below > y)
        below--;
    const float over = y - (float)below;
    return over > 0.5F || (over == 0.5F && below % 2 != 0) ? below + 1 : below;
}

static int byte_of(const cube24_layer *l, int32_t sum, size_t n)
{
    int64_t x = sum;
    if (l->shift) {
        const int64_t divisor = (int64_t)1 << l->shift;
        x = x >= 0 ? x / divisor : -((-x + divisor - 1) / divisor);
        x = x > 32767 ? 32767 : x < -32768 ? -32768 : x;
    }
    const size_t word = l->words == 1 ? 0 : n;
    const float factor = l->relu && x < 0 ? l->alpha : l->scale[word];
    float y = (float)(int32_t)x * factor;
    y = y > 255 ? 255 : y < -256 ? -256 : y;
    const int moved = nearest(y) + l->offset[word];
    const int low = l->is_signed ? -128 : 0, high = l->is_signed ? 127 : 255;
    return moved < low ? low : moved > high ? high : moved;
}

static size_t place_of(const cube24_layer *l, size_t batch, size_t row, size_t n)
{
    return l->form == CUBE24_NCHW ? (batch * l->n + n) * l->m + row
                                  : (batch * l->m + row) * l->n + n;
}

/* --- a layer with its arrays ---------------------------------------------------------------- */

struct made {
    cube24_layer layer;
    struct exact x, weight, index;
    int32_t *bias, *offset;
    float *scale;
};

static struct exact random_bytes(uint64_t *state, size_t size, unsigned two_bits_below)
{
    uint8_t *bytes = allocate(size + 1);
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (uint8_t)random_bits(state);
        if (two_bits_below == 3) /* no pair of bits is 3 */
            bytes[i] = (uint8_t)(random_below(state, 3) | random_below(state, 3) << 2 |
                                 random_below(state, 3) << 4 | random_below(state, 3) << 6);
    }
    const struct exact e = exact_copy(bytes, size);
    free(bytes);
    return e;
}

enum weights { DENSE, ROWS_24, FRACTALS_24 };

/* Fill a layer whose sizes are set. words: 0, 1, or 2 for one a column. */
static struct made make(uint64_t *state, const cube24_layer *sizes, enum weights weights, int words)
{
    struct made made;
    memset(&made, 0, sizeof made);
    cube24_layer *l = &made.layer;
    *l = *sizes;
    const size_t pixels = l->form == CUBE24_ROWS ? l->m * l->k
                                                 : l->batch * l->channels * l->image.h * l->image.w;
    made.x = random_bytes(state, pixels, 0);
    size_t columns = l->n, steps = ceil_of(l->k, 8);
    if (weights == FRACTALS_24) {
        columns = ceil_of(l->n, 16) * 16;
        steps = ceil_of(l->k, 64) * 8;
    }
    made.weight = random_bytes(state, weights == DENSE ? l->n * l->k : columns * steps * 4, 0);
    if (weights != DENSE)
        made.index = random_bytes(state, columns * steps, 3);
    made.bias = allocate(l->n * sizeof *made.bias + 1);
    made.offset = allocate(l->n * sizeof *made.offset + 1);
    made.scale = allocate(l->n * sizeof *made.scale + 1);
    for (size_t n = 0; n < l->n; n++) {
        made.bias[n] = (int32_t)random_bits(state) / 4;
        made.offset[n] = (int32_t)random_below(state, 768) - 256;
        made.scale[n] = (float)random_below(state, 1000) / 1e6F;
    }
    l->x = exact_int8(made.x);
    l->weight = exact_int8(made.weight);
    l->index = made.index.data;
    l->zn = weights == FRACTALS_24;
    if (random_below(state, 2))
        l->bias = made.bias;
    l->words = words == 2 ? l->n : (size_t)words;
    l->scale = made.scale;
    l->offset = made.offset;
    return made;
}

static void discard(struct made *made)
{
    exact_free(made->x);
    exact_free(made->weight);
    exact_free(made->index);
    free(made->bias);
    free(made->offset);
    free(made->scale);
}

/* A call with scratch memory of exactly the size that it asks for, at an odd address. */
static int call(const cube24_layer *l, size_t row, size_t rows, size_t column, size_t columns,
                uint32_t flags)
{
    size_t bytes;
    CHECK_EQUAL(cube24_layer_scratch(l, &bytes), CUBE24_OK);
    struct guarded scratch = guarded_bytes(bytes, 0x77);
    const int status = cube24_layer_part(l, row, rows, column, columns, flags, scratch.data);
    CHECK(is_intact(scratch));
    guarded_free(scratch);
    return status;
}

/* What a part must hold, a result behind the other: rows by columns. */
static uint8_t *wanted_of(const cube24_layer *l, size_t row, size_t rows, size_t column,
                          size_t columns, uint32_t flags)
{
    uint8_t *wanted = allocate(rows * columns * 4 + 1), *to = wanted;
    for (size_t r = row; r < row + rows; r++)
        for (size_t n = column; n < column + columns; n++, to += 4) {
            const int32_t sum = sum_of(l, r / l->m, r % l->m, n, flags);
            memcpy(to, &sum, 4);
            if (l->words)
                *to = (uint8_t)byte_of(l, sum, n);
        }
    return wanted;
}

/* A part is right, and nothing else is written. */
static void check_part(const cube24_layer *given, size_t row, size_t rows, size_t column,
                       size_t columns, uint32_t flags)
{
    cube24_layer l = *given;
    const size_t size = l.words ? 1 : 4, count = l.batch * l.m * l.n;
    uint8_t *part = wanted_of(&l, row, rows, column, columns, flags);
    for (int fill = 0; fill < 2; fill++) {
        struct guarded wanted = guarded_words(count * size, FILLS[fill]);
        struct guarded got = guarded_words(count * size, FILLS[fill]);
        l.out = got.data;
        CHECK_EQUAL(call(&l, row, rows, column, columns, flags), CUBE24_OK);
        for (size_t i = 0; i < rows * columns; i++) {
            const size_t r = row + i / columns, n = column + i % columns;
            memcpy(wanted.data + place_of(&l, r / l.m, r % l.m, n) * size, part + 4 * i, size);
        }
        CHECK(holds(got, wanted.data));
        guarded_free(wanted);
        guarded_free(got);
    }
    free(part);
}

static void check_whole(const cube24_layer *l, uint32_t flags)
{
    check_part(l, 0, l->batch * l->m, 0, l->n, flags);
}

/* --- matrix multiplications ----------------------------------------------------------------- */

static cube24_layer rows_of(size_t m, size_t n, size_t k)
{
    cube24_layer l;
    memset(&l, 0, sizeof l);
    l.batch = 1;
    l.m = m;
    l.n = n;
    l.k = k;
    return l;
}

static void check_rows(size_t m, size_t n, size_t k, uint32_t flags)
{
    uint64_t state = m * 1000003 + n * 1009 + k;
    const cube24_layer sizes = rows_of(m, n, k);
    for (int weights = DENSE; weights <= FRACTALS_24; weights++)
        for (int words = 0; words < 3; words++) {
            struct made made = make(&state, &sizes, (enum weights)weights, words);
            made.layer.is_signed = words == 1;
            check_whole(&made.layer, flags);
            discard(&made);
        }
}

static void every_tail_of_rows(uint32_t flags)
{
    static const size_t ms[] = {1, 2, 3, 4, 5, 6, 7, 11, 80, 81}, ns[] = {1, 16, 17, 33, 49, 64, 70};
    static const size_t ks[] = {1, 2, 3, 4, 5, 7, 8, 9, 12, 20, 63, 64, 65, 72, 128};
    for (size_t m = 0; m < COUNT(ms); m++)
        for (size_t k = 0; k < COUNT(ks); k++)
            check_rows(ms[m], ns[(m + k) % COUNT(ns)], ks[k], flags);
    for (size_t n = 0; n < COUNT(ns); n++)
        check_rows(5, ns[n], 37, flags);
}

/* More rows than a chunk, more of k than is multiplied at once, and several blocks of columns. */
static void large_rows(uint32_t flags)
{
    check_rows(333, 130, 12, flags);
    check_rows(7, 65, 1100, flags);
    check_rows(170, 3, 2500, flags);
}

/* --- convolutions --------------------------------------------------------------------------- */

struct geometry {
    size_t batch, channels, h, w, n, kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w;
    size_t top, left, bottom, right;
};

static cube24_layer image_of(const struct geometry *g, int form)
{
    cube24_layer l;
    memset(&l, 0, sizeof l);
    const cube24_image image = {
        ceil_of(g->channels, 32), g->h, g->w, g->kernel_h, g->kernel_w, g->stride_h, g->stride_w,
        g->dilation_h, g->dilation_w, g->top, g->left, g->bottom, g->right,
    };
    size_t height = 0, width = 0;
    CHECK_EQUAL(cube24_image_output(&image, &height, &width), CUBE24_OK);
    l.form = form;
    l.batch = g->batch;
    l.channels = g->channels;
    l.image = image;
    l.m = height * width;
    l.n = g->n;
    l.k = image.c1 * g->kernel_h * g->kernel_w * 32;
    return l;
}

static const struct geometry GEOMETRIES[] = {
    {1, 3, 9, 10, 20, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},
    {2, 32, 5, 6, 17, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0},
    {1, 40, 4, 5, 66, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0},
    {2, 70, 7, 5, 9, 1, 1, 2, 3, 1, 1, 0, 0, 0, 0},
    {1, 36, 6, 6, 8, 1, 1, 1, 1, 1, 1, 2, 1, 0, 3},
    {2, 33, 8, 7, 5, 3, 2, 2, 1, 1, 2, 1, 0, 2, 1},
    {1, 64, 6, 9, 16, 2, 3, 1, 2, 2, 1, 3, 2, 0, 4},
    {1, 1, 20, 17, 3, 7, 7, 2, 2, 1, 1, 3, 3, 3, 3},
    {1, 8, 4, 4, 4, 3, 3, 4, 4, 1, 1, 9, 8, 7, 9}, /* windows of nothing but padding */
    {1, 17, 3, 40, 6, 2, 2, 1, 1, 1, 3, 0, 5, 1, 0},
    {3, 31, 5, 3, 2, 5, 3, 1, 1, 1, 1, 0, 0, 0, 0}, /* one position */
    {1, 4, 12, 11, 67, 5, 5, 1, 2, 2, 1, 2, 1, 3, 0},
    {2, 2, 6, 9, 30, 4, 4, 1, 1, 1, 1, 1, 2, 0, 3},
    {1, 5, 6, 9, 5, 2, 3, 1, 1, 1, 2, 1, 2, 0, 3},
    {1, 64, 9, 9, 66, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},
};

static void every_geometry(uint32_t flags)
{
    uint64_t state = 7;
    for (size_t i = 0; i < COUNT(GEOMETRIES); i++)
        for (int form = CUBE24_NCHW; form <= CUBE24_NHWC; form++)
            for (int weights = DENSE; weights <= FRACTALS_24; weights++) {
                cube24_layer sizes = image_of(&GEOMETRIES[i], form);
                const int words = (int)((i + (size_t)weights) % 3);
                for (int padded = 0; padded < 2; padded++) {
                    sizes.pad = padded ? (int)random_below(&state, 256) - 128 : 0;
                    struct made made = make(&state, &sizes, (enum weights)weights, words);
                    made.layer.is_signed = padded;
                    check_whole(&made.layer, flags);
                    discard(&made);
                }
            }
}

/* Every start and end of a few rows and blocks of columns. */
static void parts_are_what_the_whole_has(uint32_t flags)
{
    uint64_t state = 9;
    const cube24_layer images = image_of(&GEOMETRIES[5], CUBE24_NCHW);
    struct made made = make(&state, &images, ROWS_24, 0);
    const size_t rows = images.batch * images.m;
    for (size_t start = 0; start <= rows; start++)
        check_part(&made.layer, start, (rows - start < 1 + start % 9 ? rows - start : 1 + start % 9), 0, images.n, flags);
    discard(&made);
    const cube24_layer matrix = rows_of(5, 200, 24);
    made = make(&state, &matrix, FRACTALS_24, 1);
    for (size_t column = 0; column < 200; column += 64)
        for (size_t columns = 0; columns <= 200 - column; columns += 8)
            check_part(&made.layer, 1, 3, column, columns, flags);
    discard(&made);
}

/* --- requantisation ------------------------------------------------------------------------- */

/* Sums that are a bias alone: all that matter, on one row of nothing. */
static void check_requant(const int32_t *sums, size_t count, const cube24_layer *options,
                          float scale, int32_t offset, uint32_t flags)
{
    uint64_t state = 1;
    const cube24_layer sizes = rows_of(2, count, 4);
    struct made made = make(&state, &sizes, DENSE, 1);
    memset(made.weight.data, 0, count * 4);
    memcpy(made.bias, sums, count * sizeof *sums);
    made.scale[0] = scale;
    made.offset[0] = offset;
    made.layer.bias = made.bias;
    made.layer.shift = options->shift;
    made.layer.is_signed = options->is_signed;
    made.layer.relu = options->relu;
    made.layer.alpha = options->alpha;
    check_whole(&made.layer, flags);
    discard(&made);
}

static void every_way_to_requantise(uint32_t flags)
{
    int32_t sums[160];
    size_t count = 0;
    for (int32_t i = -40; i < 40; i++) /* ties, for a scale of a half */
        sums[count++] = i;
    for (int bit = 5; bit < 31; bit++) {
        sums[count++] = (int32_t)1 << bit;
        sums[count++] = -((int32_t)1 << bit) - bit % 3;
    }
    sums[count++] = INT32_MAX;
    sums[count++] = INT32_MIN;
    sums[count++] = 16777217; /* what fp32 does not hold */
    static const float scales[] = {0.5F, 1, 0.0F, -1.5F, 1e-7F, 3e38F, 1e-40F};
    static const int32_t offsets[] = {0, -256, -129, -1, 127, 128, 255, 256, 384, 511};
    for (size_t s = 0; s < COUNT(scales); s++)
        for (size_t o = 0; o < COUNT(offsets); o++)
            for (int how = 0; how < 12; how++) {
                cube24_layer options;
                memset(&options, 0, sizeof options);
                options.is_signed = how % 2;
                options.relu = how / 2 % 3 != 0;
                options.alpha = how / 2 % 3 == 2 ? -0.75F : 0;
                options.shift = how < 6 ? 0 : (int)(s + o) % 16 + 1;
                check_requant(sums, count, &options, scales[s], offsets[o], flags);
            }
}

/* --- what the index says -------------------------------------------------------------------- */

/* All bytes, of which many have an index of 3. */
static void every_index_byte(uint32_t flags)
{
    uint64_t state = 3;
    const cube24_layer sizes = rows_of(3, 256, 8);
    struct made made = make(&state, &sizes, ROWS_24, 0);
    for (size_t n = 0; n < 256; n++)
        made.index.data[n] = (uint8_t)n;
    check_whole(&made.layer, flags | CUBE24_INDEX3_NOTHING);
    check_whole(&made.layer, flags | CUBE24_INDEX3_NOTHING | CUBE24_PAIR20_TABLE);
    struct guarded out = guarded_words(3 * 256 * 4, FILLS[0]);
    made.layer.out = out.data;
    CHECK_EQUAL(call(&made.layer, 0, 3, 0, 256, flags), CUBE24_E_REFUSED);
    CHECK(is_intact(out));
    for (size_t n = 0; n < 256; n++) /* each alone */
        made.index.data[n] = 0;
    for (size_t byte = 0; byte < 256; byte++) {
        made.index.data[77] = (uint8_t)byte;
        const int bad = (byte & 3) == 3 || (byte & 12) == 12 || (byte & 48) == 48 || byte >= 192;
        CHECK_EQUAL(call(&made.layer, 0, 3, 64, 64, flags),
                    bad ? CUBE24_E_REFUSED : CUBE24_OK);
        CHECK_EQUAL(call(&made.layer, 0, 3, 128, 64, flags), CUBE24_OK); /* not in this part */
    }
    guarded_free(out);
    discard(&made);
}

/* An index of 3 behind n or k is nobody's; one in a step that is passed over is refused. */
static void an_index_of_3_counts_where_the_weight_is(uint32_t flags)
{
    uint64_t state = 4;
    const cube24_layer sizes = rows_of(2, 17, 68); /* of the second fractal, one group */
    struct made made = make(&state, &sizes, FRACTALS_24, 0);
    for (size_t n = 0; n < 32; n++)
        for (size_t byte = 0; byte < 16; byte++) {
            const size_t at = (byte / 8 * 2 + n / 16) * 128 + n % 16 * 8 + byte % 8;
            if (n >= 17 || byte > 8)
                made.index.data[at] = 0xff;
            else if (byte == 8)
                made.index.data[at] = (uint8_t)(made.index.data[at] | 0xf0);
        }
    check_whole(&made.layer, flags);
    discard(&made);

    const cube24_layer image = image_of(&GEOMETRIES[0], CUBE24_NCHW);
    made = make(&state, &image, ROWS_24, 0);
    made.index.data[3] = 0xc0; /* channels 28 to 31 of 3 */
    struct guarded out = guarded_words(image.m * image.n * 4, FILLS[0]);
    made.layer.out = out.data;
    CHECK_EQUAL(call(&made.layer, 0, image.m, 0, image.n, flags), CUBE24_E_REFUSED);
    guarded_free(out);
    check_whole(&made.layer, flags | CUBE24_INDEX3_NOTHING);
    discard(&made);
}

/* Modulo 2^32, which is what a unit that wraps computes. */
static void sums_wrap(uint32_t flags)
{
    uint64_t state = 5;
    const cube24_layer sizes = rows_of(6, 20, 100);
    for (int weights = DENSE; weights <= ROWS_24; weights++) {
        struct made made = make(&state, &sizes, (enum weights)weights, 0);
        for (size_t n = 0; n < 20; n++)
            made.bias[n] = n % 2 ? INT32_MAX - (int32_t)n : INT32_MIN + (int32_t)n;
        made.layer.bias = made.bias;
        check_whole(&made.layer, flags);
        discard(&made);
    }
}

/* The largest products there are. */
static void extremes(uint32_t flags)
{
    uint64_t state = 6;
    const cube24_layer sizes = rows_of(7, 18, 1040);
    for (int weights = DENSE; weights <= ROWS_24; weights++)
        for (int signs = 0; signs < 4; signs++) {
            struct made made = make(&state, &sizes, (enum weights)weights, 0);
            memset(made.x.data, signs & 1 ? 127 : 0x80, 7 * 1040);
            memset(made.weight.data, signs & 2 ? 127 : 0x80,
                   weights == DENSE ? 18 * 1040 : 18 * 520);
            check_whole(&made.layer, flags);
            discard(&made);
        }
}

/* --- what is refused ------------------------------------------------------------------------ */

static void check_status(const cube24_layer *l, uint32_t flags, int wanted)
{
    static uint8_t scratch[1 << 20];
    int32_t out[64];
    cube24_layer with = *l;
    if (with.out)
        with.out = out;
    memset(out, 0x5a, sizeof out);
    CHECK_EQUAL(cube24_layer_part(&with, 0, 1, 0, 1, flags, scratch), wanted);
    for (size_t i = 0; i < COUNT(out); i++)
        CHECK_EQUAL(out[i], 0x5a5a5a5a);
}

static void what_cannot_be_is_refused(uint32_t flags)
{
    uint64_t state = 8;
    int32_t out;
    size_t bytes;
    const cube24_layer sizes = rows_of(2, 3, 8);
    struct made made = make(&state, &sizes, ROWS_24, 1);
    made.layer.out = &out;
    const cube24_layer good = made.layer;
#define REFUSED(change, status)                                                                  \
    do {                                                                                         \
        cube24_layer l = good;                                                                   \
        change;                                                                                  \
        check_status(&l, flags, status);                                                         \
    } while (0)
    REFUSED(l.form = 3, CUBE24_E_ARGUMENT);
    REFUSED(l.form = -1, CUBE24_E_ARGUMENT);
    REFUSED(l.batch = 2, CUBE24_E_SIZE);
    REFUSED(l.words = 2, CUBE24_E_SIZE);
    REFUSED(l.m = SIZE_MAX / 4, CUBE24_E_SIZE);
    REFUSED(l.n = SIZE_MAX, CUBE24_E_SIZE);
    REFUSED(l.k = SIZE_MAX, CUBE24_E_SIZE);
    REFUSED(l.k = SIZE_MAX / 2, CUBE24_E_SIZE);
    REFUSED(l.x = NULL, CUBE24_E_ARGUMENT);
    REFUSED(l.weight = NULL, CUBE24_E_ARGUMENT);
    REFUSED(l.out = NULL, CUBE24_E_ARGUMENT);
    REFUSED(l.scale = NULL, CUBE24_E_ARGUMENT);
    REFUSED(l.offset = NULL, CUBE24_E_ARGUMENT);
    REFUSED(l.shift = 17, CUBE24_E_ARGUMENT);
    REFUSED(l.shift = -1, CUBE24_E_ARGUMENT);
    REFUSED(l.pad = 128, CUBE24_E_ARGUMENT);
    REFUSED(l.pad = -129, CUBE24_E_ARGUMENT);
    check_status(&good, flags | CUBE24_WRAP, CUBE24_E_ARGUMENT);
    check_status(&good, flags | CUBE24_STRICT, CUBE24_E_ARGUMENT);
    check_status(&good, 200, CUBE24_E_ARGUMENT);
    uint8_t scratch[64];
    CHECK_EQUAL(cube24_layer_part(NULL, 0, 0, 0, 0, flags, scratch), CUBE24_E_ARGUMENT);
    CHECK_EQUAL(cube24_layer_part(&good, 0, 1, 0, 1, flags, NULL), CUBE24_E_ARGUMENT);
    CHECK_EQUAL(cube24_layer_part(&good, 0, 3, 0, 1, flags, scratch), CUBE24_E_SIZE);
    CHECK_EQUAL(cube24_layer_part(&good, 3, 0, 0, 1, flags, scratch), CUBE24_E_SIZE);
    CHECK_EQUAL(cube24_layer_part(&good, 0, 1, 0, 4, flags, scratch), CUBE24_E_SIZE);
    CHECK_EQUAL(cube24_layer_part(&good, 0, 1, 1, 1, flags, scratch), CUBE24_E_SIZE);
    CHECK_EQUAL(cube24_layer_part(&good, 2, 0, 0, 3, flags, NULL), CUBE24_OK); /* nothing to do */
    CHECK_EQUAL(cube24_layer_part(&good, 0, 2, 0, 0, flags, NULL), CUBE24_OK);
    CHECK_EQUAL(cube24_layer_scratch(NULL, &bytes), CUBE24_E_ARGUMENT);
    CHECK_EQUAL(cube24_layer_scratch(&good, NULL), CUBE24_E_ARGUMENT);
    discard(&made);

    const cube24_layer image = image_of(&GEOMETRIES[0], CUBE24_NCHW);
    made = make(&state, &image, DENSE, 0);
    made.layer.out = &out;
    const cube24_layer convolution = made.layer;
#undef REFUSED
#define REFUSED(change)                                                                          \
    do {                                                                                         \
        cube24_layer l = convolution;                                                            \
        change;                                                                                  \
        check_status(&l, flags, CUBE24_E_SIZE);                                                  \
        CHECK_EQUAL(cube24_layer_scratch(&l, &bytes), CUBE24_E_SIZE);                            \
    } while (0)
    REFUSED(l.m++);
    REFUSED(l.k -= 32);
    REFUSED(l.channels = 0);
    REFUSED(l.channels = 33);
    REFUSED(l.image.kernel_h = 0);
    REFUSED(l.image.h = 40000);
    REFUSED(l.batch = SIZE_MAX / 100);
    discard(&made);
}

/* A sum of nothing is the bias; and of no rows or columns there is nothing. */
static void nothing_to_multiply(uint32_t flags)
{
    uint64_t state = 2;
    const cube24_layer sizes = rows_of(6, 70, 0);
    struct made made = make(&state, &sizes, DENSE, 0);
    made.layer.bias = made.bias;
    made.layer.x = NULL;
    made.layer.weight = NULL;
    check_whole(&made.layer, flags);
    discard(&made);
    const cube24_layer no_rows = rows_of(0, 70, 8), no_columns = rows_of(6, 0, 8);
    CHECK_EQUAL(call(&no_rows, 0, 0, 0, 70, flags), CUBE24_OK);
    CHECK_EQUAL(call(&no_columns, 0, 6, 0, 0, flags), CUBE24_OK);
}

int main(void)
{
    on_every_path(every_tail_of_rows);
    on_every_path(large_rows);
    on_every_path(every_geometry);
    on_every_path(parts_are_what_the_whole_has);
    on_every_path(every_way_to_requantise);
    on_every_path(every_index_byte);
    on_every_path(an_index_of_3_counts_where_the_weight_is);
    on_every_path(sums_wrap);
    on_every_path(extremes);
    on_every_path(what_cannot_be_is_refused);
    on_every_path(nothing_to_multiply);
    return check_report("test_layer");
}
