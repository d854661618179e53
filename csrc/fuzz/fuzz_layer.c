/* SPDX-License-Identifier: Apache-2.0
 * Fuzz target (libFuzzer): layers of any sizes, in two parts or by a team. The input chooses sizes
 * and options, and a seed of the numbers in the arrays. Each result is looked up again by plain loops
 * over the image, the dense and the index bytes, which share nothing with the library nor with the
 * tests. Run it with run.sh. */
#include "input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct drawn {
    cube24_layer layer;
    void *x, *weight, *index, *bias, *out;
    uint32_t flags;
};

static size_t ceil_of(size_t a, size_t b)
{
    return (a + b - 1) / b;
}

/* A buffer of numbers that look random, from a linear congruential generator. */
static void *numbers(uint64_t *seed, size_t size)
{
    uint8_t *bytes = buffer(size);
    for (size_t i = 0; i < size; i++) {
        *seed = *seed * 6364136223846793005U + 1442695040888963407U;
        bytes[i] = (uint8_t)(*seed >> 56);
    }
    return bytes;
}

/* --- a layer -------------------------------------------------------------------------------- */

static void take_matrix(struct input *in, cube24_layer *l)
{
    l->batch = 1;
    l->m = take(in, 80);
    l->k = take(in, 140);
}

/* 0 if there is no such image. */
static int take_image(struct input *in, cube24_layer *l)
{
    cube24_image *i = &l->image;
    size_t height, width;
    l->batch = take(in, 3);
    l->channels = 1 + take(in, 70);
    i->c1 = ceil_of(l->channels, 32);
    i->h = 1 + take(in, 12);
    i->w = 1 + take(in, 12);
    i->kernel_h = 1 + take(in, 4);
    i->kernel_w = 1 + take(in, 4);
    i->stride_h = 1 + take(in, 3);
    i->stride_w = 1 + take(in, 3);
    i->dilation_h = 1 + take(in, 3);
    i->dilation_w = 1 + take(in, 3);
    i->pad_top = take(in, 5);
    i->pad_left = take(in, 5);
    i->pad_bottom = take(in, 5);
    i->pad_right = take(in, 5);
    l->pad = (int)take(in, 256) - 128;
    if (cube24_image_output(i, &height, &width) != CUBE24_OK)
        return 0;
    l->m = height * width;
    l->k = i->c1 * i->kernel_h * i->kernel_w * 32;
    return 1;
}

static int take_layer(struct input *in, struct drawn *d)
{
    cube24_layer *l = &d->layer;
    memset(d, 0, sizeof *d);
    d->flags = take_path(in);
    l->form = (int)take(in, 3);
    l->n = take(in, 140);
    if (l->form == CUBE24_ROWS)
        take_matrix(in, l);
    else if (!take_image(in, l))
        return 0;
    const size_t kind = take(in, 4), has_bias = take(in, 2);
    uint64_t seed = take(in, 256);
    size_t columns = l->n, groups = 2 * ceil_of(l->k, 8);
    if (kind == 3) {
        columns = ceil_of(l->n, 16) * 16;
        groups = 16 * ceil_of(l->k, 64);
    }
    if (take(in, 2))
        d->flags |= CUBE24_PAIR20_TABLE;
    if (kind != 0) {
        d->index = numbers(&seed, columns * groups / 2);
        if (take(in, 4))
            mend_index(d->index, columns * groups / 2);
        else if (take(in, 2))
            d->flags |= CUBE24_INDEX3_NOTHING;
    }
    d->weight = numbers(&seed, kind == 0 ? l->n * l->k : columns * groups * 2);
    d->x = numbers(&seed, l->form == CUBE24_ROWS
                              ? l->m * l->k
                              : l->batch * l->channels * l->image.h * l->image.w);
    if (has_bias)
        d->bias = numbers(&seed, l->n * 4);
    d->out = buffer(l->batch * l->m * l->n * 4);
    l->zn = kind == 3;
    l->x = d->x;
    l->weight = d->weight;
    l->index = d->index;
    l->bias = d->bias;
    l->out = d->out;
    return 1;
}

static void drop(struct drawn *d)
{
    free(d->x);
    free(d->weight);
    free(d->index);
    free(d->bias);
    free(d->out);
}

/* --- one result ----------------------------------------------------------------------------- */

