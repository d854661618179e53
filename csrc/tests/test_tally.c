/* SPDX-License-Identifier: Apache-2.0
 * Tallies for coverage: beside a count that goes through all groups for each bit, and of one group
 * with every pair. */
#include "check.h"
#include "cube24.h"
#include "support.h"

enum { MOST_N = 20, MOST_K = 112, ROUNDS = 300 };

struct sample {
    size_t n, k_stored, m, k;
    int8_t dense[MOST_N * MOST_K / 2], x[MOST_N * MOST_K];
    uint8_t index[MOST_N * MOST_K / 8], counted[MOST_K / 4], classes[256];
    uint32_t flags;
};

static struct sample s;

static int slot_of(size_t row, size_t group, int slot)
{
    return s.dense[row * s.k_stored / 2 + 2 * group + (size_t)slot];
}

/* i0 or i1, bit by bit from the byte of docs/format.md, section 4. */
static unsigned index_of(size_t row, size_t group, int slot)
{
    const unsigned byte = s.index[row * (s.k_stored / 8) + group / 2];
    const unsigned first = (group % 2 ? 4u : 0u) + (slot ? 2u : 0u);
    return (byte >> first) % 4;
}

/* The element that a slot selects, or -1. */
static int element_of(size_t row, size_t group, int slot)
{
    const unsigned i0 = index_of(row, group, 0), i1 = index_of(row, group, 1);
    if (slot == 0)
        return i0 == 3 ? -1 : (int)i0;
    if (i0 == 2 && i1 == 0 && s.flags != 0)
        return 2;
    return i1 == 3 ? -1 : (int)i1 + 1;
}

static int is_kind(size_t row, size_t group, unsigned kind)
{
    return index_of(row, group, 0) == kind / 16 && index_of(row, group, 1) == kind / 4 % 4 &&
           (slot_of(row, group, 0) != 0) == (int)(kind / 2 % 2) &&
           (slot_of(row, group, 1) != 0) == (int)(kind % 2);
}

static unsigned class_of(int value)
{
    return s.classes[value < 0 ? value + 256 : value];
}

static void check_groups(const cube24_tally *got)
{
    for (unsigned kind = 0; kind < 64; kind++) {
        unsigned places = 0, columns = 0, slots[2] = {0, 0};
        for (size_t row = 0; row < s.n; row++)
            for (size_t group = 0; group < s.k_stored / 4; group++)
                if (s.counted[group] && is_kind(row, group, kind)) {
                    places |= 1u << group % 16;
                    columns |= 1u << row % 16;
                    for (int slot = 0; slot < 2; slot++)
                        slots[slot] |= class_of(slot_of(row, group, slot));
                }
        CHECK_EQUAL(got->places[kind], places);
        CHECK_EQUAL(got->columns[kind], columns);
        CHECK_EQUAL(got->slots[kind][0], slots[0]);
        CHECK_EQUAL(got->slots[kind][1], slots[1]);
    }
}

static void check_weights(const uint8_t *got)
{
    for (size_t k = 0; k < s.k_stored; k++) {
        unsigned wanted = 0;
        for (size_t row = 0; row < s.n; row++)
            for (int slot = 0; slot < 2; slot++)
                if (s.counted[k / 4] && element_of(row, k / 4, slot) == (int)(k % 4))
                    wanted |= class_of(slot_of(row, k / 4, slot));
        CHECK_EQUAL(got[k], wanted);
    }
}

static void check_matrix(const int16_t *got)
{
    for (size_t row = 0; row < s.n; row++)
        for (size_t k = 0; k < s.k_stored; k++) {
            int wanted = 0;
            for (int slot = 0; slot < 2; slot++)
                if (element_of(row, k / 4, slot) == (int)(k % 4))
                    wanted += slot_of(row, k / 4, slot);
            CHECK_EQUAL(got[row * s.k_stored + k], wanted);
        }
}

static void check_products(const uint8_t *got, const uint8_t *weights)
{
    for (unsigned bit = 0; bit < 8; bit++) {
        unsigned wanted = 0;
        for (size_t row = 0; row < s.m; row++)
            for (size_t k = 0; k < s.k_stored; k++)
                if (class_of(k < s.k ? s.x[row * s.k + k] : 0) >> bit & 1)
                    wanted |= weights[k];
        CHECK_EQUAL(got[bit], wanted);
    }
}

