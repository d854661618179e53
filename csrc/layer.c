/* SPDX-License-Identifier: Apache-2.0
 * Whole layers at full speed: img2col, multiplication and requantisation of one chunk of rows after
 * the other, each in memory that stays in the caches. The weights of a block of columns are packed
 * anew for every chunk: it costs about as much as five rows of results, and nothing has to be kept.
 */
#include "layer.h"

#include <string.h>

#include "datapath.h"
#include "format.h"
#include "fractal.h"
#include "paths.h"
#include "requant.h"
#include "sizes.h"

enum {
    CHUNK_BYTES = 384 << 10, /* of activations, about */
    LEAST_ROWS = 192,        /* of a chunk: packing must not cost too much */
    SUB_ROWS = 64,           /* whose sums are worked on at a time: bytes of a cache line */
    STEPS_AT_ONCE = 128,       /* packed steps that stay near while all rows pass */
    AHEAD = 4,                 /* tiles of weights that are asked for before they are packed */
    SLACK = 64,              /* copies of img2col may run over */
    LINE = 64
};

/* What follows from the sizes of a layer. Bytes of activations count for one byte each; the path
 * has one or two. */
struct plan {
    size_t k_packed;     /* elements of a row of activations as it is multiplied */
    size_t steps;        /* the same in steps */
    size_t source_steps; /* of k, as the weight has them */
    size_t whole_steps;  /* of them, those before the last block of channels, if it is not full */
    size_t tap_steps;    /* steps of 4 that such a block has channels for */
    size_t taps;
    size_t width;      /* channels of one pixel in one block of the image */
    size_t pixel;      /* channels of one pixel in all blocks */
    size_t chunk_rows; /* rows that are multiplied at a time */
    int direct;        /* the image is the matrix that img2col would give */
    int narrow;        /* few channels: of each tap one group is multiplied, two taps in a step */
};

static size_t round_up(size_t value, size_t unit)
{
    return ceil_div(value, unit) * unit;
}

/* --- what is refused ------------------------------------------------------------------------ */

static int geometry_status(const cube24_layer *layer)
{
    const cube24_image *image = &layer->image;
    size_t height, width;
    const int status = cube24_image_output(image, &height, &width);
    if (status != CUBE24_OK)
        return status;
    if (layer->m != height * width || layer->channels == 0 ||
        ceil_div(layer->channels, C0) != image->c1 ||
        layer->k != image->c1 * image->kernel_h * image->kernel_w * C0)
        return CUBE24_E_SIZE;
    return CUBE24_OK;
}

static int sizes_status(const cube24_layer *layer)
{
    if (layer->form < CUBE24_ROWS || layer->form > CUBE24_NHWC)
        return CUBE24_E_ARGUMENT;
    if (layer->form != CUBE24_ROWS) {
        const int status = geometry_status(layer);
        if (status != CUBE24_OK)
            return status;
    } else if (layer->batch != 1) {
        return CUBE24_E_SIZE;
    }
    if (!fits(layer->n, 2) || !fits(layer->k, 2)) /* so that they can be rounded up */
        return CUBE24_E_SIZE;
    size_t rows = 4, pixels = layer->batch, scratch = 2 * LEAST_ROWS + 2 * LAYER_COLUMNS;
    if (!grow(&rows, layer->batch) || !grow(&rows, layer->m) || !grow(&rows, layer->n + N0) ||
        !fits(layer->n + N0, layer->k + SPARSE_K) || !fits(layer->m, layer->k) ||
        !grow(&scratch, layer->k + SPARSE_K))
        return CUBE24_E_SIZE;
    if (layer->form != CUBE24_ROWS &&
        (!grow(&pixels, layer->image.h) || !grow(&pixels, layer->image.w) ||
         !grow(&pixels, 2 * layer->image.c1 * C0)))
        return CUBE24_E_SIZE;
    return layer->words <= 1 || layer->words == layer->n ? CUBE24_OK : CUBE24_E_SIZE;
}

/* --- the plan ------------------------------------------------------------------------------- */