static int activation(const cube24_layer *l, size_t batch, size_t row, size_t k)
{
    if (l->form == CUBE24_ROWS)
        return k < l->k ? l->x[row * l->k + k] : 0;
    const cube24_image *i = &l->image;
    const size_t span = (i->kernel_w - 1) * i->dilation_w + 1;
    const size_t width = (i->w + i->pad_left + i->pad_right - span) / i->stride_w + 1;
    const size_t taps = i->kernel_h * i->kernel_w, tap = k / 32 % taps;
    const size_t channel = k / 32 / taps * 32 + k % 32;
    const size_t y = row / width * i->stride_h + tap / i->kernel_w * i->dilation_h;
    const size_t z = row % width * i->stride_w + tap % i->kernel_w * i->dilation_w;
    if (k >= l->k)
        return 0;
    if (y < i->pad_top || y - i->pad_top >= i->h || z < i->pad_left || z - i->pad_left >= i->w)
        return l->pad;
    if (channel >= l->channels)
        return 0;
    const size_t at_y = y - i->pad_top, at_z = z - i->pad_left;
    return l->form == CUBE24_NCHW
               ? l->x[((batch * l->channels + channel) * i->h + at_y) * i->w + at_z]
               : l->x[((batch * i->h + at_y) * i->w + at_z) * l->channels + channel];
}

/* 0 if the index of a slot is 3 and that is refused. */
static int add_slot(const struct drawn *d, size_t batch, size_t row, size_t n, size_t group,
                    unsigned slot, uint32_t *sum)
{
    const cube24_layer *l = &d->layer;
    size_t first = (n * ceil_of(l->k, 8) * 2 + group) * 2;
    if (l->zn)
        first = ((group / 16 * ceil_of(l->n, 16) + n / 16) * 16 + n % 16) * 32 + group % 16 * 2;
    const unsigned pair = l->index[first / 4] >> (first / 2 % 2 * 4) & 15;
    const unsigned bits = pair >> (2 * slot) & 3;
    size_t element = bits + slot;
    if (bits == 3)
        return (d->flags & CUBE24_INDEX3_NOTHING) != 0;
    if (pair == 2 && slot == 1 && (d->flags & CUBE24_PAIR20_TABLE))
        element = 2;
    *sum += (uint32_t)(activation(l, batch, row, 4 * group + element) *
                       l->weight[first + slot]);
    return 1;
}

static int sum_of(const struct drawn *d, size_t batch, size_t row, size_t n, uint32_t *sum)
{
    const cube24_layer *l = &d->layer;
    *sum = l->bias ? (uint32_t)l->bias[n] : 0;
    if (!l->index) {
        for (size_t k = 0; k < l->k; k++)
            *sum += (uint32_t)(activation(l, batch, row, k) * l->weight[n * l->k + k]);
        return 1;
    }
    for (size_t group = 0; group < ceil_of(l->k, 4); group++)
        if (!add_slot(d, batch, row, n, group, 0, sum) ||
            !add_slot(d, batch, row, n, group, 1, sum))
            return 0;
    return 1;
}

/* --- the laws ------------------------------------------------------------------------------- */

static int run(const struct drawn *d, size_t bytes, size_t parts)
{
    const cube24_layer *l = &d->layer;
    const size_t rows = l->batch * l->m, some = rows * parts / 3;
    uint8_t *scratch = buffer(2 * bytes);
    cube24_team team;
    memset(&team, 0, sizeof team);
    int status;
    if (parts == 0) {
        status = cube24_team_layer(&team, l, 2, d->flags, scratch);
    } else {
        status = cube24_layer_part(l, 0, some, 0, l->n, d->flags, scratch);
        const int second =
            cube24_layer_part(l, some, rows - some, 0, l->n, d->flags, scratch + bytes);
        status = status != CUBE24_OK ? status : second;
    }
    free(scratch);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    struct drawn d;
    size_t bytes;
    const size_t parts = take(&in, 3);
    if (!take_layer(&in, &d)) {
        drop(&d);
        return 0;
    }
    const cube24_layer *l = &d.layer;
    LAW(cube24_layer_scratch(l, &bytes) == CUBE24_OK);
    const int status = run(&d, bytes, parts);
    LAW(status == CUBE24_OK || status == CUBE24_E_REFUSED);
    int refused = 0;
    for (size_t batch = 0; batch < l->batch; batch++)
        for (size_t row = 0; row < l->m; row++)
            for (size_t n = 0; n < l->n; n++) {
                const size_t place = l->form == CUBE24_NCHW ? (batch * l->n + n) * l->m + row
                                                            : (batch * l->m + row) * l->n + n;
                uint32_t sum, got;
                if (!sum_of(&d, batch, row, n, &sum)) {
                    refused = 1;
                } else if (status == CUBE24_OK) {
                    memcpy(&got, (const uint8_t *)l->out + 4 * place, sizeof got);
                    LAW(got == sum);
                }
            }
    LAW(refused == (status == CUBE24_E_REFUSED));
    drop(&d);
    return 0;
}
