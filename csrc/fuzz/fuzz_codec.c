/* SPDX-License-Identifier: Apache-2.0
 * Fuzz target (libFuzzer): bytes from anywhere as dense and index bytes, as weights, as layouts.
 * The first bytes of the input choose sizes and flags, the rest fills the buffers. What a call gives
 * must follow the laws below.
 *
 * The rules here are written from docs/format.md and share nothing with the library nor with the
 * tests. Run it with run.sh. */
#include "input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* --- stored bytes: decode, list_refused ----------------------------------------------------- */

struct stored {
    int8_t *dense;
    uint8_t *index;
    size_t n_stored, k_stored, n, k, dense_size, index_size;
    uint32_t path;
};

/* Sizes and path; the buffers are for the caller to make. */
static struct stored take_shape(struct input *in)
{
    struct stored s;
    s.path = take_path(in);
    s.n_stored = take(in, 9);
    s.k_stored = 8 * take(in, 33);
    /* mostly little or no padding: else strict hardly ever accepts */
    const size_t rows_off = take(in, 4), columns_off = take(in, 24);
    s.n = s.n_stored > rows_off ? s.n_stored - rows_off : 0;
    s.k = s.k_stored > columns_off ? s.k_stored - columns_off : 0;
    s.dense_size = s.n_stored * s.k_stored / 2;
    s.index_size = s.n_stored * s.k_stored / 8;
    s.index = NULL;
    s.dense = NULL;
    return s;
}

static void stored_free(struct stored *s)
{
    free(s->dense);
    free(s->index);
}

/* What the index says of a slot: the element it belongs to, or -1 for the illegal value. */
static int element_of_slot(const struct stored *s, size_t r, size_t g, int slot)
{
    const unsigned byte = s->index[(r * s->k_stored + 4 * g) / 8];
    const unsigned value = byte >> ((g % 2 ? 4 : 0) + 2 * slot) & 3;
    return value == 3 ? -1 : (int)value + slot;
}

static int dense_of_slot(const struct stored *s, size_t r, size_t g, int slot)
{
    return s->dense[r * s->k_stored / 2 + 2 * g + (size_t)slot];
}

/* Section 8: what is refused whether strict or not. */
static int always_refused(const struct stored *s, size_t r, size_t g)
{
    const int at0 = element_of_slot(s, r, g, 0), at1 = element_of_slot(s, r, g, 1);
    if (at0 < 0 || at1 < 0)
        return CUBE24_FAULT_INDEX3;
    if (at0 == at1 && dense_of_slot(s, r, g, 0) != 0 && dense_of_slot(s, r, g, 1) != 0)
        return CUBE24_FAULT_CONFLICT;
    return CUBE24_FAULT_NONE;
}

/* The selection rule: what the unit multiplies element p by. */
static int selected(const struct stored *s, size_t r, size_t g, int p)
{
    int sum = 0;
    for (int slot = 0; slot < 2; slot++)
        if (element_of_slot(s, r, g, slot) == p)
            sum += dense_of_slot(s, r, g, slot);
    return sum;
}

/* The decoded weight is what the selection rule says, element for element. */
static void law_selection(const struct stored *s, const int8_t *weight)
{
    for (size_t r = 0; r < s->n; r++)
        for (size_t c = 0; c < s->k; c++)
            LAW(weight[r * s->k + c] == selected(s, r, c / 4, (int)(c % 4)));
}

/* The bytes that the encoder writes for a weight that fills the first rows and columns of a
 * stored matrix, zeros elsewhere. */