static void plan_image(const cube24_layer *layer, struct plan *plan)
{
    const cube24_image *image = &layer->image;
    const size_t whole = layer->channels / C0 * C0, rest = layer->channels - whole;
    plan->taps = image->kernel_h * image->kernel_w;
    /* Channels that are not there hold zero in the image, whatever their weights are, so steps of
     * nothing else are passed over; but in the padding of the image they hold what it holds. */
    plan->pixel = whole + (layer->pad != 0 && rest ? C0 : round_up(rest, LAYER_STEP));
    plan->narrow = plan->pixel == LAYER_STEP && rest <= GROUP && plan->taps > 1;
    if (plan->narrow)
        plan->pixel = GROUP;
    plan->tap_steps = (plan->pixel - whole) / LAYER_STEP;
    plan->whole_steps = plan->taps * whole / LAYER_STEP;
    /* With one tap, the order of k is that of the channels, and pixels stand whole. */
    plan->width = plan->taps == 1 ? plan->pixel : C0;
    plan->k_packed = round_up(plan->taps * plan->pixel, LAYER_STEP);
    plan->direct = plan->taps == 1 && image->stride_h == 1 && image->stride_w == 1 &&
                   image->pad_top == 0 && image->pad_bottom == 0 && image->pad_left == 0 &&
                   image->pad_right == 0;
}

static struct plan plan_of(const cube24_layer *layer)
{
    struct plan plan;
    memset(&plan, 0, sizeof plan);
    plan.source_steps = ceil_div(layer->k, LAYER_STEP);
    if (layer->form == CUBE24_ROWS) {
        plan.k_packed = plan.source_steps * LAYER_STEP;
        plan.whole_steps = plan.source_steps;
    } else {
        plan_image(layer, &plan);
    }
    plan.steps = plan.k_packed / LAYER_STEP;
    const size_t rows = plan.k_packed ? CHUNK_BYTES / plan.k_packed / SUB_ROWS * SUB_ROWS : 0;
    plan.chunk_rows = least(rows < LEAST_ROWS ? LEAST_ROWS : rows, layer->m);
    return plan;
}

/* The parts of the scratch memory, one behind the other. */
struct memory {
    uint8_t *packed; /* a block of columns */
    uint8_t *image;  /* of one batch, as the kernels take activations */
    uint8_t *rows;   /* a chunk of what img2col gives */
    int32_t *sums;   /* SUB_ROWS x LAYER_COLUMNS */
    uint8_t *bytes;  /* likewise, requantised */
};

/* Give each part its place behind `base`, for activations of so many bytes; gives the end. */
static size_t lay_out(const cube24_layer *layer, const struct plan *plan, size_t activation,
                      uint8_t *base, struct memory *memory)
{
    size_t at = 0;
    const size_t pixels = layer->form == CUBE24_ROWS ? 0 : layer->image.h * layer->image.w;
    const size_t sizes[5] = {
        plan->steps * PACKED_STEP * activation,
        pixels * plan->pixel * activation,
        plan->direct ? 0 : plan->chunk_rows * plan->k_packed * activation,
        SUB_ROWS * LAYER_COLUMNS * sizeof(int32_t),
        SUB_ROWS * LAYER_COLUMNS,
    };
    size_t places[5];
    for (size_t i = 0; i < 5; i++) {
        places[i] = at;
        at += round_up(sizes[i] + SLACK, LINE);
    }
    if (memory) {
        memory->packed = base + places[0];
        memory->image = base + places[1];
        memory->rows = base + places[2];
        memory->sums = (int32_t *)(void *)(base + places[3]);
        memory->bytes = base + places[4];
    }
    return at;
}

int cube24_layer_scratch(const cube24_layer *layer, size_t *bytes)
{
    if (!layer || !bytes)
        return CUBE24_E_ARGUMENT;
    const int status = sizes_status(layer);
    if (status != CUBE24_OK)
        return status;
    const struct plan plan = plan_of(layer);
    *bytes = lay_out(layer, &plan, 2, NULL, NULL) + LINE;
    return CUBE24_OK;
}

/* --- activations ---------------------------------------------------------------------------- */

/* A part that is being computed. */
struct work {
    const cube24_layer *layer;
    const struct cube24_layer_kernels *kernels;
    struct plan plan;
    struct memory memory;
    uint32_t flags;
    size_t column_start, column_end;
    size_t y_start, y_end; /* the rows of the image that are in memory */
};

