/* SPDX-License-Identifier: Apache-2.0
 * decode: rows, tails, padding and fault reports around the kernels. */
#include <string.h>

#include "codec.h"
#include "format.h"
#include "fractal.h"
#include "sizes.h"

enum { HALF = CUBE24_PIECES }; /* rows of a fractal that are a block */

/* A stored matrix of which the first n rows and k columns are a weight. */
struct stored {
    const int8_t *dense;
    const uint8_t *index;
    size_t n_stored, k_stored, n, k;
};

/* What is in use while one is decoded. */
struct decoder {
    struct cube24_codec_kernels kernels;
    int strict, past;
    uint64_t faults[CUBE24_FAULT_KINDS], refused;
};

/* --- one group ------------------------------------------------------------------------------ */

/* What is wrong with a group of which the first `real` elements are weights, the rest padding. */
static enum cube24_fault inspect(const int8_t *dense, unsigned pair, size_t real, int strict)
{
    int8_t e[GROUP];
    const enum cube24_fault fault = decode_group(dense, pair, e);
    if (fault != CUBE24_FAULT_NONE || !strict)
        return fault;
    if (real == 0) /* wholly padding: every byte is zero */
        return dense[0] || dense[1] || pair ? CUBE24_FAULT_PADDING : CUBE24_FAULT_NONE;
    for (size_t p = real; p < GROUP; p++)
        if (e[p] != 0)
            return CUBE24_FAULT_PADDING;
    return is_canonical(dense, pair) ? CUBE24_FAULT_NONE : CUBE24_FAULT_NONCANONICAL;
}

/* How many of the elements of group g of row r are weights. */
static size_t real_elements(const struct stored *s, size_t r, size_t g)
{
    return r < s->n && g * GROUP < s->k ? least(GROUP, s->k - g * GROUP) : 0;
}

static enum cube24_fault inspect_nd(const struct stored *s, size_t r, size_t g, int strict)
{
    const size_t at = r * (s->k_stored / GROUP) + g;
    return inspect(s->dense + 2 * at, pair_of_byte(s->index[at / 2], at % 2),
                   real_elements(s, r, g), strict);
}

static void count_fault(struct decoder *decoder, enum cube24_fault fault)
{
    decoder->faults[fault]++;
    decoder->refused += fault != CUBE24_FAULT_NONE;
}

/* --- ND ------------------------------------------------------------------------------------- */

static int sizes_are_wrong(const struct stored *s)
{
    return !fits(s->n_stored, s->k_stored) || s->k_stored % PAIR != 0 || s->n > s->n_stored ||
           s->k > s->k_stored;
}

static int decoder_start(struct decoder *decoder, uint32_t flags, size_t size)
{
    memset(decoder->faults, 0, sizeof decoder->faults);
    decoder->refused = 0;
    decoder->strict = (flags & CUBE24_STRICT) != 0;
    decoder->past = size >= CUBE24_PAST_CACHE;
    return cube24_choose_codec(flags, CUBE24_STRICT, &decoder->kernels);
}

static int decoder_end(struct decoder *decoder, uint64_t *faults)
{
    if (faults) {
        /* good groups are not counted: not all were inspected */
        decoder->faults[CUBE24_FAULT_NONE] = 0;
        memcpy(faults, decoder->faults, sizeof decoder->faults);
    }
    return decoder->refused ? CUBE24_E_REFUSED : CUBE24_OK;
}

/* At most CUBE24_RUN whole blocks. Not 0: a group in them is refused. */
static int decode_blocks(const struct decoder *decoder, const int8_t *dense, const uint8_t *index,
                         const struct cube24_steps *steps, size_t blocks, int8_t *weight)
{
    const int past = decoder->past && (uintptr_t)weight % CUBE24_LINE == 0 &&
                     steps->piece % CUBE24_LINE == 0;
    return decoder->strict
               ? decoder->kernels.decode_strict(dense, index, steps, blocks, past, weight)
               : decoder->kernels.decode(dense, index, steps, blocks, past, weight);
}

