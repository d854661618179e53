/* SPDX-License-Identifier: Apache-2.0
 * encode, check and prune: rows, tails, policies and fault reports around the kernels. */
#include "codec.h"

#include <string.h>

#include "format.h"
#include "fractal.h"
#include "sizes.h"

const struct cube24_steps cube24_nd_steps = {
    CUBE24_PIECE,
    CUBE24_BLOCK,
    CUBE24_BLOCK_DENSE,
    CUBE24_BLOCK_INDEX,
};

static int known_policy(int policy)
{
    return policy >= CUBE24_POLICY_ERROR && policy <= CUBE24_POLICY_MAGNITUDE;
}

size_t cube24_k_stored(size_t k)
{
    return k > SIZE_MAX - (PAIR - 1) ? 0 : (k + PAIR - 1) / PAIR * PAIR;
}

/* --- padded rows ---------------------------------------------------------------------------- */

void cube24_gather(const struct cube24_rows *rows, const int8_t *weight, size_t at, size_t count,
                   int8_t *out)
{
    size_t r = at / rows->stored, column = at % rows->stored;
    while (count != 0) {
        const size_t some = least(count, rows->stored - column);
        const size_t real = r < rows->n && column < rows->k ? least(some, rows->k - column) : 0;
        if (real != 0)
            memcpy(out, weight + r * rows->k + column, real);
        memset(out + real, 0, some - real);
        out += some;
        count -= some;
        column = 0;
        r++;
    }
}

int cube24_scatter(const struct cube24_rows *rows, const int8_t *from, size_t at, size_t count,
                   int8_t *weight)
{
    unsigned lost = 0;
    size_t r = at / rows->stored, column = at % rows->stored;
    while (count != 0) {
        const size_t some = least(count, rows->stored - column);
        const size_t real = r < rows->n && column < rows->k ? least(some, rows->k - column) : 0;
        if (real != 0)
            memcpy(weight + r * rows->k + column, from, real);
        for (size_t i = real; i < some; i++)
            lost |= (uint8_t)from[i];
        from += some;
        count -= some;
        column = 0;
        r++;
    }
    return lost != 0;
}

/* --- encode --------------------------------------------------------------------------------- */

int cube24_encoder_start(struct cube24_encoder *encoder, int policy, uint32_t flags, size_t size)
{
    encoder->policy = policy;
    encoder->past = size >= CUBE24_PAST_CACHE;
    encoder->changes.groups = encoder->changes.weights = 0;
    return cube24_choose_codec(flags, 0, &encoder->kernels) && known_policy(policy);
}

int cube24_encoder_end(const struct cube24_encoder *encoder, cube24_changes *changes)
{
    if (changes)
        *changes = encoder->changes;
    return encoder->policy == CUBE24_POLICY_ERROR && encoder->changes.groups ? CUBE24_E_VIOLATION
                                                                             : CUBE24_OK;
}

/* Count what is in excess in a block; encode it again as the policy has it. */
static void encode_excess(struct cube24_encoder *encoder, const int8_t *weight, size_t step,
                          int8_t *dense, uint8_t *index)
{
    int8_t block[CUBE24_BLOCK];
    cube24_cost cost = {0, 0, 0, 0, 0, 0};
    const int refuses = encoder->policy == CUBE24_POLICY_ERROR;
    for (size_t i = 0; i < CUBE24_PIECES; i++)
        memcpy(block + i * CUBE24_PIECE, weight + i * step, CUBE24_PIECE);
    /* every policy drops the same numbers */
    encoder->kernels.prune(block, 1, refuses ? CUBE24_POLICY_FIRST_TWO : encoder->policy, block,
                           &cost);
    encoder->changes.groups += cost.groups;
    encoder->changes.weights += cost.weights;
    if (!refuses)
        encoder->kernels.encode(block, &cube24_nd_steps, 1, 0, dense, index);
}

void cube24_encode_blocks(struct cube24_encoder *encoder, const int8_t *weight,
                          const struct cube24_steps *steps, size_t blocks, int8_t *dense,
                          uint8_t *index)
{
    const int past = encoder->past && (uintptr_t)dense % CUBE24_LINE == 0;
    while (blocks != 0) {
        const size_t run = least(blocks, CUBE24_RUN);
        if (encoder->kernels.encode(weight, steps, run, past, dense, index))
            for (size_t b = 0; b < run; b++)
                encode_excess(encoder, weight + b * steps->block, steps->piece,
                              dense + b * steps->dense, index + b * steps->index);
        weight += run * steps->block;
        dense += run * steps->dense;
        index += run * steps->index;
        blocks -= run;
    }
}