/* Take activations into the form of the kernels. */
static void take(const struct work *work, const int8_t *from, size_t count, uint8_t *to)
{
    if (work->kernels->activation == 1) {
        const uint8_t flip = work->kernels->flip ? 0x80 : 0;
        if (count == C0) { /* a block of channels: a loop that a compiler unrolls */
            for (size_t i = 0; i < C0; i++)
                to[i] = (uint8_t)((uint8_t)from[i] ^ flip);
            return;
        }
        for (size_t i = 0; i < count; i++)
            to[i] = (uint8_t)((uint8_t)from[i] ^ flip);
    } else {
        for (size_t i = 0; i < count; i++) {
            const int16_t wide = from[i];
            memcpy(to + 2 * i, &wide, sizeof wide);
        }
    }
}

static void fill(const struct work *work, int value, size_t count, uint8_t *to)
{
    if (work->kernels->activation == 1) {
        memset(to, work->kernels->flip ? value ^ 0x80 : value, count);
    } else {
        const int16_t wide = (int16_t)value;
        for (size_t i = 0; i < count; i++)
            memcpy(to + 2 * i, &wide, sizeof wide);
    }
}

/* Rows of a matrix, filled up to whole steps. */
static void take_rows(const struct work *work, const int8_t *from, size_t rows, size_t k,
                      size_t k_packed, uint8_t *to)
{
    const size_t bytes = k_packed * work->kernels->activation;
    if (k == k_packed) {
        take(work, from, rows * k, to);
        return;
    }
    for (size_t row = 0; row < rows; row++, to += bytes) {
        take(work, from + row * k, k, to);
        fill(work, 0, k_packed - k, to + k * work->kernels->activation);
    }
}

/* One block of channels of `pixels` neighbouring pixels: planes side by side. */
static void take_planes(const struct work *work, const int8_t *from, size_t plane,
                        size_t channels, size_t pixels, size_t width, uint8_t *to)
{
    const struct cube24_layer_kernels *kernels = work->kernels;
    if (kernels->activation == 1) {
        kernels->transpose8((const uint8_t *)from, plane, channels, pixels, to, width, width,
                            kernels->flip ? 0x80 : 0);
        return;
    }
    enum { PIXELS = 32 };
    uint8_t turned[PIXELS * C0];
    for (size_t pixel = 0; pixel < pixels; pixel += PIXELS) {
        const size_t count = least(PIXELS, pixels - pixel);
        for (size_t channel = 0; channel < width; channel += C0) {
            const size_t wide = least(C0, width - channel);
            kernels->transpose8((const uint8_t *)from + channel * plane + pixel, plane,
                                channel < channels ? least(C0, channels - channel) : 0, count,
                                turned, C0, wide, 0);
            for (size_t i = 0; i < count; i++)
                take(work, (const int8_t *)turned + i * C0, wide,
                     to + ((pixel + i) * width + channel) * 2);
        }
    }
}

/* Bring rows y_start to y_end of an image into memory: for each block of `width` channels, the
 * pixels one after the other. */
static void take_image(struct work *work, size_t batch, size_t y_start, size_t y_end)
{
    const cube24_layer *layer = work->layer;
    const size_t h = layer->image.h, w = layer->image.w, channels = layer->channels;
    const size_t pixels = (y_end - y_start) * w;
    uint8_t *to = work->memory.image;
    for (size_t start = 0; start < work->plan.pixel; start += work->plan.width) {
        const size_t width = least(work->plan.width, work->plan.pixel - start);
        const size_t there = least(width, channels - start);
        if (layer->form == CUBE24_NCHW) {
            const int8_t *from = layer->x + ((batch * channels + start) * h + y_start) * w;
            take_planes(work, from, h * w, there, pixels, width, to);
        } else {
            const int8_t *from = layer->x + (batch * h + y_start) * w * channels + start;
            if (there == channels)
                take_rows(work, from, pixels, there, width, to);
            else
                for (size_t i = 0; i < pixels; i++)
                    take_rows(work, from + i * channels, 1, there, width,
                              to + i * width * work->kernels->activation);
        }
        to += pixels * width * work->kernels->activation;
    }
    work->y_start = y_start;
    work->y_end = y_end;
}

/* Rows of the image that the output rows first to last read; empty if they read only padding. */
static void rows_read(const cube24_image *image, size_t first, size_t last, size_t *y_start,
                      size_t *y_end)
{
    const size_t above = first * image->stride_h;
    const size_t below = last * image->stride_h + (image->kernel_h - 1) * image->dilation_h + 1;
    *y_start = above > image->pad_top ? least(above - image->pad_top, image->h) : 0;
    *y_end = below > image->pad_top ? least(below - image->pad_top, image->h) : 0;
    if (*y_end < *y_start)
        *y_end = *y_start;
}