static void encode_padded(const struct stored *s, const int8_t *weight, int8_t *dense,
                          uint8_t *index)
{
    const size_t row = cube24_k_stored(s->k), row_stored = s->k_stored;
    int8_t *inner_dense = buffer(s->n * row / 2);
    uint8_t *inner_index = buffer(s->n * row / 8);
    LAW(cube24_encode(weight, s->n, s->k, CUBE24_POLICY_ERROR, s->path, inner_dense, inner_index,
                      NULL) == CUBE24_OK);
    if (s->dense_size) {
        memset(dense, 0, s->dense_size);
        memset(index, 0, s->index_size);
    }
    for (size_t r = 0; r < s->n && row != 0; r++) {
        memcpy(dense + r * row_stored / 2, inner_dense + r * row / 2, row / 2);
        memcpy(index + r * row_stored / 8, inner_index + r * row / 8, row / 8);
    }
    free(inner_dense);
    free(inner_index);
}

/* A weight that decode gave encodes; its bytes are accepted strictly and give the same weight. */
static int law_encode_again(const struct stored *s, const int8_t *weight)
{
    struct stored canonical = *s;
    int8_t *back = buffer(s->n * s->k);
    canonical.dense = buffer(s->dense_size);
    canonical.index = buffer(s->index_size);
    encode_padded(s, weight, canonical.dense, canonical.index);
    LAW(cube24_decode(canonical.dense, canonical.index, s->n_stored, s->k_stored, s->n, s->k,
                      s->path | CUBE24_STRICT, back, NULL) == CUBE24_OK);
    LAW(same(back, weight, s->n * s->k));
    const int same_bytes = same(canonical.dense, s->dense, s->dense_size) &&
                           same(canonical.index, s->index, s->index_size);
    free(back);
    stored_free(&canonical);
    return same_bytes;
}

/* The first places of the refused groups, in a buffer for exactly that many; their total. */
static cube24_place *list_refused(const struct stored *s, uint32_t flags, size_t capacity,
                                  uint64_t *total)
{
    cube24_place *places = buffer(capacity * sizeof *places);
    LAW(cube24_list_refused(s->dense, s->index, s->n_stored, s->k_stored, s->n, s->k, flags,
                            places, capacity, total) == CUBE24_OK);
    return places;
}

/* Lists of any capacity agree on the total and on the places they share. */
static cube24_place *law_capacities(const struct stored *s, uint32_t flags, uint64_t *total)
{
    uint64_t again, half_again;
    LAW(list_refused(s, flags, 0, total) == NULL);
    const size_t all = (size_t)*total, half = all / 2;
    cube24_place *places = list_refused(s, flags, all, &again);
    cube24_place *first_half = list_refused(s, flags, half, &half_again);
    LAW(again == *total && half_again == *total);
    LAW(same(first_half, places, half * sizeof *places));
    free(first_half);
    return places;
}

/* The list of refused groups: in order, each for its reason, as many of each as decode counted. */
static uint64_t law_list(const struct stored *s, uint32_t flags, const uint64_t *faults)
{
    uint64_t total, counts[CUBE24_FAULT_KINDS] = {0};
    cube24_place *places = law_capacities(s, flags, &total);
    for (size_t i = 0; i < total; i++) {
        const cube24_place *p = &places[i];
        LAW(p->row < s->n_stored && p->group < s->k_stored / 4);
        LAW(i == 0 || p->row > p[-1].row || (p->row == p[-1].row && p->group > p[-1].group));
        const int always = always_refused(s, (size_t)p->row, (size_t)p->group);
        LAW(always ? p->fault == (uint64_t)always
                   : (flags & CUBE24_STRICT) && (p->fault == CUBE24_FAULT_PADDING ||
                                                 p->fault == CUBE24_FAULT_NONCANONICAL));
        counts[p->fault]++;
    }
    for (int kind = 0; kind < CUBE24_FAULT_KINDS; kind++)
        LAW(counts[kind] == faults[kind]);
    free(places);
    return total;
}

/* How many groups section 8 refuses always. */
static uint64_t count_always_refused(const struct stored *s)
{
    uint64_t count = 0;
    for (size_t r = 0; r < s->n_stored; r++)
        for (size_t g = 0; g < s->k_stored / 4; g++)
            count += always_refused(s, r, g) != CUBE24_FAULT_NONE;
    return count;
}