/* Fewer elements than a block, a multiple of 8. */
static void encode_part(struct cube24_encoder *encoder, const int8_t *weight, size_t count,
                        int8_t *dense, uint8_t *index)
{
    int8_t block[CUBE24_BLOCK], block_dense[CUBE24_BLOCK_DENSE];
    uint8_t block_index[CUBE24_BLOCK_INDEX];
    if (count == 0)
        return;
    memcpy(block, weight, count);
    memset(block + count, 0, CUBE24_BLOCK - count);
    cube24_encode_blocks(encoder, block, &cube24_nd_steps, 1, block_dense, block_index);
    memcpy(dense, block_dense, count / 2);
    memcpy(index, block_index, count / PAIR);
}

void cube24_encode_elements(struct cube24_encoder *encoder, const int8_t *weight, size_t count,
                            int8_t *dense, uint8_t *index)
{
    /* a first part, so that dense can be written past the caches */
    const size_t off = (uintptr_t)dense % CUBE24_LINE;
    const int mends = encoder->past && off != 0 && off % GROUP == 0;
    size_t at = mends ? least((CUBE24_LINE - off) * 2, count) : 0;
    encode_part(encoder, weight, at, dense, index);
    const size_t blocks = (count - at) / CUBE24_BLOCK;
    cube24_encode_blocks(encoder, weight + at, &cube24_nd_steps, blocks, dense + at / 2,
                         index + at / PAIR);
    at += blocks * CUBE24_BLOCK;
    encode_part(encoder, weight + at, count - at, dense + at / 2, index + at / PAIR);
}

void cube24_encode_rows(struct cube24_encoder *encoder, const int8_t *weight,
                        const struct cube24_rows *rows, int8_t *dense, uint8_t *index)
{
    const size_t total = rows->n * rows->stored;
    if (rows->k == rows->stored) {
        cube24_encode_elements(encoder, weight, total, dense, index);
        return;
    }
    for (size_t at = 0; at < total; at += CUBE24_BUFFER) {
        int8_t buffer[CUBE24_BUFFER];
        const size_t count = least(CUBE24_BUFFER, total - at);
        cube24_gather(rows, weight, at, count, buffer);
        cube24_encode_elements(encoder, buffer, count, dense + at / 2, index + at / PAIR);
    }
}

/* 1 if two of the buffers of a call share a byte. */
static int any_overlap(const int8_t *weight, size_t size, const int8_t *dense, size_t dense_size,
                       const uint8_t *index, size_t index_size)
{
    return overlap(weight, size, dense, dense_size) || overlap(weight, size, index, index_size) ||
           overlap(dense, dense_size, index, index_size);
}

int cube24_encode(const int8_t *weight, size_t n, size_t k, int policy, uint32_t flags,
                  int8_t *dense, uint8_t *index, cube24_changes *changes)
{
    struct cube24_encoder encoder;
    const struct cube24_rows rows = {n, k, cube24_k_stored(k)};
    if (!fits(n, k) || !fits(n, rows.stored) || (k != 0 && rows.stored == 0))
        return CUBE24_E_SIZE;
    const int empty = n == 0 || k == 0;
    if (!cube24_encoder_start(&encoder, policy, flags, n * k))
        return CUBE24_E_ARGUMENT;
    if (!empty && (!weight || !dense || !index ||
                   any_overlap(weight, n * k, dense, n * rows.stored / 2, index,
                               n * rows.stored / PAIR)))
        return CUBE24_E_ARGUMENT;
    if (!empty)
        cube24_encode_rows(&encoder, weight, &rows, dense, index);
    return cube24_encoder_end(&encoder, changes);
}

/* --- encode to Zn --------------------------------------------------------------------------- */

enum { HALF = CUBE24_PIECES }; /* rows of a fractal that are a block */

int cube24_zn_exists(size_t n, size_t k)
{
    size_t size = FRACTAL;
    return fits(n, k) && grow(&size, ceil_div(n, N0)) && grow(&size, ceil_div(k, SPARSE_K));
}

struct cube24_steps cube24_zn_steps(size_t n, size_t k)
{
    const size_t n1 = ceil_div(n, N0);
    const struct cube24_steps steps = {k, CUBE24_PIECE, n1 * FRACTAL, n1 * INDEX_FRACTAL};
    return steps;
}

/* Place of row r of block k1, counted in rows of fractals. */
size_t cube24_zn_row(size_t n, size_t k1, size_t r)
{
    return k1 * ceil_div(n, N0) * N0 + r;
}