/* All calls, on buffers of exactly their sizes. */
static void check_sample(void)
{
    const struct exact dense = exact_copy(s.dense, s.n * s.k_stored / 2);
    const struct exact index = exact_copy(s.index, s.n * s.k_stored / 8);
    const struct exact counted = exact_copy(s.counted, s.k_stored / 4);
    const struct exact x = exact_copy(s.x, s.m * s.k);
    const struct guarded tally = guarded_words(sizeof(cube24_tally), FILLS[0]);
    const struct guarded weights = guarded_bytes(s.k_stored, FILLS[0]);
    const struct guarded matrix = guarded_words(s.n * s.k_stored * sizeof(int16_t), FILLS[1]);
    const struct guarded held = guarded_bytes(s.k_stored, FILLS[1]);
    const struct guarded products = guarded_bytes(8, FILLS[0]);
    cube24_tally *found = (cube24_tally *)(void *)tally.data;
    CHECK_EQUAL(cube24_tally_groups(exact_int8(dense), index.data, s.n, s.k_stored, counted.data,
                                    s.classes, s.flags, found, weights.data),
                CUBE24_OK);
    check_groups(found);
    check_weights(weights.data);
    int16_t *spread = (int16_t *)(void *)matrix.data;
    CHECK_EQUAL(cube24_spread_groups(exact_int8(dense), index.data, s.n, s.k_stored, s.flags, spread),
                CUBE24_OK);
    check_matrix(spread);
    CHECK_EQUAL(cube24_tally_products(exact_int8(x), s.m, s.k, weights.data, s.k_stored,
                                      s.classes, held.data, products.data),
                CUBE24_OK);
    check_products(products.data, weights.data);
    CHECK(is_intact(tally) && is_intact(weights) && is_intact(held) && is_intact(products));
    CHECK(is_intact(matrix));
    guarded_free(products);
    guarded_free(held);
    guarded_free(matrix);
    guarded_free(weights);
    guarded_free(tally);
    exact_free(x);
    exact_free(counted);
    exact_free(index);
    exact_free(dense);
}

static void random_bytes(uint64_t *state, uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        bytes[i] = (uint8_t)random_below(state, 256);
}

static void tallies_are_those_of_a_slow_count(void)
{
    uint64_t state = 24;
    for (int round = 0; round < ROUNDS; round++) {
        s.n = random_below(&state, 20);
        s.k_stored = 8 * random_below(&state, 14);
        s.m = random_below(&state, 5);
        s.k = s.k_stored == 0 ? 0 : s.k_stored - random_below(&state, 8);
        s.flags = round % 2 ? CUBE24_PAIR20_TABLE : 0;
        random_weight(&state, s.dense, s.n * s.k_stored / 2, 60);
        random_weight(&state, s.x, s.m * s.k, 80);
        random_bytes(&state, s.index, s.n * s.k_stored / 8);
        random_bytes(&state, s.classes, 256);
        for (size_t g = 0; g < s.k_stored / 4; g++)
            s.counted[g] = (uint8_t)random_below(&state, 3);
        check_sample();
    }
}

/* One group in each column and place of a fractal, with every pair and zero or not in each slot. */
static void every_kind_at_every_place(void)
{
    for (size_t i = 0; i < 256; i++)
        s.classes[i] = (uint8_t)(1u << i % 8);
    s.m = 1;
    s.k = s.k_stored = 64;
    for (unsigned kind = 0; kind < 64; kind++)
        for (size_t place = 0; place < 16; place++) {
            s.n = 1 + (place + kind) % 17;
            s.flags = place % 2 ? CUBE24_PAIR20_TABLE : 0;
            memset(s.dense, 0, sizeof s.dense);
            memset(s.index, 0, sizeof s.index);
            memset(s.counted, 0, sizeof s.counted);
            for (size_t i = 0; i < s.k; i++)
                s.x[i] = (int8_t)i;
            s.counted[place] = 1;
            const size_t at = (s.n - 1) * 16 + place;
            s.dense[2 * at] = (int8_t)(kind & 2 ? -3 : 0);
            s.dense[2 * at + 1] = (int8_t)(kind & 1 ? 5 : 0);
            s.index[at / 2] = (uint8_t)((kind / 16 + 4 * (kind / 4 % 4)) << (at % 2 ? 4 : 0));
            check_sample();
        }
}

#define REFUSES(call, status)                                                           \
    do {                                                                                \
        memset(&out, FILLS[0], sizeof out);                                             \
        CHECK_EQUAL(call, status);                                                      \
        CHECK(is_filled((const uint8_t *)&out, sizeof out, FILLS[0]));                  \
    } while (0)