/* All of the laws above: refused exactly if section 8 says so, strictly exactly if the encoder
 * would have written other bytes, and never accepted as another weight. */
static void law_decode(const struct stored *s)
{
    int8_t *weight = buffer(s->n * s->k);
    uint64_t faults[CUBE24_FAULT_KINDS];
    const uint64_t refused = count_always_refused(s);
    int status = cube24_decode(s->dense, s->index, s->n_stored, s->k_stored, s->n, s->k, s->path,
                               weight, faults);
    LAW(status == (refused ? CUBE24_E_REFUSED : CUBE24_OK));
    LAW(law_list(s, s->path, faults) == refused);

    int canonical = 0;
    if (status == CUBE24_OK) {
        law_selection(s, weight);
        canonical = law_encode_again(s, weight);
    }
    status = cube24_decode(s->dense, s->index, s->n_stored, s->k_stored, s->n, s->k,
                           s->path | CUBE24_STRICT, weight, faults);
    LAW(status == (canonical ? CUBE24_OK : CUBE24_E_REFUSED));
    LAW((law_list(s, s->path | CUBE24_STRICT, faults) == 0) == canonical);
    if (status == CUBE24_OK)
        law_selection(s, weight);
    free(weight);
}

/* Bytes from anywhere. */
static void fuzz_decode(struct input *in)
{
    struct stored s = take_shape(in);
    const size_t mend = take(in, 2);
    s.index = take_bytes(in, s.index_size);
    s.dense = take_bytes(in, s.dense_size);
    if (mend)
        mend_index(s.index, s.index_size);
    law_decode(&s);
    stored_free(&s);
}

/* Bytes that the encoder wrote, and up to three of them changed: what lies near to canonical, and
 * is not found from afar. */
static void fuzz_spoiled(struct input *in)
{
    struct stored s = take_shape(in);
    const size_t spoils = take(in, 4);
    s.dense = buffer(s.dense_size);
    s.index = buffer(s.index_size);
    struct input choices = {in->data, in->size < 9 ? in->size : 9};
    int8_t *weight = take_bytes(in, s.n * s.k);
    if (s.n != 0 && s.k != 0)
        LAW(cube24_prune(weight, s.n, s.k, CUBE24_POLICY_FIRST_TWO, s.path, weight, NULL) ==
            CUBE24_OK);
    encode_padded(&s, weight, s.dense, s.index);
    for (size_t i = 0; i < spoils && s.index_size != 0; i++) {
        const size_t low = take(&choices, 256), high = take(&choices, 256);
        const size_t at = (low + 256 * high) % (s.dense_size + s.index_size);
        const uint8_t value = (uint8_t)take(&choices, 256);
        if (at < s.dense_size)
            s.dense[at] = (int8_t)value;
        else
            s.index[at - s.dense_size] = value;
    }
    law_decode(&s);
    free(weight);
    stored_free(&s);
}

/* --- weights: encode, check, list_excess, prune --------------------------------------------- */

struct matrix {
    int8_t *weight;
    size_t n, k;
    uint32_t path;
};

static int size_of(int value)
{
    return value < 0 ? -value : value;
}

/* Non-zeros of the group that element c of a row is in, of which `test` holds against element c;
 * a NULL test counts all of them. */
static int count_in_group(const struct matrix *m, size_t r, size_t c,
                          int (*test)(const int8_t *row, size_t c, size_t other))
{
    const int8_t *row = m->weight + r * m->k;
    int count = 0;
    for (size_t other = c / 4 * 4; other < m->k && other < c / 4 * 4 + 4; other++)
        count += row[other] != 0 && (!test || test(row, c, other));
    return count;
}

static int is_before(const int8_t *row, size_t c, size_t other)
{
    (void)row;
    return other < c;
}

static int is_after(const int8_t *row, size_t c, size_t other)
{
    (void)row;
    return other > c;
}

static int is_larger(const int8_t *row, size_t c, size_t other)
{
    return size_of(row[other]) > size_of(row[c]) ||
           (size_of(row[other]) == size_of(row[c]) && other < c);
}