/* Copy in pieces of fixed size, which may run over the end by less than SLACK. */
static uint8_t *copy(uint8_t *to, const uint8_t *from, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 32)
        memcpy(to + i, from + i, 32);
    return to + bytes;
}

/* One row of img2col: the window whose first pixel is (y, z) of the padded image. */
static uint8_t *gather(const struct work *work, size_t y, size_t z, uint8_t *to)
{
    const cube24_image *image = &work->layer->image;
    const size_t size = work->kernels->activation;
    const size_t pixels = (work->y_end - work->y_start) * image->w;
    const int inside = image->dilation_w == 1 && z >= image->pad_left &&
                       z - image->pad_left + image->kernel_w <= image->w;
    const uint8_t *plane = work->memory.image;
    for (size_t start = 0; start < work->plan.pixel; start += work->plan.width) {
        const size_t bytes = least(work->plan.width, work->plan.pixel - start) * size;
        for (size_t i = 0; i < image->kernel_h; i++) {
            const size_t row = y + i * image->dilation_h - image->pad_top;
            if (y + i * image->dilation_h < image->pad_top || row >= image->h) {
                fill(work, work->layer->pad, image->kernel_w * bytes / size, to);
                to += image->kernel_w * bytes;
                continue;
            }
            const uint8_t *line = plane + (row - work->y_start) * image->w * bytes;
            if (inside) {
                to = copy(to, line + (z - image->pad_left) * bytes, image->kernel_w * bytes);
                continue;
            }
            for (size_t j = 0; j < image->kernel_w; j++) {
                const size_t column = z + j * image->dilation_w - image->pad_left;
                if (z + j * image->dilation_w < image->pad_left || column >= image->w) {
                    fill(work, work->layer->pad, bytes / size, to);
                    to += bytes;
                } else {
                    to = copy(to, line + column * bytes, bytes);
                }
            }
        }
        plane += pixels * bytes;
    }
    return to;
}

/* The rows of activations of a chunk, as they are multiplied. */
static const uint8_t *rows_of(const struct work *work, size_t row, size_t rows)
{
    const cube24_layer *layer = work->layer;
    const cube24_image *image = &layer->image;
    if (layer->k == 0)
        return work->memory.rows;
    if (layer->form == CUBE24_ROWS) {
        take_rows(work, layer->x + row * layer->k, rows, layer->k, work->plan.k_packed,
                  work->memory.rows);
        return work->memory.rows;
    }
    if (work->plan.direct)
        return work->memory.image + (row - work->y_start * image->w) * work->plan.k_packed *
                                        work->kernels->activation;
    size_t height, width;
    if (cube24_image_output(image, &height, &width) != CUBE24_OK)
        return NULL; /* it was asked before */
    const size_t filled = work->plan.k_packed - work->plan.taps * work->plan.pixel;
    size_t y = row / width, z = row % width;
    uint8_t *to = work->memory.rows;
    for (size_t i = 0; i < rows; i++) {
        to = gather(work, y * image->stride_h, z * image->stride_w, to);
        if (filled)
            fill(work, 0, filled, to);
        to += filled * work->kernels->activation;
        if (++z == width) {
            z = 0;
            y++;
        }
    }
    return work->memory.rows;
}

/* --- weights -------------------------------------------------------------------------------- */

/* A tile that does not fill its place, or whose bytes beyond n and k mean nothing, as one that
 * does: the rest is zero. */
struct staged {
    int8_t weight[LAYER_VECTOR * LAYER_TILE * LAYER_STEP];
    uint8_t index[LAYER_VECTOR * LAYER_TILE];
};

static void stage(struct cube24_weight_tile *tile, size_t columns, size_t k, struct staged *staged)
{
    memset(staged, 0, sizeof *staged);
    const size_t row = LAYER_TILE * LAYER_STEP;
    const size_t groups = ceil_div(k, GROUP), bytes = tile->index ? 2 * groups : k;
    for (size_t column = 0; column < columns; column++) {
        memcpy(staged->weight + column * row, tile->weight + column * tile->weight_row, bytes);
        if (!tile->index)
            continue;
        uint8_t *index = staged->index + column * LAYER_TILE;
        memcpy(index, tile->index + column * tile->index_row, ceil_div(groups, 2));
        if (groups % 2)
            index[groups / 2] &= 0xf;
    }
    tile->weight = staged->weight;
    tile->weight_row = row;
    if (tile->index) {
        tile->index = staged->index;
        tile->index_row = LAYER_TILE;
    }
}

