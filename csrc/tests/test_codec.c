/* SPDX-License-Identifier: Apache-2.0
 * Matrices: policies, counts, tails, padding and the lists of places, against the slow statement
 * of rule.h; every output between canaries, every input in an allocation of its exact size. */
#include "check.h"
#include "cube24.h"
#include "rule.h"
#include "support.h"

enum { POLICIES = 4 };

static const int PRUNING[3] = {CUBE24_POLICY_FIRST_TWO, CUBE24_POLICY_FIRST_LAST,
                               CUBE24_POLICY_MAGNITUDE};

/* --- what the rule says of a weight --------------------------------------------------------- */

struct encoded {
    int8_t *dense;
    uint8_t *index;
    size_t dense_size, index_size;
    cube24_changes changes;
};

static struct encoded encoded_by_rule(const int8_t *weight, size_t n, size_t k, int policy)
{
    struct encoded wanted;
    wanted.dense_size = n * rule_k_stored(k) / 2;
    wanted.index_size = n * rule_k_stored(k) / 8;
    wanted.dense = allocate(wanted.dense_size + 1);
    wanted.index = allocate(wanted.index_size + 1);
    rule_encode_weight(weight, n, k, policy, wanted.dense, wanted.index, &wanted.changes);
    return wanted;
}

static void encoded_free(struct encoded *wanted)
{
    free(wanted->dense);
    free(wanted->index);
}

/* What prune must give: the weight, and what it cost. */
static void prune_by_rule(const int8_t *weight, size_t n, size_t k, int policy, int8_t *out,
                          cube24_cost *cost)
{
    memset(cost, 0, sizeof *cost);
    for (size_t r = 0; r < n; r++)
        for (size_t g = 0; g < rule_groups(k); g++) {
            int e[4], kept[4];
            rule_group(weight, k, r, g, e);
            const int dropped = rule_reduce(e, policy, kept);
            cost->groups += dropped != 0;
            cost->weights += (uint64_t)dropped;
            for (size_t p = 0; p < 4; p++) {
                const uint64_t size = (uint64_t)rule_size(e[p]);
                const uint64_t lost = (uint64_t)rule_size(e[p] - kept[p]);
                cost->l1_total += size;
                cost->l2_total += size * size;
                cost->l1_removed += lost;
                cost->l2_removed += lost * lost;
                if (4 * g + p < k)
                    out[r * k + 4 * g + p] = (int8_t)kept[p];
            }
        }
}

/* --- one weight through every function that reads weights ----------------------------------- */

static void check_encode(const int8_t *weight, size_t n, size_t k, int policy, int fill,
                         uint32_t flags)
{
    struct encoded wanted = encoded_by_rule(weight, n, k, policy);
    const struct exact input = exact_copy(weight, n * k);
    const struct guarded dense = guarded_bytes(wanted.dense_size, fill);
    const struct guarded index = guarded_bytes(wanted.index_size, fill);
    cube24_changes changes = {99, 99};
    const int refuses = policy == CUBE24_POLICY_ERROR && wanted.changes.groups != 0;

    CHECK_EQUAL(cube24_encode(exact_int8(input), n, k, policy, flags, guarded_int8(dense),
                              index.data, &changes),
                refuses ? CUBE24_E_VIOLATION : CUBE24_OK);
    CHECK_EQUAL(changes.groups, wanted.changes.groups);
    CHECK_EQUAL(changes.weights, wanted.changes.weights);
    if (refuses) {
        CHECK(is_intact(dense) && is_intact(index));
    } else {
        CHECK(holds(dense, wanted.dense));
        CHECK(holds(index, wanted.index));
    }
    guarded_free(dense);
    guarded_free(index);
    exact_free(input);
    encoded_free(&wanted);
}

