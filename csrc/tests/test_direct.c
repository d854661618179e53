/* SPDX-License-Identifier: Apache-2.0
 * Encoding straight to Zn and straight from a convolution weight, decoding straight from Zn:
 * against rule.h and the formulas of sections 5 and 6, on every path; rows outside the range that
 * is asked for are not touched. */
#include "check.h"
#include "cube24.h"
#include "rule.h"
#include "support.h"

enum { POLICIES = 4, N0 = 16, PIECE = 64 };

/* --- formulas ------------------------------------------------------------------------------- */

/* An (n, k) matrix with rows and columns added to whole fractals, which are zero. */
struct padded {
    int8_t *weight;
    size_t n, k, n1, k1, rows, columns;
};

static struct padded padded_of(const int8_t *weight, size_t n, size_t k)
{
    struct padded p = {NULL, n, k, ceil_of(n, N0), ceil_of(k, PIECE), 0, 0};
    p.rows = p.n1 * N0;
    p.columns = p.k1 * PIECE;
    p.weight = allocate(p.rows * p.columns + 1);
    for (size_t r = 0; r < p.rows; r++)
        for (size_t c = 0; c < p.columns; c++)
            p.weight[r * p.columns + c] = r < n && c < k ? weight[r * k + c] : 0;
    return p;
}

/* Section 5: (N1, 16, K1, k0) to (K1, N1, 16, k0). */
static void to_zn(const struct padded *p, const uint8_t *nd, size_t k0, uint8_t *zn)
{
    for (size_t k1 = 0; k1 < p->k1; k1++)
        for (size_t r = 0; r < p->rows; r++)
            for (size_t i = 0; i < k0; i++)
                zn[(k1 * p->rows + r) * k0 + i] = nd[(r * p->k1 + k1) * k0 + i];
}

/* 1 if a byte of a Zn array belongs to rows [start, end). */
static int in_rows(const struct padded *p, size_t at, size_t k0, size_t start, size_t end)
{
    const size_t r = at / k0 % p->rows;
    return r >= start && r < end;
}

struct wanted {
    uint8_t *dense, *index;
    cube24_changes changes; /* of the rows in question */
};

/* The Zn arrays of a matrix where rows [start, end) are written and the rest holds `fill`. */
static struct wanted zn_by_rule(const struct padded *p, int policy, size_t start, size_t end,
                                int fill)
{
    const size_t size = p->rows * p->columns;
    uint8_t *nd_dense = allocate(size / 2 + 1), *nd_index = allocate(size / 8 + 1);
    struct wanted w = {allocate(size / 2 + 1), allocate(size / 8 + 1), {0, 0}};
    rule_encode_weight(p->weight + start * p->columns, end - start, p->columns, policy,
                       (int8_t *)nd_dense, nd_index, &w.changes);
    cube24_changes all;
    rule_encode_weight(p->weight, p->rows, p->columns, policy, (int8_t *)nd_dense, nd_index, &all);
    to_zn(p, nd_dense, 32, w.dense);
    to_zn(p, nd_index, 8, w.index);
    for (size_t i = 0; i < size / 2; i++)
        if (!in_rows(p, i, 32, start, end))
            w.dense[i] = (uint8_t)fill;
    for (size_t i = 0; i < size / 8; i++)
        if (!in_rows(p, i, 8, start, end))
            w.index[i] = (uint8_t)fill;
    free(nd_dense);
    free(nd_index);
    return w;
}

static void wanted_free(struct wanted *w)
{
    free(w->dense);
    free(w->index);
}

/* A call's outputs against what is wanted; the content is unspecified where it refuses. */
static void check_outputs(int status, int policy, struct guarded dense, struct guarded index,
                          const cube24_changes *changes, const struct wanted *w)
{
    const int refuses = policy == CUBE24_POLICY_ERROR && w->changes.groups != 0;
    CHECK_EQUAL(status, refuses ? CUBE24_E_VIOLATION : CUBE24_OK);
    CHECK_EQUAL(changes->groups, w->changes.groups);
    CHECK_EQUAL(changes->weights, w->changes.weights);
    if (refuses) {
        CHECK(is_intact(dense) && is_intact(index));
    } else {
        CHECK(holds(dense, w->dense));
        CHECK(holds(index, w->index));
    }
}

/* --- encode_zn, decode_zn ------------------------------------------------------------------- */