/* The tile of 16 columns and 64 of k, as its bytes stand. */
static struct cube24_weight_tile tile_at(const struct work *work, size_t column, size_t k)
{
    const cube24_layer *layer = work->layer;
    struct cube24_weight_tile tile;
    memset(&tile, 0, sizeof tile);
    tile.options = work->flags & CUBE24_PAIR20_TABLE;
    if (!layer->index) {
        tile.weight_row = layer->k;
        tile.weight = layer->weight + column * layer->k + k;
    } else if (layer->zn) {
        const size_t fractal = k / SPARSE_K * ceil_div(layer->n, N0) + column / N0;
        tile.weight_row = K0;
        tile.weight = layer->weight + fractal * FRACTAL;
        tile.index_row = INDEX_K0;
        tile.index = layer->index + fractal * INDEX_FRACTAL;
    } else {
        tile.weight_row = work->plan.source_steps * LAYER_STEP / 2;
        tile.weight = layer->weight + column * tile.weight_row + k / 2;
        tile.index_row = work->plan.source_steps;
        tile.index = layer->index + column * tile.index_row + k / LAYER_STEP;
    }
    return tile;
}

/* Ask for the bytes of a tile that is packed soon: they stand in 16 places, more than a processor
 * foresees by itself. */
static void prefetch(const struct cube24_weight_tile *tile)
{
#ifdef __GNUC__
    for (size_t column = 0; column < LAYER_VECTOR; column++)
        __builtin_prefetch(tile->weight + column * tile->weight_row);
#else
    (void)tile;
#endif
}

/* Which steps of a tile are multiplied, and how many they are. */
static unsigned kept_steps(const struct plan *plan, size_t step, size_t *count)
{
    const size_t tap = C0 / LAYER_STEP;
    unsigned kept = 0;
    *count = 0;
    for (size_t s = step; s < least(step + LAYER_TILE, plan->source_steps); s++)
        if (s < plan->whole_steps || (s - plan->whole_steps) % tap < plan->tap_steps) {
            kept |= 1U << (s - step);
            ++*count;
        }
    return kept;
}

/* A tile of a narrow layer: of 16 taps from `tap` on the first group, one behind the other. Gives 1
 * if there is an index of 3 in the other groups. */
static int stage_taps(const struct work *work, size_t column, size_t columns, size_t tap,
                      struct cube24_weight_tile *tile, struct staged *staged)
{
    int found = 0;
    memset(staged, 0, sizeof *staged);
    for (size_t g = 0; g < least(2 * LAYER_TILE, work->plan.taps - tap); g++) {
        const size_t k = (tap + g) * C0, inside = k % SPARSE_K;
        *tile = tile_at(work, column, k - inside);
        for (size_t i = 0; i < columns; i++) {
            const int8_t *weight = tile->weight + i * tile->weight_row;
            if (!tile->index) {
                memcpy(staged->weight + (i * 2 * LAYER_TILE + g) * GROUP, weight + inside, GROUP);
                continue;
            }
            const uint8_t *index = tile->index + i * tile->index_row + inside / LAYER_STEP;
            memcpy(staged->weight + i * LAYER_TILE * LAYER_STEP + 2 * g, weight + inside / 2, 2);
            staged->index[i * LAYER_TILE + g / 2] =
                (uint8_t)(staged->index[i * LAYER_TILE + g / 2] | (index[0] & 0xf) << g % 2 * 4);
            for (size_t b = 0; b < C0 / LAYER_STEP; b++)
                found |= index[b] & index[b] >> 1 & (b == 0 ? 0x50 : 0x55);
        }
    }
    tile->weight = staged->weight;
    tile->weight_row = LAYER_TILE * LAYER_STEP;
    tile->index = tile->index ? staged->index : NULL;
    tile->index_row = LAYER_TILE;
    return found != 0;
}