static void check_check(const int8_t *weight, size_t n, size_t k, int fill, uint32_t flags)
{
    uint64_t wanted[16] = {0}, *wanted_rows = allocate((n + 1) * sizeof *wanted_rows);
    for (size_t r = 0; r < n; r++) {
        wanted_rows[r] = 0;
        for (size_t g = 0; g < rule_groups(k); g++) {
            int e[4];
            rule_group(weight, k, r, g, e);
            wanted[(e[0] != 0) + 2 * (e[1] != 0) + 4 * (e[2] != 0) + 8 * (e[3] != 0)]++;
            wanted_rows[r] += rule_nonzeros(e) > 2;
        }
    }
    const struct exact input = exact_copy(weight, n * k);
    const struct guarded masks = guarded_words(sizeof wanted, fill);
    const struct guarded rows = guarded_words(n * sizeof *wanted_rows, fill);
    CHECK_EQUAL(cube24_check(exact_int8(input), n, k, flags, guarded_uint64(masks),
                             guarded_uint64(rows)),
                CUBE24_OK);
    CHECK(holds(masks, wanted));
    CHECK(holds(rows, wanted_rows));

    memset(masks.data, fill, sizeof wanted);
    CHECK_EQUAL(cube24_check(exact_int8(input), n, k, flags, guarded_uint64(masks), NULL),
                CUBE24_OK);
    CHECK(holds(masks, wanted));
    guarded_free(masks);
    guarded_free(rows);
    exact_free(input);
    free(wanted_rows);
}

/* The capacities that matter for a list of `total` places. */
static size_t capacity_of(int choice, size_t total)
{
    const size_t choices[4] = {0, 1, total / 2, total + 3};
    return choices[choice];
}

/* The first min(capacity, total) places were written, and nothing behind them. */
static void check_places(struct guarded places, size_t capacity, const cube24_place *wanted,
                         size_t total, int fill)
{
    const size_t written = (capacity < total ? capacity : total) * sizeof *wanted;
    CHECK(is_intact(places) && same_bytes(places.data, wanted, written));
    CHECK(is_filled(places.data + written, places.size - written, fill));
}

static void check_list_excess(const int8_t *weight, size_t n, size_t k, int fill)
{
    cube24_place *wanted = allocate((n * rule_groups(k) + 1) * sizeof *wanted);
    size_t total = 0;
    for (size_t r = 0; r < n; r++)
        for (size_t g = 0; g < rule_groups(k); g++) {
            int e[4];
            rule_group(weight, k, r, g, e);
            if (rule_nonzeros(e) > 2)
                wanted[total++] = (cube24_place){r, g, CUBE24_FAULT_EXCESS};
        }
    const struct exact input = exact_copy(weight, n * k);
    for (int choice = 0; choice < 4; choice++) {
        const size_t capacity = capacity_of(choice, total);
        const struct guarded places = guarded_words(capacity * sizeof *wanted, fill);
        uint64_t got = 99;
        CHECK_EQUAL(cube24_list_excess(exact_int8(input), n, k,
                                       capacity ? guarded_places(places) : NULL, capacity, &got),
                    CUBE24_OK);
        CHECK_EQUAL(got, total);
        check_places(places, capacity, wanted, total, fill);
        guarded_free(places);
    }
    exact_free(input);
    free(wanted);
}

static int same_cost(const cube24_cost *a, const cube24_cost *b)
{
    return a->groups == b->groups && a->weights == b->weights && a->l1_removed == b->l1_removed &&
           a->l1_total == b->l1_total && a->l2_removed == b->l2_removed &&
           a->l2_total == b->l2_total;
}

static void check_prune(const int8_t *weight, size_t n, size_t k, int policy, int fill,
                        uint32_t flags)
{
    int8_t *wanted = allocate(n * k + 1);
    cube24_cost wanted_cost, cost, cost_in_place;
    prune_by_rule(weight, n, k, policy, wanted, &wanted_cost);
    memset(&cost, fill, sizeof cost);
    memset(&cost_in_place, fill, sizeof cost_in_place);
    const struct exact input = exact_copy(weight, n * k);
    const struct guarded out = guarded_bytes(n * k, fill), same = guarded_bytes(n * k, fill);
    if (n * k != 0)
        memcpy(same.data, weight, n * k);

    CHECK_EQUAL(cube24_prune(exact_int8(input), n, k, policy, flags, guarded_int8(out), &cost),
                CUBE24_OK);
    CHECK(holds(out, wanted));
    CHECK(same_cost(&cost, &wanted_cost));
    CHECK(same_bytes(input.data, weight, n * k));
    CHECK_EQUAL(cube24_prune(guarded_int8(same), n, k, policy, flags, guarded_int8(same),
                             &cost_in_place),
                CUBE24_OK);
    CHECK(holds(same, wanted));
    CHECK(same_cost(&cost_in_place, &wanted_cost));
    guarded_free(out);
    guarded_free(same);
    exact_free(input);
    free(wanted);
}

