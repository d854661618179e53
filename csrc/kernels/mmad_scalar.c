/* SPDX-License-Identifier: Apache-2.0
 *
 * The reference kernels of multiply-add: portable C, in a way that a compiler can vectorise: a step
 * of the hardware is computed for one column of b and 16 rows of a at a time.
 */
#include "../datapath.h"
#include "../format.h"
#include "../fractal.h"
#include "../paths.h"
#include "../sizes.h"

/* The elements of a that one step reads, transposed: 16 rows side by side for each k. int16, so
 * that a product of two fits a multiplication that every machine has. */
typedef int16_t step_rows[SPARSE_K][M0];

/* Load `fractals` neighbouring fractals of a; what lies beyond `left` elements of k is zero. */
static void load_step(const int8_t *a, size_t fractals, size_t left, step_rows rows)
{
    for (size_t k = 0; k < fractals * K0; k++)
        for (size_t m = 0; m < M0; m++)
            rows[k][m] = k < left ? a[k / K0 * FRACTAL + m * K0 + k % K0] : 0;
}

static void add_products(int32_t sums[M0], const int16_t row[M0], int16_t weight)
{
    for (size_t m = 0; m < M0; m++)
        sums[m] += row[m] * weight;
}

/* The exact sums of one dense step for one column of b. */
static void dense_column(step_rows rows, const int8_t *b, int32_t sums[M0])
{
    for (size_t k = 0; k < K0; k++)
        add_products(sums, rows[k], b[k]);
}

/* The exact sums of one sparse step for one column: the index alone decides what is selected. */
static void sparse_column(step_rows rows, const int8_t *dense, const uint8_t *index,
                          uint32_t flags, int32_t sums[M0])
{
    for (size_t g = 0; g < STEP_GROUPS; g++) {
        const unsigned pair = pair_of_byte(index[g / 2], g % 2);
        const unsigned first = slot0_element(pair), second = slot1_element(pair, flags);
        if (first < GROUP - 1)
            add_products(sums, rows[GROUP * g + first], dense[2 * g]);
        if (second < GROUP)
            add_products(sums, rows[GROUP * g + second], dense[2 * g + 1]);
    }
}

/* b, and for a sparse b its index; k_step elements of a meet one fractal row of b. */
struct operand {
    const int8_t *values;
    const uint8_t *index; /* NULL: dense */
    size_t k_step;
};

/* The exact sums of one step for column `column` of block (step, j) of b. */
static void step_column(step_rows rows, const struct operand *b, size_t block, size_t column,
                        uint32_t flags, int32_t sums[M0])
{
    const int8_t *values = b->values + block * FRACTAL + column * K0;
    if (b->index)
        sparse_column(rows, values, b->index + block * INDEX_FRACTAL + column * INDEX_K0, flags,
                      sums);
    else
        dense_column(rows, values, sums);
}

static void add_column(int32_t *c_column, const int32_t sums[M0], size_t rows, uint32_t flags)
{
    for (size_t row = 0; row < rows; row++)
        c_column[row * N0] = accumulate(c_column[row * N0], sums[row], flags);
}

/* Step after step: after each, its sums are added to c. */
static void multiply_by_step(const int8_t *a, const struct operand *b, size_t m, size_t n,
                             size_t k, uint32_t flags, int32_t *c)
{
    const size_t m1 = ceil_div(m, M0), n1 = ceil_div(n, N0), steps = ceil_div(k, b->k_step);
    const size_t fractals = b->k_step / K0; /* of a in one step */
    for (size_t i = 0; i < m1; i++) {
        for (size_t s = 0; s < steps; s++) {
            step_rows rows;
            load_step(a + (i * steps + s) * fractals * FRACTAL, fractals, k - s * b->k_step, rows);
            for (size_t column = 0; column < n; column++) {
                int32_t sums[M0] = {0};
                const size_t j = column / N0;
                step_column(rows, b, s * n1 + j, column % N0, flags, sums);
                add_column(c + (j * m1 + i) * C_FRACTAL + column % N0, sums,
                           least(M0, m - i * M0), flags);
            }
        }
    }
}

/* All steps, then one addition to c. Slow: it loads the rows anew for each column. The sums are
 * exact: a product is at most 2^14 and k below 2^16, so they cannot leave int32. */
static void multiply_whole(const int8_t *a, const struct operand *b, size_t m, size_t n, size_t k,
                           uint32_t flags, int32_t *c)
{
    const size_t m1 = ceil_div(m, M0), n1 = ceil_div(n, N0), steps = ceil_div(k, b->k_step);
    const size_t fractals = b->k_step / K0;
    for (size_t i = 0; i < m1; i++) {
        for (size_t column = 0; column < n; column++) {
            int32_t sums[M0] = {0};
            const size_t j = column / N0;
            for (size_t s = 0; s < steps; s++) {
                step_rows rows;
                load_step(a + (i * steps + s) * fractals * FRACTAL, fractals, k - s * b->k_step,
                          rows);
                step_column(rows, b, s * n1 + j, column % N0, flags, sums);
            }
            add_column(c + (j * m1 + i) * C_FRACTAL + column % N0, sums, least(M0, m - i * M0),
                       flags);
        }
    }
}

static void multiply(const int8_t *a, const struct operand *b, size_t m, size_t n, size_t k,
                     uint32_t flags, int32_t *c)
{
    if (flags & CUBE24_GRAIN_INSTRUCTION)
        multiply_whole(a, b, m, n, k, flags, c);
    else
        multiply_by_step(a, b, m, n, k, flags, c);
}

static void mmad(const int8_t *a, const int8_t *b, size_t m, size_t n, size_t k, uint32_t flags,
                 int32_t *c)
{
    const struct operand operand = {b, NULL, K0};
    multiply(a, &operand, m, n, k, flags, c);
}

static void mmad_sparse(const int8_t *a, const int8_t *dense, const uint8_t *index, size_t m,
                        size_t n, size_t k, uint32_t flags, int32_t *c)
{
    const struct operand operand = {dense, index, SPARSE_K};
    multiply(a, &operand, m, n, k, flags, c);
}

const struct cube24_mmad_kernels cube24_mmad_scalar = {
    .mmad = mmad,
    .mmad_sparse = mmad_sparse,
};