/* Section 3: what a policy makes of element c of row r. */
static int kept(const struct matrix *m, size_t r, size_t c, int policy)
{
    const int value = m->weight[r * m->k + c];
    if (count_in_group(m, r, c, NULL) <= 2)
        return value;
    switch (policy) {
    case CUBE24_POLICY_FIRST_TWO:
        return count_in_group(m, r, c, is_before) < 2 ? value : 0;
    case CUBE24_POLICY_FIRST_LAST:
        return count_in_group(m, r, c, is_before) == 0 || count_in_group(m, r, c, is_after) == 0
                   ? value
                   : 0;
    default:
        return count_in_group(m, r, c, is_larger) < 2 ? value : 0;
    }
}

static uint64_t count_excess(const struct matrix *m)
{
    uint64_t excess = 0;
    for (size_t r = 0; r < m->n; r++)
        for (size_t c = 0; c < m->k; c += 4)
            excess += count_in_group(m, r, c, NULL) > 2;
    return excess;
}

/* Pruned as section 3 says, at the cost that the difference shows. */
static void law_prune(const struct matrix *m, int policy, const int8_t *pruned,
                      const cube24_cost *cost)
{
    cube24_cost sum = {0, 0, 0, 0, 0, 0};
    for (size_t r = 0; r < m->n; r++)
        for (size_t c = 0; c < m->k; c++) {
            const uint64_t size = (uint64_t)size_of(m->weight[r * m->k + c]);
            const int keeps = pruned[r * m->k + c] != 0 || size == 0;
            LAW(pruned[r * m->k + c] == kept(m, r, c, policy));
            sum.weights += !keeps;
            sum.l1_total += size;
            sum.l2_total += size * size;
            sum.l1_removed += keeps ? 0 : size;
            sum.l2_removed += keeps ? 0 : size * size;
        }
    LAW(cost->weights == sum.weights && cost->groups == count_excess(m));
    LAW(cost->l1_total == sum.l1_total && cost->l1_removed == sum.l1_removed);
    LAW(cost->l2_total == sum.l2_total && cost->l2_removed == sum.l2_removed);
}

/* check and list_excess count what is there. */
static void law_counts(const struct matrix *m)
{
    uint64_t masks[16], total, sum = 0, groups = 0, *rows = buffer(m->n * sizeof *rows);
    LAW(cube24_check(m->weight, m->n, m->k, m->path, masks, rows) == CUBE24_OK);
    for (size_t r = 0; r < m->n; r++)
        sum += rows[r];
    for (int mask = 0; mask < 16; mask++)
        groups += masks[mask];
    LAW(sum == count_excess(m));
    LAW(masks[7] + masks[11] + masks[13] + masks[14] + masks[15] == sum);
    LAW(groups == m->n * (m->k / 4 + (m->k % 4 != 0)));
    LAW(cube24_list_excess(m->weight, m->n, m->k, NULL, 0, &total) == CUBE24_OK);
    LAW(total == sum);
    free(rows);
}

/* Encoding by a policy is pruning by it and encoding what is left; and it decodes to that. */
static void law_policy(const struct matrix *m, int policy)
{
    const size_t stored = cube24_k_stored(m->k), elements = m->n * m->k;
    const size_t dense_size = m->n * stored / 2, index_size = m->n * stored / 8;
    int8_t *pruned = buffer(elements), *back = buffer(elements);
    int8_t *dense = buffer(dense_size), *dense_pruned = buffer(dense_size);
    uint8_t *index = buffer(index_size), *index_pruned = buffer(index_size);
    cube24_changes changes;
    cube24_cost cost;
    LAW(cube24_prune(m->weight, m->n, m->k, policy, m->path, pruned, &cost) == CUBE24_OK);
    law_prune(m, policy, pruned, &cost);
    LAW(cube24_encode(m->weight, m->n, m->k, policy, m->path, dense, index, &changes) ==
        CUBE24_OK);
    LAW(changes.groups == cost.groups && changes.weights == cost.weights);
    LAW(cube24_encode(pruned, m->n, m->k, CUBE24_POLICY_ERROR, m->path, dense_pruned,
                      index_pruned, &changes) == CUBE24_OK);
    LAW(changes.groups == 0 && changes.weights == 0);
    LAW(same(dense, dense_pruned, dense_size) && same(index, index_pruned, index_size));
    LAW(cube24_decode(dense, index, m->n, stored, m->n, m->k, m->path | CUBE24_STRICT, back,
                      NULL) == CUBE24_OK);
    LAW(same(back, pruned, elements));
    free(pruned);
    free(back);
    free(dense);
    free(dense_pruned);
    free(index);
    free(index_pruned);
}