static void check_weight(const int8_t *weight, size_t n, size_t k, int fill, uint32_t flags)
{
    for (int policy = 0; policy < POLICIES; policy++)
        check_encode(weight, n, k, policy, fill, flags);
    check_check(weight, n, k, fill, flags);
    for (size_t p = 0; p < sizeof PRUNING / sizeof PRUNING[0]; p++)
        check_prune(weight, n, k, PRUNING[p], fill, flags);
    if (flags == 0) /* it knows no paths: once is enough */
        check_list_excess(weight, n, k, fill);
}

/* --- policies ------------------------------------------------------------------------------- */

/* Distinct sizes in every order, so that each policy keeps something else. */
static void every_mask_under_every_policy(uint32_t flags)
{
    static const int8_t VALUES[4] = {3, -5, 9, -128};
    for (int order = 0; order < 256; order++) {
        const int at[4] = {order % 4, order / 4 % 4, order / 16 % 4, order / 64};
        if (at[0] == at[1] || at[0] == at[2] || at[0] == at[3] || at[1] == at[2] ||
            at[1] == at[3] || at[2] == at[3])
            continue;
        for (int mask = 0; mask < 16; mask++) {
            int8_t weight[4];
            for (int p = 0; p < 4; p++)
                weight[p] = mask >> p & 1 ? VALUES[at[p]] : 0;
            check_weight(weight, 1, 4, FILLS[0], flags);
        }
    }
}

/* -128 is larger than 127; equal sizes of either sign keep the lower position. */
static void magnitude_breaks_ties_to_the_lower_position(uint32_t flags)
{
    static const int8_t VALUES[8] = {0, 1, -1, 2, 127, -127, -128, 64};
    for (int choice = 0; choice < 8 * 8 * 8 * 8; choice++) {
        const int8_t weight[4] = {VALUES[choice % 8], VALUES[choice / 8 % 8],
                                  VALUES[choice / 64 % 8], VALUES[choice / 512]};
        check_encode(weight, 1, 4, CUBE24_POLICY_MAGNITUDE, FILLS[0], flags);
        check_prune(weight, 1, 4, CUBE24_POLICY_MAGNITUDE, FILLS[0], flags);
    }
}

/* The same in words of the document rather than of rule.h: one literal answer per policy. */
static void each_policy_keeps_what_its_name_says(uint32_t flags)
{
    static const int8_t WEIGHT[8] = {4, -7, 7, 9, 0, 5, -128, 127};
    static const int8_t KEPT[POLICIES][4] = {
        [CUBE24_POLICY_FIRST_TWO] = {4, -7, 5, -128},
        [CUBE24_POLICY_FIRST_LAST] = {4, 9, 5, 127},
        [CUBE24_POLICY_MAGNITUDE] = {-7, 9, -128, 127},
    };
    /* pairs (0,0) (1,1); (0,2) (1,2); (1,2) (2,2) */
    static const uint8_t INDEX[POLICIES] = {0, 0x50, 0x98, 0xa9};
    for (int policy = CUBE24_POLICY_FIRST_TWO; policy < POLICIES; policy++) {
        int8_t dense[4];
        uint8_t index;
        cube24_changes changes;
        CHECK_EQUAL(cube24_encode(WEIGHT, 1, 8, policy, flags, dense, &index, &changes),
                    CUBE24_OK);
        CHECK(same_bytes(dense, KEPT[policy], 4));
        CHECK_EQUAL(index, INDEX[policy]);
        CHECK_EQUAL(changes.groups, 2);
        CHECK_EQUAL(changes.weights, 3);
    }
}

/* --- shapes --------------------------------------------------------------------------------- */

enum { MOST_ROWS = 5, MOST_COLUMNS = 40, DENSITIES = 3 };

/* Mostly legal, mixed, mostly in excess. */
static const size_t PERCENT[DENSITIES] = {25, 55, 95};