/* Up to a buffer of elements that follow each other, a multiple of 8. */
static int decode_to_buffer(const struct decoder *decoder, const int8_t *dense,
                            const uint8_t *index, size_t count, int8_t *buffer)
{
    const size_t blocks = count / CUBE24_BLOCK, whole = blocks * CUBE24_BLOCK;
    int refused = decode_blocks(decoder, dense, index, &cube24_nd_steps, blocks, buffer);
    if (whole != count) {
        int8_t block_dense[CUBE24_BLOCK_DENSE] = {0};
        uint8_t block_index[CUBE24_BLOCK_INDEX] = {0};
        memcpy(block_dense, dense + whole / 2, (count - whole) / 2);
        memcpy(block_index, index + whole / PAIR, (count - whole) / PAIR);
        refused |= decode_blocks(decoder, block_dense, block_index, &cube24_nd_steps, 1,
                                 buffer + whole);
    }
    return refused;
}

/* The groups of some elements of the stored matrix, one by one. */
static void inspect_part(struct decoder *decoder, const struct stored *s, size_t at, size_t count)
{
    const size_t row_groups = s->k_stored / GROUP;
    size_t r = at / GROUP / row_groups, g = at / GROUP % row_groups;
    for (size_t i = 0; i < count / GROUP; i++) {
        count_fault(decoder, inspect_nd(s, r, g, decoder->strict));
        if (++g == row_groups) {
            g = 0;
            r++;
        }
    }
}

/* How many elements from place `at` on can be decoded to where they belong. Before an output that
 * goes past the caches, none until its address is what that wants. */
static size_t direct_elements(const struct decoder *decoder, const struct stored *s, size_t at,
                              const int8_t *weight)
{
    const size_t end = s->k == s->k_stored ? s->n * s->k : 0;
    if (at >= end || (at == 0 && decoder->past && (uintptr_t)weight % CUBE24_LINE != 0 &&
                      (uintptr_t)weight % PAIR == 0))
        return 0;
    return least((end - at) / CUBE24_BLOCK, CUBE24_RUN) * CUBE24_BLOCK;
}

static void decode_nd(struct decoder *decoder, const struct stored *s, int8_t *weight)
{
    const struct cube24_rows rows = {s->n, s->k, s->k_stored};
    const size_t total = s->n_stored * s->k_stored;
    const size_t off = weight ? (uintptr_t)weight % CUBE24_LINE : 0;
    for (size_t at = 0, count; at < total; at += count) {
        const int8_t *dense = s->dense + at / 2;
        const uint8_t *index = s->index + at / PAIR;
        int refused;
        count = direct_elements(decoder, s, at, weight);
        if (count != 0) {
            refused = decode_blocks(decoder, dense, index, &cube24_nd_steps, count / CUBE24_BLOCK,
                                    weight + at);
        } else {
            int8_t buffer[CUBE24_BUFFER];
            count = least(at == 0 && off % PAIR == 0 ? CUBE24_BUFFER - off : CUBE24_BUFFER,
                          total - at);
            refused = decode_to_buffer(decoder, dense, index, count, buffer);
            if (cube24_scatter(&rows, buffer, at, count, weight))
                refused |= decoder->strict;
        }
        if (refused)
            inspect_part(decoder, s, at, count);
    }
}

int cube24_decode(const int8_t *dense, const uint8_t *index, size_t n_stored, size_t k_stored,
                  size_t n, size_t k, uint32_t flags, int8_t *weight, uint64_t *faults)
{
    const struct stored s = {dense, index, n_stored, k_stored, n, k};
    struct decoder decoder;
    if (sizes_are_wrong(&s))
        return CUBE24_E_SIZE;
    const size_t stored = n_stored * k_stored;
    if (!decoder_start(&decoder, flags, n * k) || (n != 0 && k != 0 && !weight) ||
        (stored != 0 && (!dense || !index)))
        return CUBE24_E_ARGUMENT;
    if (n != 0 && k != 0 && (overlap(weight, n * k, dense, stored / 2) ||
                             overlap(weight, n * k, index, stored / PAIR)))
        return CUBE24_E_ARGUMENT;
    if (k_stored != 0)
        decode_nd(&decoder, &s, weight);
    return decoder_end(&decoder, faults);
}