static void law_error_policy(const struct matrix *m)
{
    const size_t stored = cube24_k_stored(m->k);
    int8_t *dense = buffer(m->n * stored / 2);
    uint8_t *index = buffer(m->n * stored / 8);
    cube24_changes changes;
    const uint64_t excess = count_excess(m);
    LAW(cube24_encode(m->weight, m->n, m->k, CUBE24_POLICY_ERROR, m->path, dense, index,
                      &changes) == (excess ? CUBE24_E_VIOLATION : CUBE24_OK));
    LAW(changes.groups == excess);
    free(dense);
    free(index);
}

static void fuzz_encode(struct input *in)
{
    struct matrix m;
    m.path = take_path(in);
    m.n = take(in, 9);
    m.k = take(in, 256) + take(in, 256);
    m.weight = take_bytes(in, m.n * m.k);
    law_counts(&m);
    law_error_policy(&m);
    for (int policy = CUBE24_POLICY_FIRST_TWO; policy <= CUBE24_POLICY_MAGNITUDE; policy++)
        law_policy(&m, policy);
    free(m.weight);
}

/* --- layouts and bits ----------------------------------------------------------------------- */

static size_t sum_of(const uint8_t *bytes, size_t size)
{
    size_t sum = 0;
    for (size_t i = 0; i < size; i++)
        sum += bytes[i];
    return sum;
}

/* Straight to Zn, in two shares of rows, is encoding a padded weight and cutting that up; straight
 * from Zn is decoding that, whatever the bytes are. */