static void every_small_shape_and_nothing_outside(uint32_t flags)
{
    int8_t weight[MOST_ROWS * MOST_COLUMNS];
    uint64_t state = 24;
    for (size_t n = 0; n <= MOST_ROWS; n++)
        for (size_t k = 0; k <= MOST_COLUMNS; k++)
            for (size_t density = 0; density < DENSITIES; density++) {
                random_weight(&state, weight, n * k, PERCENT[density]);
                for (int f = 0; f < 2; f++)
                    check_weight(weight, n, k, FILLS[f], flags);
            }
}

/* Around the widths that a vector path may take at once. */
static void long_rows_and_nothing_outside(uint32_t flags)
{
    static const size_t NEAR[] = {48, 64, 96, 128, 192, 256, 512, 1024, 2048};
    int8_t weight[2 * (2048 + 9)];
    uint64_t state = 2024;
    for (size_t w = 0; w < sizeof NEAR / sizeof NEAR[0]; w++)
        for (size_t k = NEAR[w] - 9; k <= NEAR[w] + 9; k++) {
            random_weight(&state, weight, 2 * k, PERCENT[k % DENSITIES]);
            for (int f = 0; f < 2; f++)
                check_weight(weight, 2, k, FILLS[f], flags);
        }
}

/* --- every legal group ---------------------------------------------------------------------- */

enum { LEGAL_GROUPS = 391171 };

/* All groups of at most two non-zeros, by position and value of those. */
static size_t list_legal_groups(int8_t *weight)
{
    size_t groups = 0;
    memset(weight, 0, (size_t)LEGAL_GROUPS * 4);
    groups++; /* the zero group */
    for (size_t p = 0; p < 4; p++)
        for (int x = -128; x < 128; x++)
            if (x != 0)
                weight[4 * groups++ + p] = (int8_t)x;
    for (size_t p = 0; p < 4; p++)
        for (size_t q = p + 1; q < 4; q++)
            for (int x = -128; x < 128; x++)
                for (int y = -128; y < 128; y++)
                    if (x != 0 && y != 0) {
                        weight[4 * groups + p] = (int8_t)x;
                        weight[4 * groups++ + q] = (int8_t)y;
                    }
    return groups;
}

static void every_legal_group_encodes_and_comes_back(uint32_t flags)
{
    const size_t k = (size_t)LEGAL_GROUPS * 4, stored = k + 4;
    int8_t *weight = allocate(k), *back = allocate(k), *dense = allocate(stored / 2);
    uint8_t *index = allocate(stored / 8);
    CHECK_EQUAL(list_legal_groups(weight), LEGAL_GROUPS);
    struct encoded wanted = encoded_by_rule(weight, 1, k, CUBE24_POLICY_ERROR);
    CHECK_EQUAL(cube24_encode(weight, 1, k, CUBE24_POLICY_ERROR, flags, dense, index, NULL),
                CUBE24_OK);
    CHECK(same_bytes(dense, wanted.dense, wanted.dense_size));
    CHECK(same_bytes(index, wanted.index, wanted.index_size));
    CHECK_EQUAL(
        cube24_decode(dense, index, 1, stored, 1, k, flags | CUBE24_STRICT, back, NULL),
        CUBE24_OK);
    CHECK(same_bytes(back, weight, k));
    encoded_free(&wanted);
    free(index);
    free(dense);
    free(back);
    free(weight);
}

/* --- decode --------------------------------------------------------------------------------- */

/* What the rule says of stored bytes. */
struct judged {
    uint64_t faults[CUBE24_FAULT_KINDS], total;
    cube24_place *places;
    int8_t *weight;
};

static struct judged judge_by_rule(const struct rule_bytes *b, int strict)
{
    struct judged wanted;
    memset(wanted.faults, 0, sizeof wanted.faults);
    wanted.total = 0;
    wanted.places = allocate((b->n_stored * b->k_stored / 4 + 1) * sizeof *wanted.places);
    wanted.weight = allocate(b->n * b->k + 1);
    for (size_t r = 0; r < b->n_stored; r++)
        for (size_t g = 0; g < b->k_stored / 4; g++) {
            int e[4];
            const int fault = rule_judge(b, strict, r, g, e);
            for (size_t p = 0; p < 4; p++)
                if (r < b->n && 4 * g + p < b->k)
                    wanted.weight[r * b->k + 4 * g + p] = (int8_t)e[p];
            if (fault == CUBE24_FAULT_NONE)
                continue;
            wanted.faults[fault]++;
            wanted.places[wanted.total++] = (cube24_place){r, g, (uint64_t)fault};
        }
    return wanted;
}