static void check_encode_zn(const int8_t *weight, size_t n, size_t k, size_t start, size_t count,
                            int policy, int fill, uint32_t flags)
{
    struct padded p = padded_of(weight, n, k);
    const size_t size = p.rows * p.columns;
    struct wanted w = zn_by_rule(&p, policy, start * N0, (start + count) * N0, fill);
    const struct exact input = exact_copy(weight, n * k);
    const struct guarded dense = guarded_bytes(size / 2, fill);
    const struct guarded index = guarded_bytes(size / 8, fill);
    cube24_changes changes = {99, 99};
    const int status = cube24_encode_zn(exact_int8(input), n, k, start, count, policy, flags,
                                        guarded_int8(dense), index.data, &changes);
    check_outputs(status, policy, dense, index, &changes, &w);
    exact_free(input);
    guarded_free(dense);
    guarded_free(index);
    wanted_free(&w);
    free(p.weight);
}

/* Stored Zn bytes, whatever they are, by the rule and by the library. */
static void check_decode_zn(const uint8_t *zn_dense, const uint8_t *zn_index, size_t n, size_t k,
                            size_t start, size_t count, int fill, uint32_t flags)
{
    const size_t n1 = ceil_of(n, N0), k1_end = ceil_of(k, PIECE), size = n1 * N0 * k1_end * PIECE;
    int8_t *nd_dense = allocate(size / 2 + 1), *wanted = allocate(n * k + 1);
    uint8_t *nd_index = allocate(size / 8 + 1);
    for (size_t r = 0; r < n1 * N0; r++)
        for (size_t k1 = 0; k1 < k1_end; k1++) {
            memcpy(nd_dense + (r * k1_end + k1) * 32, zn_dense + (k1 * n1 * N0 + r) * 32, 32);
            memcpy(nd_index + (r * k1_end + k1) * 8, zn_index + (k1 * n1 * N0 + r) * 8, 8);
        }
    const struct rule_bytes b = {nd_dense, nd_index, n1 * N0, k1_end * PIECE, n, k};
    const int strict = (flags & CUBE24_STRICT) != 0;
    uint64_t faults[CUBE24_FAULT_KINDS] = {0}, total = 0;
    memset(wanted, fill, n * k);
    for (size_t r = start * N0; r < (start + count) * N0; r++)
        for (size_t g = 0; g < b.k_stored / 4; g++) {
            int e[4];
            const int fault = rule_judge(&b, strict, r, g, e);
            faults[fault] += fault != CUBE24_FAULT_NONE;
            total += fault != CUBE24_FAULT_NONE;
            for (size_t p = 0; p < 4; p++)
                if (r < n && 4 * g + p < k)
                    wanted[r * k + 4 * g + p] = (int8_t)e[p];
        }
    const struct exact dense = exact_copy(zn_dense, size / 2);
    const struct exact index = exact_copy(zn_index, size / 8);
    const struct guarded weight = guarded_bytes(n * k, fill);
    uint64_t got[CUBE24_FAULT_KINDS];
    memset(got, fill, sizeof got);
    CHECK_EQUAL(cube24_decode_zn(exact_int8(dense), index.data, n, k, start, count, flags,
                                 guarded_int8(weight), got),
                total ? CUBE24_E_REFUSED : CUBE24_OK);
    CHECK(same_bytes(got, faults, sizeof got));
    CHECK(total ? is_intact(weight) : holds(weight, wanted));
    CHECK_EQUAL(cube24_decode_zn(exact_int8(dense), index.data, n, k, start, count, flags,
                                 guarded_int8(weight), NULL),
                total ? CUBE24_E_REFUSED : CUBE24_OK);
    guarded_free(weight);
    exact_free(dense);
    exact_free(index);
    free(nd_dense);
    free(nd_index);
    free(wanted);
}

/* Legal bytes, and the same with one byte spoiled: in the weight or in the padding. */
static void check_zn_bytes(const int8_t *weight, size_t n, size_t k, size_t start, size_t count,
                           uint64_t *state, uint32_t flags)
{
    struct padded p = padded_of(weight, n, k);
    const size_t size = p.rows * p.columns;
    struct wanted w = zn_by_rule(&p, CUBE24_POLICY_MAGNITUDE, 0, p.rows, 0);
    for (int spoil = 0; spoil < 4; spoil++) {
        for (uint32_t strict = 0; strict <= CUBE24_STRICT; strict += CUBE24_STRICT)
            check_decode_zn(w.dense, w.index, n, k, start, count, FILLS[spoil % 2],
                            flags | strict);
        if (size == 0)
            break;
        if (spoil % 2 == 0)
            w.index[random_below(state, size / 8)] = (uint8_t)random_bits(state);
        else
            w.dense[random_below(state, size / 2)] ^= 0x81;
    }
    wanted_free(&w);
    free(p.weight);
}