static void fuzz_direct(struct input *in)
{
    struct matrix m;
    m.path = take_path(in);
    m.n = take(in, 40);
    m.k = take(in, 200);
    const size_t n1 = (m.n + 15) / 16, split = n1 ? take(in, n1 + 1) : 0, spoils = take(in, 3);
    const int policy = (int)take(in, CUBE24_POLICY_MAGNITUDE) + 1;
    const size_t rows = n1 * 16, columns = (m.k + 63) / 64 * 64;
    const size_t size = rows != 0 && columns != 0 ? rows * columns : 0;
    struct input choices = {in->data, in->size < 9 ? in->size : 9};
    m.weight = take_bytes(in, m.n * m.k);

    struct stored s = {NULL, NULL, rows, columns, m.n, m.k, size / 2, size / 8, m.path};
    s.dense = buffer(s.dense_size);
    s.index = buffer(s.index_size);
    int8_t *pruned = buffer(m.n * m.k), *zn_dense = buffer(s.dense_size);
    uint8_t *zn_index = buffer(s.index_size), *cut = buffer(s.dense_size);
    cube24_changes changes[2];
    for (int share = 0; share < 2; share++)
        LAW(cube24_encode_zn(m.weight, m.n, m.k, share ? split : 0, share ? n1 - split : split,
                             policy, m.path, zn_dense, zn_index, &changes[share]) == CUBE24_OK);
    LAW(changes[0].groups + changes[1].groups == count_excess(&m));
    LAW(cube24_prune(m.weight, m.n, m.k, policy, m.path, pruned, NULL) == CUBE24_OK);
    if (size != 0) {
        encode_padded(&s, pruned, s.dense, s.index);
        LAW(cube24_nd_to_zn((const uint8_t *)s.dense, rows, columns / 2, 32, cut) == CUBE24_OK);
        LAW(same(cut, zn_dense, s.dense_size));
        LAW(cube24_nd_to_zn(s.index, rows, columns / 8, 8, cut) == CUBE24_OK);
        LAW(same(cut, zn_index, s.index_size));
    }

    for (size_t i = 0; i < spoils && size != 0; i++) {
        const size_t low = take(&choices, 256), high = take(&choices, 256);
        const size_t at = (low + 256 * high) % (s.dense_size + s.index_size);
        const uint8_t value = (uint8_t)take(&choices, 256);
        if (at < s.dense_size)
            zn_dense[at] = (int8_t)value;
        else
            zn_index[at - s.dense_size] = value;
    }
    if (size != 0) {
        LAW(cube24_zn_to_nd((const uint8_t *)zn_dense, rows, columns / 2, 32,
                            (uint8_t *)s.dense) == CUBE24_OK);
        LAW(cube24_zn_to_nd(zn_index, rows, columns / 8, 8, s.index) == CUBE24_OK);
    }
    int8_t *back = buffer(m.n * m.k);
    for (uint32_t strict = 0; strict <= CUBE24_STRICT; strict += CUBE24_STRICT) {
        uint64_t wanted[CUBE24_FAULT_KINDS], sum[CUBE24_FAULT_KINDS] = {0};
        int status = CUBE24_OK;
        for (int share = 0; share < 2; share++) {
            uint64_t faults[CUBE24_FAULT_KINDS];
            const int one = cube24_decode_zn(zn_dense, zn_index, m.n, m.k, share ? split : 0,
                                             share ? n1 - split : split, m.path | strict, back,
                                             faults);
            status = one != CUBE24_OK ? one : status;
            for (int kind = 0; kind < CUBE24_FAULT_KINDS; kind++)
                sum[kind] += faults[kind];
        }
        LAW(status == cube24_decode(s.dense, s.index, rows, columns, m.n, m.k, m.path | strict,
                                    pruned, wanted));
        LAW(same(sum, wanted, sizeof sum));
        LAW(status != CUBE24_OK || same(back, pruned, m.n * m.k));
    }
    free(back);
    free(cut);
    free(zn_index);
    free(zn_dense);
    free(pruned);
    free(m.weight);
    stored_free(&s);
}

/* There and back is the same; the padding adds nothing. */
static void fuzz_zn(struct input *in)
{
    const size_t n = take(in, 40), row_bytes = take(in, 100), k0 = 1 + take(in, 64);
    const size_t rows = (n + 15) / 16 * 16, columns = (row_bytes + k0 - 1) / k0 * k0;
    const size_t zn_size = n && row_bytes ? rows * columns : 0;
    uint8_t *nd = take_bytes(in, n * row_bytes);
    uint8_t *zn = buffer(zn_size), *back = buffer(n * row_bytes);
    LAW(cube24_nd_to_zn(nd, n, row_bytes, k0, zn) == CUBE24_OK);
    LAW(sum_of(zn, zn_size) == sum_of(nd, n * row_bytes));
    LAW(cube24_zn_to_nd(zn, n, row_bytes, k0, back) == CUBE24_OK);
    LAW(same(back, nd, n * row_bytes));
    free(nd);
    free(zn);
    free(back);
}

