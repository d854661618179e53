/* SPDX-License-Identifier: Apache-2.0
 * encode, check, prune and decode: rows, tails, policies and fault reports around the kernels. */
#include <string.h>

#include "format.h"
#include "paths.h"
#include "sizes.h"

/* The elements of a group that a policy keeps. */
static unsigned keep_magnitude(const int8_t e[GROUP], unsigned mask)
{
    unsigned keep = 0;
    for (int round = 0; round < 2; round++) {
        int best = -1, largest = 0;
        for (int p = 0; p < GROUP; p++) {
            const int size = e[p] < 0 ? -e[p] : e[p];
            if (!(keep >> p & 1) && size > largest) { /* strictly: a tie keeps the lower */
                best = p;
                largest = size;
            }
        }
        if (best >= 0)
            keep |= 1U << best;
    }
    return keep & mask;
}

static unsigned keep_by_policy(const int8_t e[GROUP], unsigned mask, int policy)
{
    switch (policy) {
    case CUBE24_POLICY_FIRST_TWO:
        return KEEP_FIRST_TWO[mask];
    case CUBE24_POLICY_FIRST_LAST:
        return KEEP_FIRST_LAST[mask];
    default:
        return POPCOUNT[mask] > 2 ? keep_magnitude(e, mask) : mask;
    }
}

static int known_policy(int policy)
{
    return policy >= CUBE24_POLICY_ERROR && policy <= CUBE24_POLICY_MAGNITUDE;
}

/* The elements from `start` of a row of k, padded with zeros to a whole pair. */
static void load_tail(const int8_t *row, size_t start, size_t k, int8_t pair[PAIR])
{
    memset(pair, 0, PAIR);
    memcpy(pair, row + start, k - start);
}

/* One group of a row of k elements, padded with zeros if it is the last. */
static void load_group(const int8_t *row, size_t g, size_t k, int8_t e[GROUP])
{
    const size_t start = g * GROUP;
    memset(e, 0, GROUP);
    memcpy(e, row + start, least(GROUP, k - start));
}

static size_t groups_of(size_t k)
{
    return ceil_div(k, GROUP);
}

size_t cube24_k_stored(size_t k)
{
    return k > SIZE_MAX - (PAIR - 1) ? 0 : (k + PAIR - 1) / PAIR * PAIR;
}

/* Encode one row; gives its groups in excess. */
static uint64_t encode_row(const struct cube24_codec_kernels *kernels, const int8_t *row, size_t k,
                           int8_t *dense, uint8_t *index)
{
    const size_t pairs = k / PAIR;
    uint64_t excess = kernels->encode(row, pairs, dense, index);
    if (k % PAIR != 0) {
        int8_t tail[PAIR];
        load_tail(row, pairs * PAIR, k, tail);
        excess += kernels->encode(tail, 1, dense + pairs * GROUP, index + pairs);
    }
    return excess;
}

/* Encode again, by a policy, the groups of a row that are in excess. */
static void encode_excess(const int8_t *row, size_t k, int policy, int8_t *dense, uint8_t *index,
                          cube24_changes *changes)
{
    for (size_t g = 0; g < groups_of(k); g++) {
        int8_t e[GROUP];
        load_group(row, g, k, e);
        const unsigned mask = nonzero_mask(e);
        if (POPCOUNT[mask] <= 2)
            continue;
        changes->groups++;
        changes->weights += POPCOUNT[mask] - 2U;
        if (policy == CUBE24_POLICY_ERROR)
            continue;
        const unsigned pair = encode_group(e, keep_by_policy(e, mask, policy), dense + 2 * g);
        const unsigned other = pair_of_byte(index[g / 2], !(g % 2));
        index[g / 2] = g % 2 ? pack_byte(other, pair) : pack_byte(pair, other);
    }
}

int cube24_encode(const int8_t *weight, size_t n, size_t k, int policy, uint32_t flags,
                  int8_t *dense, uint8_t *index, cube24_changes *changes)
{
    struct cube24_codec_kernels kernels;
    const size_t k_stored = cube24_k_stored(k);
    if (!fits(n, k) || !fits(n, k_stored) || (k != 0 && k_stored == 0))
        return CUBE24_E_SIZE;
    if (!cube24_choose_codec(flags, 0, &kernels) || !known_policy(policy))
        return CUBE24_E_ARGUMENT;
    const int empty = n == 0 || k == 0;
    if (!empty && (!weight || !dense || !index))
        return CUBE24_E_ARGUMENT;
    cube24_changes total = {0, 0};
    if (!empty) {
        for (size_t r = 0; r < n; r++) {
            const int8_t *row = weight + r * k;
            int8_t *row_dense = dense + r * (k_stored / 2);
            uint8_t *row_index = index + r * (k_stored / PAIR);
            if (encode_row(&kernels, row, k, row_dense, row_index) != 0)
                encode_excess(row, k, policy, row_dense, row_index, &total);
        }
    }
    if (changes)
        *changes = total;
    return policy == CUBE24_POLICY_ERROR && total.groups ? CUBE24_E_VIOLATION : CUBE24_OK;
}