static void zn_of_every_shape_and_range(uint32_t flags)
{
    static const size_t ROWS[] = {0, 1, 7, 8, 9, 16, 17, 24, 31, 33, 48};
    static const size_t COLUMNS[] = {0, 1, 4, 7, 8, 31, 63, 64, 65, 72, 127, 128, 129, 200, 640};
    int8_t weight[48 * 640];
    uint64_t state = 16;
    for (size_t i = 0; i < COUNT(ROWS); i++)
        for (size_t j = 0; j < COUNT(COLUMNS); j++) {
            const size_t n = ROWS[i], k = COLUMNS[j], n1 = ceil_of(n, N0);
            for (size_t start = 0; start <= n1; start++)
                for (size_t count = 0; count <= n1 - start; count++) {
                    random_weight(&state, weight, n * k, (i + j) % 2 ? 25 : 70);
                    for (int policy = 0; policy < POLICIES; policy++)
                        check_encode_zn(weight, n, k, start, count, policy, FILLS[policy % 2],
                                        flags);
                    check_zn_bytes(weight, n, k, start, count, &state, flags);
                }
        }
}

/* More blocks of a row than one call of a kernel takes, one bad group in the last. */
static void long_rows_of_zn(uint32_t flags)
{
    const size_t n = 16, k = 130 * PIECE;
    int8_t *weight = allocate(n * k);
    uint64_t state = 130;
    random_weight(&state, weight, n * k, 20);
    for (int policy = 0; policy < POLICIES; policy++)
        check_encode_zn(weight, n, k, 0, 1, policy, FILLS[0], flags);
    check_zn_bytes(weight, n, k, 0, 1, &state, flags);
    memset(weight, 0, n * k);
    memset(weight + n * k - 4, 5, 3);
    check_encode_zn(weight, n, k, 0, 1, CUBE24_POLICY_ERROR, FILLS[0], flags);
    check_encode_zn(weight, n, k, 0, 1, CUBE24_POLICY_FIRST_LAST, FILLS[0], flags);
    free(weight);
}

/* --- encode_conv ---------------------------------------------------------------------------- */

struct conv {
    size_t cout, cin, kh, kw;
};

/* Section 6: columns are (C1, kh, kw, C0). */
static int8_t *matrix_of(const struct conv *c, const int8_t *weight, size_t *columns)
{
    const size_t c1_end = ceil_of(c->cin, 32);
    *columns = c1_end * 32 * c->kh * c->kw;
    int8_t *matrix = allocate(c->cout * *columns + 1), *next = matrix;
    for (size_t n = 0; n < c->cout; n++)
        for (size_t c1 = 0; c1 < c1_end; c1++)
            for (size_t y = 0; y < c->kh; y++)
                for (size_t x = 0; x < c->kw; x++)
                    for (size_t c0 = 0; c0 < 32; c0++) {
                        const size_t channel = 32 * c1 + c0;
                        *next++ = channel < c->cin ? weight[((n * c->cin + channel) * c->kh + y) *
                                                                c->kw +
                                                            x]
                                                   : 0;
                    }
    return matrix;
}

static void check_conv_nd(const struct conv *c, const int8_t *weight, size_t start, size_t rows,
                          int policy, int fill, uint32_t flags)
{
    size_t columns;
    int8_t *matrix = matrix_of(c, weight, &columns);
    const size_t size = c->cout * columns;
    struct wanted w = {allocate(size / 2 + 1), allocate(size / 8 + 1), {0, 0}};
    memset(w.dense, fill, size / 2);
    memset(w.index, fill, size / 8);
    rule_encode_weight(matrix + start * columns, rows, columns, policy,
                       (int8_t *)w.dense + start * columns / 2, w.index + start * columns / 8,
                       &w.changes);
    const struct exact input = exact_copy(weight, c->cout * c->cin * c->kh * c->kw);
    const struct guarded dense = guarded_bytes(size / 2, fill);
    const struct guarded index = guarded_bytes(size / 8, fill);
    cube24_changes changes = {99, 99};
    const int status =
        cube24_encode_conv(exact_int8(input), c->cout, c->cin, c->kh, c->kw, start, rows, 0,
                           policy, flags, guarded_int8(dense), index.data, &changes);
    check_outputs(status, policy, dense, index, &changes, &w);
    exact_free(input);
    guarded_free(dense);
    guarded_free(index);
    wanted_free(&w);
    free(matrix);
}