static void judged_free(struct judged *wanted)
{
    free(wanted->places);
    free(wanted->weight);
}

static void check_decode(const struct rule_bytes *b, const struct judged *wanted, int fill,
                         uint32_t flags)
{
    const struct guarded weight = guarded_bytes(b->n * b->k, fill);
    const struct guarded faults = guarded_words(sizeof wanted->faults, fill);
    const int status = wanted->total ? CUBE24_E_REFUSED : CUBE24_OK;
    CHECK_EQUAL(cube24_decode(b->dense, b->index, b->n_stored, b->k_stored, b->n, b->k, flags,
                              guarded_int8(weight), guarded_uint64(faults)),
                status);
    CHECK(is_intact(faults));
    for (size_t kind = 0; kind < CUBE24_FAULT_KINDS; kind++)
        CHECK_EQUAL(guarded_uint64(faults)[kind], wanted->faults[kind]);
    CHECK(wanted->total ? is_intact(weight) : holds(weight, wanted->weight));
    CHECK_EQUAL(cube24_decode(b->dense, b->index, b->n_stored, b->k_stored, b->n, b->k, flags,
                              guarded_int8(weight), NULL),
                status);
    guarded_free(weight);
    guarded_free(faults);
}

static void check_list_refused(const struct rule_bytes *b, const struct judged *wanted, int fill,
                               uint32_t flags)
{
    for (int choice = 0; choice < 4; choice++) {
        const size_t capacity = capacity_of(choice, wanted->total);
        const struct guarded places = guarded_words(capacity * sizeof(cube24_place), fill);
        uint64_t total = 99;
        CHECK_EQUAL(cube24_list_refused(b->dense, b->index, b->n_stored, b->k_stored, b->n, b->k,
                                        flags, capacity ? guarded_places(places) : NULL, capacity,
                                        &total),
                    CUBE24_OK);
        CHECK_EQUAL(total, wanted->total);
        check_places(places, capacity, wanted->places, wanted->total, fill);
        guarded_free(places);
    }
}

/* Stored bytes through decode and list_refused, default and strict. Gives the places refused by
 * default, and by strict in *refused_strict (may be NULL). */
static uint64_t check_bytes(const struct rule_bytes *b, uint32_t flags, uint64_t *refused_strict)
{
    const size_t dense_size = b->n_stored * b->k_stored / 2;
    const struct exact dense = exact_copy(b->dense, dense_size);
    const struct exact index = exact_copy(b->index, dense_size / 4);
    struct rule_bytes exact = *b;
    exact.dense = exact_int8(dense);
    exact.index = index.data;
    uint64_t refused[2];
    for (int strict = 0; strict < 2; strict++) {
        struct judged wanted = judge_by_rule(&exact, strict);
        const uint32_t all = flags | (strict ? (uint32_t)CUBE24_STRICT : 0);
        for (int f = 0; f < 2; f++)
            check_decode(&exact, &wanted, FILLS[f], all);
        check_list_refused(&exact, &wanted, FILLS[0], all);
        refused[strict] = wanted.total;
        judged_free(&wanted);
    }
    exact_free(dense);
    exact_free(index);
    if (refused_strict)
        *refused_strict = refused[1];
    return refused[0];
}

enum { MOST_STORED_ROWS = 4, MOST_STORED_COLUMNS = 48 };

/* A stored matrix that a test may spoil. */
struct bytes {
    int8_t dense[MOST_STORED_ROWS * MOST_STORED_COLUMNS / 2];
    uint8_t index[MOST_STORED_ROWS * MOST_STORED_COLUMNS / 8];
    struct rule_bytes b;
};

static void bytes_shape(struct bytes *s, size_t n_stored, size_t k_stored, size_t n, size_t k)
{
    memset(s, 0, sizeof *s);
    s->b = (struct rule_bytes){s->dense, s->index, n_stored, k_stored, n, k};
}