static uint64_t excess_of(const uint64_t *masks)
{
    uint64_t excess = 0;
    for (unsigned mask = 0; mask < 16; mask++)
        if (POPCOUNT[mask] > 2)
            excess += masks[mask];
    return excess;
}

int cube24_check(const int8_t *weight, size_t n, size_t k, uint32_t flags, uint64_t *masks,
                 uint64_t *row_excess)
{
    struct cube24_codec_kernels kernels;
    if (!fits(n, k) || (row_excess && !fits(n, sizeof *row_excess)))
        return CUBE24_E_SIZE;
    if (!cube24_choose_codec(flags, 0, &kernels) || !masks || (n != 0 && k != 0 && !weight))
        return CUBE24_E_ARGUMENT;
    memset(masks, 0, 16 * sizeof *masks);
    if (row_excess)
        memset(row_excess, 0, n * sizeof *row_excess);
    uint64_t before = 0;
    for (size_t r = 0; k != 0 && r < n; r++) {
        const int8_t *row = weight + r * k;
        kernels.count(row, k / PAIR, masks);
        for (size_t g = k / PAIR * 2; g < groups_of(k); g++) {
            int8_t e[GROUP];
            load_group(row, g, k, e);
            masks[nonzero_mask(e)]++;
        }
        if (row_excess) {
            const uint64_t after = excess_of(masks);
            row_excess[r] = after - before;
            before = after;
        }
    }
    return CUBE24_OK;
}

/* Note a faulty group in a list of limited length, and count it in any case. */
static void note(cube24_place *places, size_t capacity, uint64_t *total, size_t row, size_t group,
                 enum cube24_fault fault)
{
    if (*total < capacity) {
        places[*total].row = row;
        places[*total].group = group;
        places[*total].fault = (uint64_t)fault;
    }
    ++*total;
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
            int8_t e[GROUP];
            load_group(weight + r * k, g, k, e);
            if (POPCOUNT[nonzero_mask(e)] > 2)
                note(places, capacity, total, r, g, CUBE24_FAULT_EXCESS);
        }
    }
    return CUBE24_OK;
}

int cube24_prune(const int8_t *weight, size_t n, size_t k, int policy, int8_t *out,
                 cube24_cost *cost)
{
    if (!fits(n, k))
        return CUBE24_E_SIZE;
    if (!known_policy(policy) || policy == CUBE24_POLICY_ERROR ||
        (n != 0 && k != 0 && (!weight || !out)))
        return CUBE24_E_ARGUMENT;
    cube24_cost sum = {0, 0, 0, 0, 0, 0};
    for (size_t r = 0; k != 0 && r < n; r++) {
        for (size_t g = 0; g < groups_of(k); g++) {
            int8_t e[GROUP];
            load_group(weight + r * k, g, k, e);
            const unsigned mask = nonzero_mask(e), keep = keep_by_policy(e, mask, policy);
            sum.groups += keep != mask;
            for (size_t p = 0; p < GROUP && g * GROUP + p < k; p++) {
                const unsigned size = (unsigned)(e[p] < 0 ? -e[p] : e[p]);
                sum.l1_total += size;
                sum.l2_total += size * size;
                if ((mask & ~keep) >> p & 1) {
                    sum.weights++;
                    sum.l1_removed += size;
                    sum.l2_removed += size * size;
                    e[p] = 0;
                }
                out[r * k + g * GROUP + p] = e[p];
            }
        }
    }
    if (cost)
        *cost = sum;
    return CUBE24_OK;
}

/* A stored matrix of which the first n rows and k columns are a weight. */
struct stored {
    const int8_t *dense;
    const uint8_t *index;
    size_t n_stored, k_stored, n, k;
};