/* 8 rows of a weight, of which those beyond n are zero. */
static void encode_half(struct cube24_encoder *encoder, const int8_t *weight, size_t n, size_t k,
                        size_t r, int8_t *dense, uint8_t *index)
{
    const struct cube24_steps steps = cube24_zn_steps(n, k);
    const size_t whole = r + HALF <= n ? k / CUBE24_PIECE : 0;
    if (whole != 0)
        cube24_encode_blocks(encoder, weight + r * k, &steps, whole,
                             dense + cube24_zn_row(n, 0, r) * K0,
                             index + cube24_zn_row(n, 0, r) * INDEX_K0);
    for (size_t k1 = whole; k1 < ceil_div(k, CUBE24_PIECE); k1++) {
        int8_t block[CUBE24_BLOCK] = {0};
        const size_t column = k1 * CUBE24_PIECE;
        for (size_t i = 0; i < HALF && r + i < n; i++)
            memcpy(block + i * CUBE24_PIECE, weight + (r + i) * k + column,
                   least(CUBE24_PIECE, k - column));
        cube24_encode_blocks(encoder, block, &cube24_nd_steps, 1,
                             dense + cube24_zn_row(n, k1, r) * K0,
                             index + cube24_zn_row(n, k1, r) * INDEX_K0);
    }
}

void cube24_encode_zn_rows(struct cube24_encoder *encoder, const int8_t *weight, size_t n,
                           size_t k, size_t n1, int8_t *dense, uint8_t *index)
{
    for (size_t r = n1 * N0; r < (n1 + 1) * N0; r += HALF)
        encode_half(encoder, weight, n, k, r, dense, index);
}

int cube24_encode_zn(const int8_t *weight, size_t n, size_t k, size_t n1_start, size_t n1_count,
                     int policy, uint32_t flags, int8_t *dense, uint8_t *index,
                     cube24_changes *changes)
{
    struct cube24_encoder encoder;
    const size_t n1 = ceil_div(n, N0);
    if (!cube24_zn_exists(n, k) || n1_start > n1 || n1_count > n1 - n1_start)
        return CUBE24_E_SIZE;
    const int empty = n1_count == 0 || k == 0;
    const size_t fractals = n1 * ceil_div(k, SPARSE_K);
    if (!cube24_encoder_start(&encoder, policy, flags, n * k))
        return CUBE24_E_ARGUMENT;
    if (!empty && (!weight || !dense || !index ||
                   any_overlap(weight, n * k, dense, fractals * FRACTAL, index,
                               fractals * INDEX_FRACTAL)))
        return CUBE24_E_ARGUMENT;
    for (size_t i = 0; !empty && i < n1_count; i++)
        cube24_encode_zn_rows(&encoder, weight, n, k, n1_start + i, dense, index);
    return cube24_encoder_end(&encoder, changes);
}

/* --- check ---------------------------------------------------------------------------------- */

static uint64_t excess_of(const uint64_t *masks)
{
    uint64_t excess = 0;
    for (unsigned mask = 0; mask < 16; mask++)
        if (POPCOUNT[mask] > 2)
            excess += masks[mask];
    return excess;
}

/* Add the masks of elements that follow each other, a multiple of 4. */
static void count_elements(const struct cube24_codec_kernels *kernels, const int8_t *weight,
                           size_t count, uint64_t *masks)
{
    while (count >= CUBE24_BLOCK) {
        const size_t run = least(count / CUBE24_BLOCK, CUBE24_RUN);
        kernels->count(weight, run, masks);
        weight += run * CUBE24_BLOCK;
        count -= run * CUBE24_BLOCK;
    }
    if (count != 0) {
        int8_t block[CUBE24_BLOCK] = {0};
        memcpy(block, weight, count);
        kernels->count(block, 1, masks);
        masks[0] -= (CUBE24_BLOCK - count) / GROUP;
    }
}

/* Add the groups in excess to the counters of their rows. */
static void count_by_row(const struct cube24_codec_kernels *kernels, const int8_t *weight,
                         const struct cube24_rows *rows, size_t at, size_t count,
                         uint64_t *row_excess)
{
    size_t r = at / rows->stored, column = at % rows->stored;
    while (count != 0) {
        uint64_t masks[16] = {0};
        const size_t some = least(count, rows->stored - column);
        count_elements(kernels, weight, some, masks);
        row_excess[r++] += excess_of(masks);
        weight += some;
        count -= some;
        column = 0;
    }
}

static size_t groups_of(size_t k)
{
    return ceil_div(k, GROUP);
}

/* n rows of k elements, padded to whole groups: groups wholly beyond k are not looked at. */
static struct cube24_rows rows_of_groups(size_t n, size_t k)
{
    const struct cube24_rows rows = {n, k, groups_of(k) * GROUP};
    return rows;
}