static void set_group(struct bytes *s, size_t r, size_t g, int slot0, int slot1, int i0, int i1)
{
    uint8_t *index = s->index + r * s->b.k_stored / 8;
    int j0, j1;
    s->dense[r * s->b.k_stored / 2 + 2 * g] = (int8_t)slot0;
    s->dense[r * s->b.k_stored / 2 + 2 * g + 1] = (int8_t)slot1;
    rule_get_pair(index, g ^ 1, &j0, &j1);
    index[g / 2] = 0;
    rule_put_pair(index, g, i0, i1);
    rule_put_pair(index, g ^ 1, j0, j1);
}

/* Bytes of a random legal weight, padding zero. */
static void set_legal(struct bytes *s, uint64_t *state)
{
    int8_t weight[MOST_STORED_ROWS * MOST_STORED_COLUMNS] = {0};
    for (size_t r = 0; r < s->b.n; r++)
        random_weight(state, weight + r * s->b.k_stored, s->b.k, 50);
    cube24_changes changes;
    rule_encode_weight(weight, s->b.n_stored, s->b.k_stored, CUBE24_POLICY_MAGNITUDE, s->dense,
                       s->index, &changes);
}

/* Random bytes: indices 0..2, or with a 3 now and then; dense weights often zero. */
static void set_random(struct bytes *s, uint64_t *state, int index3)
{
    random_weight(state, s->dense, s->b.n_stored * s->b.k_stored / 2, 40);
    for (size_t i = 0; i < s->b.n_stored * s->b.k_stored / 8; i++) {
        s->index[i] = 0;
        for (size_t v = 0, scale = 1; v < 4; v++, scale *= 4) {
            const size_t value =
                index3 && random_below(state, 20) == 0 ? 3 : random_below(state, 3);
            s->index[i] = (uint8_t)(s->index[i] + value * scale);
        }
    }
}

static void every_part_of_a_stored_matrix_decodes(uint32_t flags)
{
    struct bytes s;
    uint64_t state = 7, strict;
    for (size_t n_stored = 0; n_stored <= MOST_STORED_ROWS; n_stored++)
        for (size_t k_stored = 0; k_stored <= MOST_STORED_COLUMNS; k_stored += 8)
            for (size_t n = 0; n <= n_stored; n++)
                for (size_t k = 0; k <= k_stored; k++) {
                    bytes_shape(&s, n_stored, k_stored, n, k);
                    set_legal(&s, &state);
                    CHECK_EQUAL(check_bytes(&s.b, flags, &strict), 0);
                    CHECK_EQUAL(strict, 0);
                    set_random(&s, &state, (int)(k % 2));
                    check_bytes(&s.b, flags, NULL);
                }
}

/* Strict is no more than: the encoder writes these very bytes, and zeros around them. */
static void strict_accepts_what_the_encoder_writes(uint32_t flags)
{
    struct bytes s;
    uint64_t state = 11;
    for (size_t k = 0; k <= MOST_STORED_COLUMNS; k++) {
        int8_t back[MOST_STORED_COLUMNS], dense[MOST_STORED_COLUMNS / 2];
        uint8_t index[MOST_STORED_COLUMNS / 8];
        const size_t stored = rule_k_stored(k);
        bytes_shape(&s, 1, stored, 1, k);
        set_legal(&s, &state);
        CHECK_EQUAL(cube24_decode(s.dense, s.index, 1, stored, 1, k, flags | CUBE24_STRICT, back,
                                  NULL),
                    CUBE24_OK);
        CHECK_EQUAL(
            cube24_encode(back, 1, k, CUBE24_POLICY_ERROR, flags, dense, index, NULL), CUBE24_OK);
        CHECK(same_bytes(dense, s.dense, stored / 2) && same_bytes(index, s.index, stored / 8));
    }
}

/* --- padding -------------------------------------------------------------------------------- */

struct spoiled {
    size_t row, group;
    int slot0, slot1, i0, i1;
    int fault, fault_strict;
};

/* Around a weight of 2 x 5 in 4 x 24: group 1 holds element 4 and three padding elements, group 2
 * and on, and rows 2 and on, are padding as a whole. */