/* A block of columns of a narrow layer; gives 1 if there is an index of 3. */
static int pack_narrow(const struct work *work, size_t column, size_t columns, int32_t *start)
{
    const size_t step_bytes = PACKED_STEP * work->kernels->activation;
    int found = 0;
    for (size_t vector = 0; vector * LAYER_VECTOR < columns; vector++) {
        const size_t first = column + vector * LAYER_VECTOR;
        for (size_t step = 0; step < work->plan.steps; step += LAYER_TILE) {
            struct cube24_weight_tile tile;
            struct staged staged;
            found |= stage_taps(work, first, least(LAYER_VECTOR, work->layer->n - first), 2 * step,
                                &tile, &staged);
            tile.kept = (1U << least(LAYER_TILE, work->plan.steps - step)) - 1;
            found |= work->kernels->pack(&tile, vector, work->memory.packed + step * step_bytes,
                                         start + vector * LAYER_VECTOR);
        }
    }
    return found;
}

/* Pack the block of columns from `column` on; 0 if an index of 3 is refused. */
static int pack_block(const struct work *work, size_t column, size_t columns, int32_t *start)
{
    const cube24_layer *layer = work->layer;
    const size_t step_bytes = PACKED_STEP * work->kernels->activation;
    int found = work->plan.narrow ? pack_narrow(work, column, columns, start) : 0;
    for (size_t vector = 0; !work->plan.narrow && vector * LAYER_VECTOR < columns; vector++) {
        const size_t first = column + vector * LAYER_VECTOR;
        const size_t there = least(LAYER_VECTOR, layer->n - first);
        uint8_t *packed = work->memory.packed;
        for (size_t k = 0; k < layer->k; k += SPARSE_K) {
            struct cube24_weight_tile tile = tile_at(work, first, k);
            struct staged staged;
            if (there == LAYER_VECTOR && layer->k - k > AHEAD * SPARSE_K) {
                const struct cube24_weight_tile next = tile_at(work, first, k + AHEAD * SPARSE_K);
                prefetch(&next);
            }
            if (there < LAYER_VECTOR || layer->k - k < SPARSE_K)
                stage(&tile, there, least(SPARSE_K, layer->k - k), &staged);
            size_t count;
            tile.kept = kept_steps(&work->plan, k / LAYER_STEP, &count);
            found |= work->kernels->pack(&tile, vector, packed, start + vector * LAYER_VECTOR);
            packed += count * step_bytes;
        }
    }
    return !found || work->flags & CUBE24_INDEX3_NOTHING;
}

/* --- results -------------------------------------------------------------------------------- */

/* How one column becomes bytes: a scaled sum is clamped to -256..255, the offset is added, and the
 * result saturates. Both at once, in front of the offset. */
static void requant_column(const cube24_layer *layer, size_t word, size_t column,
                           struct cube24_requant_columns *how)
{
    const int32_t offset = layer->offset[word];
    const int32_t least_result = layer->is_signed ? INT8_MIN : 0;
    const int32_t most_result = layer->is_signed ? INT8_MAX : UINT8_MAX;
    int32_t low = least_result - offset, high = most_result - offset;
    if (low > SCALED_MOST) /* whatever is added to, the result is the least */
        high = low;
    else if (high < SCALED_LEAST)
        low = high;
    else {
        low = low < SCALED_LEAST ? SCALED_LEAST : low;
        high = high > SCALED_MOST ? SCALED_MOST : high;
    }
    how->scale[column] = layer->scale[word];
    how->low[column] = (float)low;
    how->high[column] = (float)high;
    how->offset[column] = (int16_t)offset;
}

static void requant_of(const cube24_layer *layer, size_t column, size_t columns,
                       struct cube24_requant_columns *how)
{
    memset(how, 0, sizeof *how);
    how->shift = layer->shift;
    how->is_signed = layer->is_signed;
    how->relu = layer->relu;
    how->alpha = layer->alpha;
    for (size_t i = 0; i < columns; i++)
        requant_column(layer, layer->words == 1 ? 0 : column + i, i, how);
}

/* Where the result of (row, column) stands. */
static size_t place_of(const cube24_layer *layer, size_t batch, size_t row, size_t column)
{
    return layer->form == CUBE24_NCHW ? (batch * layer->n + column) * layer->m + row
                                      : (batch * layer->m + row) * layer->n + column;
}