static void check_conv_zn(const struct conv *c, const int8_t *weight, size_t start, size_t rows,
                          int policy, int fill, uint32_t flags)
{
    size_t columns;
    int8_t *matrix = matrix_of(c, weight, &columns);
    struct padded p = padded_of(matrix, c->cout, columns);
    const size_t size = p.rows * p.columns;
    struct wanted w = zn_by_rule(&p, policy, start, ceil_of(start + rows, N0) * N0, fill);
    const struct exact input = exact_copy(weight, c->cout * c->cin * c->kh * c->kw);
    const struct guarded dense = guarded_bytes(size / 2, fill);
    const struct guarded index = guarded_bytes(size / 8, fill);
    cube24_changes changes = {99, 99};
    const int status =
        cube24_encode_conv(exact_int8(input), c->cout, c->cin, c->kh, c->kw, start, rows, 1,
                           policy, flags, guarded_int8(dense), index.data, &changes);
    check_outputs(status, policy, dense, index, &changes, &w);
    exact_free(input);
    guarded_free(dense);
    guarded_free(index);
    wanted_free(&w);
    free(p.weight);
    free(matrix);
}

static void conv_of_every_shape_and_range(uint32_t flags)
{
    static const size_t COUT[] = {1, 3, 16, 17, 24};
    static const size_t CIN[] = {1, 3, 31, 32, 33, 64, 70};
    static const size_t KERNELS[][2] = {{1, 1}, {3, 3}, {1, 2}, {2, 2}, {8, 8}, {5, 13}};
    uint64_t state = 33;
    for (size_t i = 0; i < COUNT(COUT); i++)
        for (size_t j = 0; j < COUNT(CIN); j++)
            for (size_t l = 0; l < COUNT(KERNELS); l++) {
                const struct conv c = {COUT[i], CIN[j], KERNELS[l][0], KERNELS[l][1]};
                if (c.kh > 4 && c.cout != 3 && c.cout != 17)
                    continue; /* large ones take a while */
                const size_t size = c.cout * c.cin * c.kh * c.kw;
                const int policy = (int)((i + j + l) % POLICIES), fill = FILLS[j % 2];
                int8_t *weight = allocate(size);
                random_weight(&state, weight, size, 30);
                check_conv_nd(&c, weight, 0, c.cout, policy, fill, flags);
                check_conv_nd(&c, weight, c.cout / 2, c.cout - c.cout / 2, policy, fill, flags);
                check_conv_nd(&c, weight, c.cout / 3, c.cout / 3, policy, fill, flags);
                check_conv_zn(&c, weight, 0, c.cout, policy, fill, flags);
                if (c.cout > N0) {
                    check_conv_zn(&c, weight, 0, N0, policy, fill, flags);
                    check_conv_zn(&c, weight, N0, c.cout - N0, policy, fill, flags);
                }
                free(weight);
            }
}

/* The layers of networks: more rows and channels than a buffer holds. */
static void conv_of_a_layer(uint32_t flags)
{
    static const struct conv LAYERS[] = {{20, 256, 3, 3}, {33, 300, 1, 1}, {18, 96, 7, 7}};
    uint64_t state = 50;
    for (size_t i = 0; i < COUNT(LAYERS); i++) {
        const struct conv *c = &LAYERS[i];
        const size_t size = c->cout * c->cin * c->kh * c->kw;
        int8_t *weight = allocate(size);
        random_weight(&state, weight, size, 15);
        check_conv_nd(c, weight, 0, c->cout, CUBE24_POLICY_MAGNITUDE, FILLS[0], flags);
        check_conv_zn(c, weight, 0, c->cout, CUBE24_POLICY_MAGNITUDE, FILLS[0], flags);
        free(weight);
    }
}

int main(void)
{
    on_every_path(zn_of_every_shape_and_range);
    on_every_path(long_rows_of_zn);
    on_every_path(conv_of_every_shape_and_range);
    on_every_path(conv_of_a_layer);
    return check_report("test_direct");
}