static const struct spoiled SPOILED[] = {
    {0, 1, 7, 8, 0, 0, CUBE24_FAULT_NONE, CUBE24_FAULT_PADDING},
    {0, 1, 0, 8, 0, 2, CUBE24_FAULT_NONE, CUBE24_FAULT_PADDING},
    {1, 1, 7, 0, 0, 2, CUBE24_FAULT_NONE, CUBE24_FAULT_NONCANONICAL},
    {1, 1, 0, 0, 2, 2, CUBE24_FAULT_NONE, CUBE24_FAULT_NONCANONICAL},
    {1, 1, 7, 8, 1, 0, CUBE24_FAULT_CONFLICT, CUBE24_FAULT_CONFLICT},
    {0, 2, 7, 0, 0, 0, CUBE24_FAULT_NONE, CUBE24_FAULT_PADDING},
    {0, 5, 0, 7, 0, 2, CUBE24_FAULT_NONE, CUBE24_FAULT_PADDING},
    {1, 3, 0, 0, 1, 0, CUBE24_FAULT_NONE, CUBE24_FAULT_PADDING},
    {2, 0, 7, 8, 0, 0, CUBE24_FAULT_NONE, CUBE24_FAULT_PADDING},
    {3, 5, 0, 0, 0, 1, CUBE24_FAULT_NONE, CUBE24_FAULT_PADDING},
    {0, 2, 0, 0, 3, 0, CUBE24_FAULT_INDEX3, CUBE24_FAULT_INDEX3},
    {1, 5, 0, 0, 0, 3, CUBE24_FAULT_INDEX3, CUBE24_FAULT_INDEX3},
    {2, 0, 0, 0, 3, 3, CUBE24_FAULT_INDEX3, CUBE24_FAULT_INDEX3},
    {3, 5, 1, 1, 3, 2, CUBE24_FAULT_INDEX3, CUBE24_FAULT_INDEX3},
    {0, 4, 7, 8, 2, 1, CUBE24_FAULT_CONFLICT, CUBE24_FAULT_CONFLICT},
    {3, 0, 7, 8, 1, 0, CUBE24_FAULT_CONFLICT, CUBE24_FAULT_CONFLICT},
};

/* Exactly this fault, at exactly this place. */
static void check_only_fault(const struct bytes *s, const struct spoiled *where, int fault,
                             uint32_t flags)
{
    cube24_place place = {99, 99, 99};
    uint64_t total = 99;
    CHECK_EQUAL(cube24_list_refused(s->dense, s->index, s->b.n_stored, s->b.k_stored, s->b.n,
                                    s->b.k, flags, &place, 1, &total),
                CUBE24_OK);
    CHECK_EQUAL(total, fault != CUBE24_FAULT_NONE);
    if (fault != CUBE24_FAULT_NONE)
        CHECK(place.row == where->row && place.group == where->group &&
              place.fault == (uint64_t)fault);
}

static void padding_is_ignored_unless_it_is_refused_always_or_strictly(uint32_t flags)
{
    uint64_t state = 5;
    for (size_t c = 0; c < sizeof SPOILED / sizeof SPOILED[0]; c++) {
        const struct spoiled *spoil = &SPOILED[c];
        struct bytes s;
        bytes_shape(&s, 4, 24, 2, 5);
        set_legal(&s, &state);
        set_group(&s, spoil->row, spoil->group, spoil->slot0, spoil->slot1, spoil->i0, spoil->i1);
        check_only_fault(&s, spoil, spoil->fault, flags);
        check_only_fault(&s, spoil, spoil->fault_strict, flags | CUBE24_STRICT);
        check_bytes(&s.b, flags, NULL);
    }
}

/* --- one bad group among many --------------------------------------------------------------- */

enum { CROWD_COLUMNS = 1024 };

/* A fault of each kind at each place of a long row, alone, so that no lane of a vector path can
 * lose it. */