/* What is wrong with group g of row r, by the rules that `flags` asks for. */
static enum cube24_fault inspect(const struct stored *s, size_t r, size_t g, uint32_t flags)
{
    const int8_t *dense = s->dense + r * (s->k_stored / 2) + 2 * g;
    const unsigned pair = pair_of_byte(s->index[r * (s->k_stored / PAIR) + g / 2], g % 2);
    int8_t e[GROUP];
    const enum cube24_fault fault = decode_group(dense, pair, e);
    if (fault != CUBE24_FAULT_NONE || !(flags & CUBE24_STRICT))
        return fault;
    if (r >= s->n || g * GROUP >= s->k) /* wholly padding: every byte is zero */
        return dense[0] || dense[1] || pair ? CUBE24_FAULT_PADDING : CUBE24_FAULT_NONE;
    for (size_t p = 0; p < GROUP; p++)
        if (g * GROUP + p >= s->k && e[p] != 0)
            return CUBE24_FAULT_PADDING;
    int8_t again[2];
    const unsigned canonical = encode_group(e, nonzero_mask(e), again);
    return canonical == pair && again[0] == dense[0] && again[1] == dense[1]
               ? CUBE24_FAULT_NONE
               : CUBE24_FAULT_NONCANONICAL;
}

static int stored_status(const struct stored *s, uint32_t flags, struct cube24_codec_kernels *kernels)
{
    if (!fits(s->n_stored, s->k_stored) || s->k_stored % PAIR != 0 || s->n > s->n_stored ||
        s->k > s->k_stored)
        return CUBE24_E_SIZE;
    if (!cube24_choose_codec(flags, CUBE24_STRICT, kernels))
        return CUBE24_E_ARGUMENT;
    if (s->n_stored != 0 && s->k_stored != 0 && (!s->dense || !s->index))
        return CUBE24_E_ARGUMENT;
    return CUBE24_OK;
}

/* Decode one row; gives its groups with an index of 3 or a conflict. The padding is read too. */
static uint64_t decode_row(const struct cube24_codec_kernels *kernels, const struct stored *s, size_t r,
                           int8_t *weight)
{
    const int8_t *dense = s->dense + r * (s->k_stored / 2);
    const uint8_t *index = s->index + r * (s->k_stored / PAIR);
    const size_t k = r < s->n ? s->k : 0, whole = k / PAIR;
    uint64_t refused = kernels->decode(dense, index, whole, weight);
    for (size_t p = whole; p < s->k_stored / PAIR; p++) {
        int8_t pair[PAIR];
        refused += kernels->decode(dense + p * GROUP, index + p, 1, pair);
        if (p * PAIR < k)
            memcpy(weight + p * PAIR, pair, k - p * PAIR);
    }
    return refused;
}

int cube24_decode(const int8_t *dense, const uint8_t *index, size_t n_stored, size_t k_stored,
                  size_t n, size_t k, uint32_t flags, int8_t *weight, uint64_t *faults)
{
    const struct stored s = {dense, index, n_stored, k_stored, n, k};
    struct cube24_codec_kernels kernels;
    const int status = stored_status(&s, flags, &kernels);
    if (status != CUBE24_OK)
        return status;
    if (n != 0 && k != 0 && !weight)
        return CUBE24_E_ARGUMENT;
    uint64_t counts[CUBE24_FAULT_KINDS] = {0}, refused = 0;
    for (size_t r = 0; k_stored != 0 && r < n_stored; r++) {
        int8_t *row = r < n && k != 0 ? weight + r * k : NULL;
        /* Only a row that the kernel refuses, or a strict reading, looks at each group. */
        if (decode_row(&kernels, &s, r, row) == 0 && !(flags & CUBE24_STRICT))
            continue;
        for (size_t g = 0; g < k_stored / GROUP; g++) {
            const enum cube24_fault fault = inspect(&s, r, g, flags);
            counts[fault]++;
            refused += fault != CUBE24_FAULT_NONE;
        }
    }
    if (faults) {
        counts[CUBE24_FAULT_NONE] = 0; /* good groups are not counted: not all were inspected */
        memcpy(faults, counts, sizeof counts);
    }
    return refused ? CUBE24_E_REFUSED : CUBE24_OK;
}

int cube24_list_refused(const int8_t *dense, const uint8_t *index, size_t n_stored,
                        size_t k_stored, size_t n, size_t k, uint32_t flags,
                        cube24_place *places, size_t capacity, uint64_t *total)
{
    const struct stored s = {dense, index, n_stored, k_stored, n, k};
    struct cube24_codec_kernels kernels;
    const int status = stored_status(&s, flags, &kernels);
    if (status != CUBE24_OK)
        return status;
    if (!total || (capacity != 0 && !places))
        return CUBE24_E_ARGUMENT;
    *total = 0;
    for (size_t r = 0; k_stored != 0 && r < n_stored; r++) {
        for (size_t g = 0; g < k_stored / GROUP; g++) {
            const enum cube24_fault fault = inspect(&s, r, g, flags);
            if (fault != CUBE24_FAULT_NONE)
                note(places, capacity, total, r, g, fault);
        }
    }
    return CUBE24_OK;
}