/* Encoding straight from a convolution weight is encoding its matrix. */
static void law_conv(const int8_t *weight, const int8_t *matrix, size_t cout, size_t cin, size_t kh,
                     size_t kw, int zn, uint32_t path)
{
    const size_t columns = (cin + 31) / 32 * 32 * kh * kw;
    const size_t rows = zn ? (cout + 15) / 16 * 16 : cout;
    const size_t size = rows * (zn ? (columns + 63) / 64 * 64 : columns);
    int8_t *dense = buffer(size / 2), *wanted = buffer(size / 2);
    uint8_t *index = buffer(size / 8), *wanted_index = buffer(size / 8);
    const int policy = CUBE24_POLICY_MAGNITUDE;
    cube24_changes changes, same_changes;
    LAW(cube24_encode_conv(weight, cout, cin, kh, kw, 0, cout, zn, policy, path, dense, index,
                           &changes) == CUBE24_OK);
    LAW((zn ? cube24_encode_zn(matrix, cout, columns, 0, rows / 16, policy, path, wanted,
                               wanted_index, &same_changes)
            : cube24_encode(matrix, cout, columns, policy, path, wanted, wanted_index,
                            &same_changes)) == CUBE24_OK);
    LAW(same(dense, wanted, size / 2) && same(index, wanted_index, size / 8));
    LAW(same(&changes, &same_changes, sizeof changes));
    free(dense);
    free(wanted);
    free(index);
    free(wanted_index);
}

static void fuzz_conv(struct input *in)
{
    const size_t cout = take(in, 4), cin = take(in, 70), kh = take(in, 4), kw = take(in, 6);
    const size_t size = cout * cin * kh * kw, stored = cout * ((cin + 31) / 32 * 32) * kh * kw;
    const uint32_t path = take_path(in);
    const int zn = (int)take(in, 2);
    int8_t *weight = take_bytes(in, size), *matrix = buffer(stored), *back = buffer(size);
    uint64_t padding, first = stored, nonzeros = 0, kept_nonzeros = 0;
    LAW(cube24_conv_to_matrix(weight, cout, cin, kh, kw, path, matrix) == CUBE24_OK);
    LAW(cube24_matrix_to_conv(matrix, cout, cin, kh, kw, path, back, &padding, &first) ==
        CUBE24_OK);
    LAW(padding == 0 && first == stored);
    LAW(same(back, weight, size));
    law_conv(weight, matrix, cout, cin, kh, kw, zn, path);
    free(matrix);

    /* from a matrix: every non-zero is in the weight or in the count */
    matrix = take_bytes(in, stored);
    LAW(cube24_matrix_to_conv(matrix, cout, cin, kh, kw, path, back, &padding, &first) ==
        CUBE24_OK);
    for (size_t i = 0; i < stored; i++)
        nonzeros += matrix[i] != 0;
    for (size_t i = 0; i < size; i++)
        kept_nonzeros += back[i] != 0;
    LAW(nonzeros == kept_nonzeros + padding);
    LAW(padding ? first < stored && matrix[first] != 0 : first == stored);
    free(weight);
    free(matrix);
    free(back);
}

static void fuzz_bits(struct input *in)
{
    const size_t count = take(in, 256), bytes = (count + 3) / 4;
    uint8_t *packed = take_bytes(in, bytes), *values = buffer(count), *again = buffer(bytes);
    uint8_t *raw = take_bytes(in, count);
    uint64_t position = count;
    LAW(cube24_unpack_index(packed, count, values) == CUBE24_OK);
    LAW(cube24_pack_index(values, count, again, &position) == CUBE24_OK);
    if (count % 4 != 0) /* bits beyond the count come back as zero */
        packed[bytes - 1] &= (uint8_t)((1U << (2 * (count % 4))) - 1);
    LAW(same(again, packed, bytes) && position == count);

    size_t above = 0;
    while (above < count && raw[above] <= 3)
        above++;
    LAW(cube24_pack_index(raw, count, again, &position) ==
        (above < count ? CUBE24_E_RANGE : CUBE24_OK));
    LAW(position == above);
    free(packed);
    free(values);
    free(again);
    free(raw);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const TARGETS[])(struct input *) = {
        fuzz_decode, fuzz_spoiled, fuzz_encode, fuzz_direct, fuzz_zn, fuzz_conv, fuzz_bits,
    };
    struct input in = {data, size};
    TARGETS[take(&in, sizeof TARGETS / sizeof TARGETS[0])](&in);
    return 0;
}