int cube24_check(const int8_t *weight, size_t n, size_t k, uint32_t flags, uint64_t *masks,
                 uint64_t *row_excess)
{
    struct cube24_codec_kernels kernels;
    const struct cube24_rows rows = rows_of_groups(n, k);
    if (!fits(n, k) || !fits(n, rows.stored) || (row_excess && !fits(n, sizeof *row_excess)))
        return CUBE24_E_SIZE;
    if (!cube24_choose_codec(flags, 0, &kernels) || !masks || (n != 0 && k != 0 && !weight))
        return CUBE24_E_ARGUMENT;
    memset(masks, 0, 16 * sizeof *masks);
    if (row_excess)
        memset(row_excess, 0, n * sizeof *row_excess);
    if (k == 0)
        return CUBE24_OK;
    const size_t total = n * rows.stored;
    for (size_t at = 0, count; at < total; at += count) {
        int8_t buffer[CUBE24_BUFFER];
        uint64_t own[16] = {0};
        const int8_t *part = weight + at;
        count = least(k == rows.stored ? CUBE24_RUN * CUBE24_BLOCK : CUBE24_BUFFER, total - at);
        if (k != rows.stored) {
            cube24_gather(&rows, weight, at, count, buffer);
            part = buffer;
        }
        count_elements(&kernels, part, count, own);
        for (unsigned mask = 0; mask < 16; mask++)
            masks[mask] += own[mask];
        if (row_excess && excess_of(own) != 0)
            count_by_row(&kernels, part, &rows, at, count, row_excess);
    }
    return CUBE24_OK;
}

int cube24_list_excess(const int8_t *weight, size_t n, size_t k, cube24_place *places,
                       size_t capacity, uint64_t *total)
{
    if (!fits(n, k))
        return CUBE24_E_SIZE;
    if (!total || (capacity != 0 && !places) || (n != 0 && k != 0 && !weight))
        return CUBE24_E_ARGUMENT;
    *total = 0;
    for (size_t r = 0; k != 0 && r < n; r++) {
        for (size_t g = 0; g < groups_of(k); g++) {
            int8_t e[GROUP] = {0};
            memcpy(e, weight + r * k + g * GROUP, least(GROUP, k - g * GROUP));
            if (POPCOUNT[nonzero_mask(e)] <= 2)
                continue;
            if (*total < capacity) {
                const cube24_place place = {r, g, CUBE24_FAULT_EXCESS};
                places[*total] = place;
            }
            ++*total;
        }
    }
    return CUBE24_OK;
}

/* --- prune ---------------------------------------------------------------------------------- */

/* Prune elements that follow each other, a multiple of 4. */
static void prune_elements(const struct cube24_codec_kernels *kernels, const int8_t *weight,
                           size_t count, int policy, int8_t *out, cube24_cost *cost)
{
    while (count >= CUBE24_BLOCK) {
        const size_t run = least(count / CUBE24_BLOCK, CUBE24_RUN);
        kernels->prune(weight, run, policy, out, cost);
        weight += run * CUBE24_BLOCK;
        out += run * CUBE24_BLOCK;
        count -= run * CUBE24_BLOCK;
    }
    if (count != 0) {
        int8_t block[CUBE24_BLOCK] = {0};
        memcpy(block, weight, count);
        kernels->prune(block, 1, policy, block, cost);
        memcpy(out, block, count);
    }
}

int cube24_prune(const int8_t *weight, size_t n, size_t k, int policy, uint32_t flags, int8_t *out,
                 cube24_cost *cost)
{
    struct cube24_codec_kernels kernels;
    const struct cube24_rows rows = rows_of_groups(n, k);
    if (!fits(n, k) || !fits(n, rows.stored))
        return CUBE24_E_SIZE;
    if (!cube24_choose_codec(flags, 0, &kernels) || !known_policy(policy) ||
        policy == CUBE24_POLICY_ERROR || (n != 0 && k != 0 && (!weight || !out)))
        return CUBE24_E_ARGUMENT;
    cube24_cost sum = {0, 0, 0, 0, 0, 0};
    const size_t total = n * rows.stored;
    if (k == rows.stored) {
        prune_elements(&kernels, weight, total, policy, out, &sum);
    } else {
        for (size_t at = 0; at < total; at += CUBE24_BUFFER) {
            int8_t buffer[CUBE24_BUFFER];
            const size_t count = least(CUBE24_BUFFER, total - at);
            cube24_gather(&rows, weight, at, count, buffer);
            prune_elements(&kernels, buffer, count, policy, buffer, &sum);
            cube24_scatter(&rows, buffer, at, count, out);
        }
    }
    if (cost)
        *cost = sum;
    return CUBE24_OK;
}