static struct {
    cube24_tally tally;
    uint8_t bytes[16], products[8];
    int16_t matrix[8];
} out;

static void what_cannot_be_is_refused_and_nothing_written(void)
{
    static const int8_t dense[8];
    static const uint8_t bytes[256];
    const size_t most = (size_t)PTRDIFF_MAX;
#define GROUPS(d, i, n, k, c, classes, flags, t, w) \
    cube24_tally_groups(d, i, n, k, c, classes, flags, t, w)
    REFUSES(GROUPS(dense, bytes, 1, 12, bytes, bytes, 0, &out.tally, out.bytes), CUBE24_E_SIZE);
    REFUSES(GROUPS(dense, bytes, most, 16, bytes, bytes, 0, &out.tally, out.bytes), CUBE24_E_SIZE);
    REFUSES(GROUPS(dense, bytes, 1, 8, bytes, bytes, 1, &out.tally, out.bytes), CUBE24_E_ARGUMENT);
    REFUSES(GROUPS(NULL, bytes, 1, 8, bytes, bytes, 0, &out.tally, out.bytes), CUBE24_E_ARGUMENT);
    REFUSES(GROUPS(dense, NULL, 1, 8, bytes, bytes, 0, &out.tally, out.bytes), CUBE24_E_ARGUMENT);
    REFUSES(GROUPS(dense, bytes, 1, 8, NULL, bytes, 0, &out.tally, out.bytes), CUBE24_E_ARGUMENT);
    REFUSES(GROUPS(dense, bytes, 1, 8, bytes, NULL, 0, &out.tally, out.bytes), CUBE24_E_ARGUMENT);
    REFUSES(GROUPS(dense, bytes, 1, 8, bytes, bytes, 0, NULL, out.bytes), CUBE24_E_ARGUMENT);
    REFUSES(GROUPS(dense, bytes, 1, 8, bytes, bytes, 0, &out.tally, NULL), CUBE24_E_ARGUMENT);
#define SPREAD(d, i, n, k, flags, m) cube24_spread_groups(d, i, n, k, flags, m)
    REFUSES(SPREAD(dense, bytes, 1, 12, 0, out.matrix), CUBE24_E_SIZE);
    REFUSES(SPREAD(dense, bytes, most, 16, 0, out.matrix), CUBE24_E_SIZE);
    REFUSES(SPREAD(dense, bytes, most / 16 + 1, 8, 0, out.matrix), CUBE24_E_SIZE);
    REFUSES(SPREAD(dense, bytes, 1, 8, 1, out.matrix), CUBE24_E_ARGUMENT);
    REFUSES(SPREAD(NULL, bytes, 1, 8, 0, out.matrix), CUBE24_E_ARGUMENT);
    REFUSES(SPREAD(dense, NULL, 1, 8, 0, out.matrix), CUBE24_E_ARGUMENT);
    REFUSES(SPREAD(dense, bytes, 1, 8, 0, NULL), CUBE24_E_ARGUMENT);
#define PRODUCTS(x, m, k, w, stored, classes, h, p) \
    cube24_tally_products(x, m, k, w, stored, classes, h, p)
    REFUSES(PRODUCTS(dense, 1, 9, bytes, 8, bytes, out.bytes, out.products), CUBE24_E_SIZE);
    REFUSES(PRODUCTS(dense, most, 8, bytes, 8, bytes, out.bytes, out.products), CUBE24_E_SIZE);
    REFUSES(PRODUCTS(NULL, 1, 8, bytes, 8, bytes, out.bytes, out.products), CUBE24_E_ARGUMENT);
    REFUSES(PRODUCTS(dense, 1, 8, NULL, 8, bytes, out.bytes, out.products), CUBE24_E_ARGUMENT);
    REFUSES(PRODUCTS(dense, 1, 8, bytes, 8, NULL, out.bytes, out.products), CUBE24_E_ARGUMENT);
    REFUSES(PRODUCTS(dense, 1, 8, bytes, 8, bytes, NULL, out.products), CUBE24_E_ARGUMENT);
    REFUSES(PRODUCTS(dense, 1, 8, bytes, 8, bytes, out.bytes, NULL), CUBE24_E_ARGUMENT);
}

int main(void)
{
    tallies_are_those_of_a_slow_count();
    every_kind_at_every_place();
    what_cannot_be_is_refused_and_nothing_written();
    return check_report("test_tally");
}