static void put_sums(const struct work *work, size_t place, size_t rows, size_t columns)
{
    const cube24_layer *layer = work->layer;
    int32_t *out = (int32_t *)layer->out + place;
    if (layer->form == CUBE24_NCHW) {
        work->kernels->transpose32(work->memory.sums, LAYER_COLUMNS, rows, columns, out, layer->m);
        return;
    }
    for (size_t row = 0; row < rows; row++)
        memcpy(out + row * layer->n, work->memory.sums + row * LAYER_COLUMNS,
               columns * sizeof *out);
}

static void put_bytes(const struct work *work, const struct cube24_requant_columns *how,
                      size_t place, size_t rows, size_t columns)
{
    const cube24_layer *layer = work->layer;
    uint8_t *out = (uint8_t *)layer->out + place, *bytes = work->memory.bytes;
    work->kernels->requantise(work->memory.sums, rows, how, bytes);
    if (layer->form == CUBE24_NCHW) {
        work->kernels->transpose8(bytes, LAYER_COLUMNS, rows, columns, out, layer->m, rows, 0);
        return;
    }
    for (size_t row = 0; row < rows; row++)
        memcpy(out + row * layer->n, bytes + row * LAYER_COLUMNS, columns);
}

/* Bytes that are asked for while others are multiplied, a piece with each call of a kernel. */
struct ahead {
    const uint8_t *weight, *index;    /* what is next; NULL: nothing */
    size_t weight_bytes, index_bytes; /* of a piece */
    size_t pieces;                    /* that are left */
};

/* What the next block of columns has to be read, in so many pieces. Rows stand one behind the other;
 * of fractals, whose bytes do too, a processor foresees enough. */
static struct ahead bytes_ahead(const struct work *work, size_t column, size_t pieces)
{
    struct ahead ahead = {NULL, NULL, 0, 0, pieces};
    if (column >= work->column_end || work->layer->zn || pieces == 0)
        return ahead;
    const struct cube24_weight_tile tile = tile_at(work, column, 0);
    const size_t columns = least(LAYER_COLUMNS, work->layer->n - column);
    ahead.weight = (const uint8_t *)tile.weight;
    ahead.weight_bytes = columns * tile.weight_row / pieces;
    ahead.index = tile.index;
    ahead.index_bytes = columns * tile.index_row / pieces;
    return ahead;
}

static void ask_for(const uint8_t *bytes, size_t size)
{
#ifdef __GNUC__
    for (size_t i = 0; i < size; i += LINE)
        __builtin_prefetch(bytes + i, 0, 2);
#else
    (void)bytes;
    (void)size;
#endif
}

static void ask_for_a_piece(struct ahead *ahead)
{
    if (!ahead->weight || ahead->pieces == 0)
        return;
    ahead->pieces--;
    ask_for(ahead->weight, ahead->weight_bytes);
    ahead->weight += ahead->weight_bytes;
    if (!ahead->index)
        return;
    ask_for(ahead->index, ahead->index_bytes);
    ahead->index += ahead->index_bytes;
}

/* Multiply rows of activations by the packed block, STEPS_AT_ONCE of it at a time. */
static void multiply(const struct work *work, const uint8_t *rows_at, size_t rows, size_t columns,
                     const int32_t *start, int32_t *sums, size_t stride, struct ahead *ahead)
{
    const size_t size = work->kernels->activation, steps = work->plan.steps;
    for (size_t step = 0; step == 0 || step < steps; step += STEPS_AT_ONCE) {
        ask_for_a_piece(ahead);
        work->kernels->multiply(rows_at + step * LAYER_STEP * size, work->plan.k_packed * size,
                                rows, work->memory.packed + step * PACKED_STEP * size,
                                least(STEPS_AT_ONCE, steps - step),
                                ceil_div(columns, LAYER_VECTOR), work->layer->index != NULL,
                                step == 0 ? start : NULL, sums, stride);
    }
}