static void one_bad_group_is_found_wherever_it_is(uint32_t flags)
{
    static const struct spoiled KINDS[] = {
        {0, 0, 0, 0, 3, 0, CUBE24_FAULT_INDEX3, CUBE24_FAULT_INDEX3},
        {0, 0, 0, 0, 0, 3, CUBE24_FAULT_INDEX3, CUBE24_FAULT_INDEX3},
        {0, 0, 1, -1, 1, 0, CUBE24_FAULT_CONFLICT, CUBE24_FAULT_CONFLICT},
        {0, 0, -128, -128, 2, 1, CUBE24_FAULT_CONFLICT, CUBE24_FAULT_CONFLICT},
        {0, 0, 0, 0, 1, 1, CUBE24_FAULT_NONE, CUBE24_FAULT_NONCANONICAL},
    };
    static int8_t dense[CROWD_COLUMNS / 2], back[CROWD_COLUMNS];
    static uint8_t index[CROWD_COLUMNS / 8];
    for (size_t kind = 0; kind < sizeof KINDS / sizeof KINDS[0]; kind++)
        for (size_t g = 0; g < CROWD_COLUMNS / 4; g++) {
            memset(dense, 0, sizeof dense);
            memset(index, 0, sizeof index);
            dense[2 * g] = (int8_t)KINDS[kind].slot0;
            dense[2 * g + 1] = (int8_t)KINDS[kind].slot1;
            rule_put_pair(index, g, KINDS[kind].i0, KINDS[kind].i1);
            for (int strict = 0; strict < 2; strict++) {
                const int fault = strict ? KINDS[kind].fault_strict : KINDS[kind].fault;
                uint64_t faults[CUBE24_FAULT_KINDS];
                CHECK_EQUAL(cube24_decode(dense, index, 1, CROWD_COLUMNS, 1, CROWD_COLUMNS,
                                          flags | (strict ? (uint32_t)CUBE24_STRICT : 0), back,
                                          faults),
                            fault ? CUBE24_E_REFUSED : CUBE24_OK);
                for (int f = 1; f < CUBE24_FAULT_KINDS; f++)
                    CHECK_EQUAL(faults[f], f == fault);
            }
        }
}

static void one_group_in_excess_is_found_wherever_it_is(uint32_t flags)
{
    static const int8_t EXCESS[5][4] = {
        {1, 1, 1, 0}, {1, 1, 0, 1}, {1, 0, 1, 1}, {0, 1, 1, 1}, {-128, 64, 32, 16}};
    static int8_t weight[CROWD_COLUMNS];
    for (size_t kind = 0; kind < 5; kind++)
        for (size_t g = 0; g < CROWD_COLUMNS / 4; g++) {
            memset(weight, 0, sizeof weight);
            memcpy(weight + 4 * g, EXCESS[kind], 4);
            for (int policy = 0; policy < POLICIES; policy++)
                check_encode(weight, 1, CROWD_COLUMNS, policy, FILLS[0], flags);
            check_check(weight, 1, CROWD_COLUMNS, FILLS[0], flags);
        }
}

/* --- exact norms ---------------------------------------------------------------------------- */

/* Sums that 32 bits do not hold: all -128, half of each group goes. */
static void norms_of_pruning_are_exact(uint32_t flags)
{
    const size_t k = (size_t)1 << 19;
    int8_t *weight = allocate(k);
    cube24_cost cost;
    memset(weight, -128, k);
    CHECK_EQUAL(cube24_prune(weight, 1, k, CUBE24_POLICY_MAGNITUDE, flags, weight, &cost),
                CUBE24_OK);
    CHECK_EQUAL(cost.groups, 131072);
    CHECK_EQUAL(cost.weights, 262144);
    CHECK_EQUAL(cost.l1_total, 67108864);
    CHECK_EQUAL(cost.l1_removed, 33554432);
    CHECK_EQUAL(cost.l2_total, 8589934592);
    CHECK_EQUAL(cost.l2_removed, 4294967296);
    free(weight);
}

int main(void)
{
    on_every_path(every_mask_under_every_policy);
    on_every_path(magnitude_breaks_ties_to_the_lower_position);
    on_every_path(each_policy_keeps_what_its_name_says);
    on_every_path(every_small_shape_and_nothing_outside);
    on_every_path(long_rows_and_nothing_outside);
    on_every_path(every_legal_group_encodes_and_comes_back);
    on_every_path(every_part_of_a_stored_matrix_decodes);
    on_every_path(strict_accepts_what_the_encoder_writes);
    on_every_path(padding_is_ignored_unless_it_is_refused_always_or_strictly);
    on_every_path(one_bad_group_is_found_wherever_it_is);
    on_every_path(one_group_in_excess_is_found_wherever_it_is);
    on_every_path(norms_of_pruning_are_exact);
    return check_report("test_codec");
}
