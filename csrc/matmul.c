/* SPDX-License-Identifier: Apache-2.0
 * Pieces of the datapath by themselves, and a whole multiplication made of its steps. */
#include <string.h>

#include "datapath.h"
#include "format.h"
#include "fractal.h"
#include "paths.h"
#include "sizes.h"

/* 1 if the flags hold none but these options and a path. */
static int known(uint32_t flags, uint32_t options)
{
    struct cube24_mmad_kernels kernels;
    return cube24_choose_mmad(flags, options, &kernels);
}

/* --- pieces --------------------------------------------------------------------------------- */

int cube24_select(const int8_t *a, uint32_t pair, uint32_t flags, int8_t *selected)
{
    if (!known(flags, SELECT_OPTIONS) || !a || !selected)
        return CUBE24_E_ARGUMENT;
    if (pair > 15)
        return CUBE24_E_RANGE;
    const unsigned first = slot0_element(pair), second = slot1_element(pair, flags);
    const int none0 = first == GROUP - 1, none1 = second == GROUP;
    if ((none0 || none1) && !(flags & CUBE24_INDEX3_NOTHING))
        return CUBE24_E_REFUSED;
    selected[0] = none0 ? 0 : a[first];
    selected[1] = none1 ? 0 : a[second];
    return CUBE24_OK;
}

int cube24_accumulate(int32_t c, int32_t sum, uint32_t flags, int32_t *result)
{
    if (!known(flags, CUBE24_WRAP) || !result)
        return CUBE24_E_ARGUMENT;
    *result = accumulate(c, sum, flags);
    return CUBE24_OK;
}

/* --- the whole ------------------------------------------------------------------------------ */

/* Fractals of one step, of 16 rows of c and 16 columns. */
struct step {
    int8_t a[2 * FRACTAL];
    int8_t b[FRACTAL];
    uint8_t index[INDEX_FRACTAL];
    int32_t c[C_FRACTAL];
};

/* Rows of a multiplication, and how they are cut: `wide` of k a step, 32 or 64. */
struct matrices {
    const int8_t *a, *weight;
    const uint8_t *index; /* NULL: dense */
    size_t m, n, k, wide;
    size_t weight_row, index_row; /* bytes of a row */
};

/* Copy some rows of `bytes` bytes, a step apart, to fractal rows of `wide` bytes. */
static void copy_piece(const void *from, size_t step, size_t rows, size_t bytes, void *to,
                       size_t wide)
{
    for (size_t row = 0; row < rows; row++)
        memcpy((uint8_t *)to + row * wide, (const uint8_t *)from + row * step, bytes);
}

/* Add step `s` to the block of c at (row, column). What the fractals hold beyond its sizes takes no
 * part. */
static int add_step(const struct matrices *of, size_t row, size_t column, size_t s, uint32_t flags,
                    struct step *at, cube24_place *place)
{
    const size_t rows = least(M0, of->m - row), columns = least(N0, of->n - column);
    const size_t k = s * of->wide, left = least(of->wide, of->k - k);
    for (size_t i = 0; i < left; i += K0)
        copy_piece(of->a + row * of->k + k + i, of->k, rows, least(K0, left - i),
                   at->a + i / K0 * FRACTAL, K0);
    if (!of->index) {
        copy_piece(of->weight + column * of->weight_row + k, of->weight_row, columns, left, at->b,
                   K0);
        return cube24_mmad(at->a, at->b, rows, columns, left, flags, at->c);
    }
    const size_t bytes = least(INDEX_K0, of->index_row - s * INDEX_K0); /* of four dense ones */
    copy_piece(of->weight + column * of->weight_row + s * K0, of->weight_row, columns,
               K0 / INDEX_K0 * bytes, at->b, K0);
    copy_piece(of->index + column * of->index_row + s * INDEX_K0, of->index_row, columns, bytes,
               at->index, INDEX_K0);
    const int status = cube24_mmad_sparse(at->a, at->b, at->index, rows, columns, left, flags,
                                          at->c, place);
    if (status == CUBE24_E_REFUSED && place) {
        place->row += column;
        place->group += s * STEP_GROUPS;
    }
    return status;
}

/* The block of c at (row, column), from its bias on. All steps of one instruction are summed
 * exactly, which is modulo 2^32 as no sum leaves int32, and added once. */
static int block_of(const struct matrices *of, size_t row, size_t column, const int32_t *bias,
                    uint32_t flags, struct step *at, cube24_place *place)
{
    const size_t rows = least(M0, of->m - row), columns = least(N0, of->n - column);
    const int32_t *start = bias ? bias + column : NULL;
    const int whole = (flags & CUBE24_GRAIN_INSTRUCTION) != 0;
    const uint32_t each = whole ? (flags & ~(uint32_t)CUBE24_GRAIN_INSTRUCTION) | CUBE24_WRAP : flags;
    int status = cube24_mmad_start(at->c, rows, columns, whole ? NULL : start);
    for (size_t s = 0; s < ceil_div(of->k, of->wide) && status == CUBE24_OK; s++)
        status = add_step(of, row, column, s, each, at, place);
    for (size_t i = 0; whole && start && i < rows * columns; i++) {
        int32_t *c = at->c + i / columns * N0 + i % columns;
        *c = accumulate(start[i % columns], *c, flags);
    }
    return status;
}

int cube24_matmul(const int8_t *a, const int8_t *weight, const uint8_t *index, size_t m, size_t n,
                  size_t k, const int32_t *bias, uint32_t flags, int32_t *c, cube24_place *place)
{
    if (k >= 1 << 16 || !fits(m, k) || !fits(n, k) || !fits(m, sizeof *c) ||
        !fits(n, m * sizeof *c))
        return CUBE24_E_SIZE;
    if (!known(flags, index ? SPARSE_OPTIONS : DENSE_OPTIONS))
        return CUBE24_E_ARGUMENT;
    if (m == 0 || n == 0)
        return CUBE24_OK;
    if (!c || (k != 0 && (!a || !weight)))
        return CUBE24_E_ARGUMENT;
    const size_t stored = cube24_k_stored(k);
    const struct matrices of = {
        a, weight, index, m, n, k, (size_t)(index ? SPARSE_K : K0),
        index ? stored / 2 : k, stored / PAIR,
    };
    struct step at;
    memset(&at, 0, sizeof at);
    for (size_t row = 0; row < m; row += M0)
        for (size_t column = 0; column < n; column += N0) {
            const int status = block_of(&of, row, column, bias, flags, &at, place);
            if (status != CUBE24_OK)
                return status;
            copy_piece(at.c, N0 * sizeof *c, least(M0, m - row),
                       least(N0, n - column) * sizeof *c, c + row * n + column, n * sizeof *c);
        }
    return CUBE24_OK;
}