/* All rows of a chunk for one block of columns. */
static int compute_block(const struct work *work, size_t batch, size_t row, size_t rows,
                         const uint8_t *rows_at, size_t column)
{
    const cube24_layer *layer = work->layer;
    const size_t columns = least(LAYER_COLUMNS, work->column_end - column);
    int32_t start[LAYER_COLUMNS] = {0};
    if (layer->bias)
        memcpy(start, layer->bias + column, columns * sizeof *start);
    if (!pack_block(work, column, columns, start))
        return CUBE24_E_REFUSED;
    struct cube24_requant_columns how;
    if (layer->words)
        requant_of(layer, column, columns, &how);
    /* Sums that are the result are made where they shall stand. */
    const int in_place = !layer->words && layer->form != CUBE24_NCHW && columns == LAYER_COLUMNS;
    const size_t row_bytes = work->plan.k_packed * work->kernels->activation;
    struct ahead ahead = bytes_ahead(
        work, column + LAYER_COLUMNS,
        ceil_div(rows, SUB_ROWS) * ceil_div(work->plan.steps, STEPS_AT_ONCE));
    for (size_t i = 0; i < rows; i += SUB_ROWS) {
        const size_t count = least(SUB_ROWS, rows - i);
        const size_t place = place_of(layer, batch, row + i, column);
        multiply(work, rows_at + i * row_bytes, count, columns, start,
                 in_place ? (int32_t *)layer->out + place : work->memory.sums,
                 in_place ? layer->n : LAYER_COLUMNS, &ahead);
        if (layer->words)
            put_bytes(work, &how, place, count, columns);
        else if (!in_place)
            put_sums(work, place, count, columns);
    }
    return CUBE24_OK;
}

/* --- a part --------------------------------------------------------------------------------- */

/* Rows of one image. */
static int compute_rows(struct work *work, size_t batch, size_t row, size_t rows)
{
    const cube24_layer *layer = work->layer;
    if (layer->form != CUBE24_ROWS) {
        size_t height, width, y_start, y_end;
        if (cube24_image_output(&layer->image, &height, &width) != CUBE24_OK)
            return CUBE24_E_SIZE; /* it was asked before */
        rows_read(&layer->image, row / width, (row + rows - 1) / width, &y_start, &y_end);
        take_image(work, batch, y_start, y_end);
    }
    for (size_t i = 0, count; i < rows; i += count) {
        /* Chunks of even size: a small one would pack all weights for a few rows. */
        count = round_up(ceil_div(rows - i, ceil_div(rows - i, work->plan.chunk_rows)), SUB_ROWS);
        count = least(least(count, work->plan.chunk_rows), rows - i);
        const uint8_t *rows_at = rows_of(work, row + i, count);
        for (size_t column = work->column_start; column < work->column_end;
             column += LAYER_COLUMNS) {
            const int status = compute_block(work, batch, row + i, count, rows_at, column);
            if (status != CUBE24_OK)
                return status;
        }
    }
    return CUBE24_OK;
}

int cube24_layer_part(const cube24_layer *layer, size_t row_start, size_t rows,
                      size_t column_start, size_t columns, uint32_t flags, uint8_t *scratch)
{
    if (!layer)
        return CUBE24_E_ARGUMENT;
    const int status = sizes_status(layer);
    if (status != CUBE24_OK)
        return status;
    const size_t all_rows = layer->batch * layer->m;
    if (row_start > all_rows || rows > all_rows - row_start || column_start > layer->n ||
        columns > layer->n - column_start || column_start % LAYER_COLUMNS)
        return CUBE24_E_SIZE;
    struct work work;
    memset(&work, 0, sizeof work);
    work.kernels = cube24_choose_layer(flags, SELECT_OPTIONS);
    if (!work.kernels || layer->shift < 0 || layer->shift > 16 || layer->pad < INT8_MIN ||
        layer->pad > INT8_MAX)
        return CUBE24_E_ARGUMENT;
    if (rows == 0 || columns == 0)
        return CUBE24_OK;
    if (!scratch || !layer->out || (layer->k != 0 && (!layer->x || !layer->weight)) ||
        (layer->words && (!layer->scale || !layer->offset)))
        return CUBE24_E_ARGUMENT;
    work.layer = layer;
    work.plan = plan_of(layer);
    work.flags = flags;
    work.column_start = column_start;
    work.column_end = column_start + columns;
    uint8_t *base = scratch + (LINE - (uintptr_t)scratch % LINE) % LINE;
    lay_out(layer, &work.plan, work.kernels->activation, base, &work.memory);
    for (size_t row = row_start, end = row_start + rows; row < end;) {
        const size_t inside = row % layer->m, count = least(layer->m - inside, end - row);
        const int done = compute_rows(&work, row / layer->m, inside, count);
        if (done != CUBE24_OK)
            return done;
        row += count;
    }
    return CUBE24_OK;
}