int cube24_list_refused(const int8_t *dense, const uint8_t *index, size_t n_stored,
                        size_t k_stored, size_t n, size_t k, uint32_t flags,
                        cube24_place *places, size_t capacity, uint64_t *total)
{
    const struct stored s = {dense, index, n_stored, k_stored, n, k};
    struct decoder decoder;
    if (sizes_are_wrong(&s))
        return CUBE24_E_SIZE;
    if (!decoder_start(&decoder, flags, 0) || !total || (capacity != 0 && !places) ||
        (n_stored != 0 && k_stored != 0 && (!dense || !index)))
        return CUBE24_E_ARGUMENT;
    *total = 0;
    for (size_t r = 0; k_stored != 0 && r < n_stored; r++) {
        for (size_t g = 0; g < k_stored / GROUP; g++) {
            const enum cube24_fault fault = inspect_nd(&s, r, g, decoder.strict);
            if (fault == CUBE24_FAULT_NONE)
                continue;
            if (*total < capacity) {
                const cube24_place place = {r, g, (uint64_t)fault};
                places[*total] = place;
            }
            ++*total;
        }
    }
    return CUBE24_OK;
}

/* --- Zn ------------------------------------------------------------------------------------- */

/* The groups of `blocks` blocks of 8 rows, one by one. */
static void inspect_half(struct decoder *decoder, const struct stored *s, size_t r, size_t k1,
                         size_t blocks)
{
    for (size_t end = k1 + blocks; k1 < end; k1++)
        for (size_t i = 0; i < HALF; i++) {
            const size_t at = cube24_zn_row(s->n, k1, r + i);
            for (size_t g = 0; g < STEP_GROUPS; g++)
                count_fault(decoder,
                            inspect(s->dense + at * K0 + 2 * g,
                                    pair_of_byte(s->index[at * INDEX_K0 + g / 2], g % 2),
                                    real_elements(s, r + i, k1 * STEP_GROUPS + g),
                                    decoder->strict));
        }
}

/* A block to a buffer, and from there the rows and columns that are a weight. */
static int decode_edge(const struct decoder *decoder, const struct stored *s, size_t r, size_t k1,
                       int8_t *weight)
{
    int8_t block[CUBE24_BLOCK];
    const size_t columns = least(CUBE24_PIECE, s->k - k1 * CUBE24_PIECE);
    const size_t at = cube24_zn_row(s->n, k1, r);
    int lost = 0;
    int refused = decode_blocks(decoder, s->dense + at * K0, s->index + at * INDEX_K0,
                                &cube24_nd_steps, 1, block);
    for (size_t i = 0; i < HALF; i++) {
        const size_t real = r + i < s->n ? columns : 0;
        if (real != 0)
            memcpy(weight + (r + i) * s->k + k1 * CUBE24_PIECE, block + i * CUBE24_PIECE, real);
        for (size_t p = real; p < CUBE24_PIECE; p++)
            lost |= block[i * CUBE24_PIECE + p] != 0;
    }
    return refused | (lost & decoder->strict);
}

/* 8 rows of a weight, of which those beyond n are padding. */
static void decode_half(struct decoder *decoder, const struct stored *s, size_t r, int8_t *weight)
{
    const struct cube24_steps steps = cube24_zn_steps(s->n, s->k);
    const size_t whole = r + HALF <= s->n ? s->k / CUBE24_PIECE : 0;
    for (size_t k1 = 0, run; k1 < whole; k1 += run) {
        const size_t at = cube24_zn_row(s->n, k1, r);
        run = least(whole - k1, CUBE24_RUN);
        if (decode_blocks(decoder, s->dense + at * K0, s->index + at * INDEX_K0, &steps, run,
                          weight + r * s->k + k1 * CUBE24_PIECE))
            inspect_half(decoder, s, r, k1, run);
    }
    for (size_t k1 = whole; k1 < ceil_div(s->k, CUBE24_PIECE); k1++)
        if (decode_edge(decoder, s, r, k1, weight))
            inspect_half(decoder, s, r, k1, 1);
}

int cube24_decode_zn(const int8_t *dense, const uint8_t *index, size_t n, size_t k,
                     size_t n1_start, size_t n1_count, uint32_t flags, int8_t *weight,
                     uint64_t *faults)
{
    const struct stored s = {dense, index, 0, 0, n, k};
    struct decoder decoder;
    const size_t n1 = ceil_div(n, N0);
    if (!cube24_zn_exists(n, k) || n1_start > n1 || n1_count > n1 - n1_start)
        return CUBE24_E_SIZE;
    const int empty = n1_count == 0 || k == 0;
    if (!decoder_start(&decoder, flags, n * k) || (!empty && (!dense || !index || !weight)))
        return CUBE24_E_ARGUMENT;
    for (size_t r = n1_start * N0; !empty && r < (n1_start + n1_count) * N0; r += HALF)
        decode_half(&decoder, &s, r, weight);
    return decoder_end(&decoder, faults);
}
