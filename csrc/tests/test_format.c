/* SPDX-License-Identifier: Apache-2.0
 * One group at a time: the table of section 2, the selection rule of section 1, the bits of
 * section 4 and the refusals of section 8, over every value that a group's bytes can have. */
#include "check.h"
#include "cube24.h"
#include "rule.h"
#include "support.h"

static const int EXTREMES[4] = {-128, -1, 1, 127};

/* Bytes of one index byte: two groups. */
struct pair_bytes {
    int8_t dense[4];
    uint8_t index;
};

static int encode_row(const int8_t *weight, size_t k, uint32_t flags, struct pair_bytes *bytes)
{
    return cube24_encode(weight, 1, k, CUBE24_POLICY_ERROR, flags, bytes->dense, &bytes->index,
                         NULL);
}

static int decode_row(const struct pair_bytes *bytes, size_t k, uint32_t flags, int8_t *weight)
{
    return cube24_decode(bytes->dense, &bytes->index, 1, 8, 1, k, flags, weight, NULL);
}

/* --- section 2 ------------------------------------------------------------------------------ */

/* A row of the table with its letters bound, in half 0 or 1 of the byte; the other group zero. */
static void check_row(const struct rule_row *row, int x, int y, int half, uint32_t flags)
{
    int8_t weight[8] = {0}, back[8] = {0};
    struct pair_bytes wanted = {{0}, 0}, got = {{0}, 0};
    for (int p = 0; p < 4; p++)
        weight[4 * half + p] = (int8_t)rule_value(row->elements[p], x, y);
    for (int s = 0; s < 2; s++)
        wanted.dense[2 * half + s] = (int8_t)rule_value(row->slots[s], x, y);
    wanted.index = (uint8_t)((row->i0 + 4 * row->i1) * (half ? 16 : 1));

    CHECK_EQUAL(encode_row(weight, 8, flags, &got), CUBE24_OK);
    CHECK(same_bytes(got.dense, wanted.dense, 4));
    CHECK_EQUAL(got.index, wanted.index);
    CHECK_EQUAL(decode_row(&wanted, 8, flags | CUBE24_STRICT, back), CUBE24_OK);
    CHECK(same_bytes(back, weight, 8));
}

static void every_row_of_the_table_at_the_extremes(uint32_t flags)
{
    for (int r = 0; r < RULE_ROWS; r++)
        for (int x = 0; x < 4; x++)
            for (int y = 0; y < 4; y++)
                for (int half = 0; half < 2; half++)
                    check_row(&RULE_TABLE[r], EXTREMES[x], EXTREMES[y], half, flags);
}

/* Masks of at most two non-zeros have a row, the five others do not. */
static void a_group_is_legal_if_the_table_has_a_row_for_it(uint32_t flags)
{
    int legal = 0;
    for (int mask = 0; mask < 16; mask++) {
        int8_t weight[4];
        int e[4], slots[2], i0, i1;
        struct pair_bytes bytes;
        for (int p = 0; p < 4; p++)
            weight[p] = (int8_t)(e[p] = mask >> p & 1 ? p + 1 : 0);
        const int has_row = rule_encode(e, slots, &i0, &i1);
        CHECK_EQUAL(encode_row(weight, 4, flags, &bytes),
                    has_row ? CUBE24_OK : CUBE24_E_VIOLATION);
        legal += has_row;
    }
    CHECK_EQUAL(legal, RULE_ROWS);
}

/* Only slot 1 reaches e3; the public generators write (X, 0) with (0, 2), which is X at e0. */
static void a_lone_non_zero_at_e3_goes_to_slot_1(uint32_t flags)
{
    const int8_t at_e3[4] = {0, 0, 0, -77}, at_e0[4] = {-77, 0, 0, 0};
    int8_t back[4];
    struct pair_bytes bytes = {{0}, 0};
    CHECK_EQUAL(encode_row(at_e3, 4, flags, &bytes), CUBE24_OK);
    CHECK_EQUAL(bytes.dense[0], 0);
    CHECK_EQUAL(bytes.dense[1], -77);
    CHECK_EQUAL(bytes.index, 0x8);

    const struct pair_bytes generator = {{-77, 0, 0, 0}, 0x8};
    CHECK_EQUAL(decode_row(&generator, 4, flags, back), CUBE24_OK);
    CHECK(same_bytes(back, at_e0, 4));
    CHECK_EQUAL(decode_row(&generator, 4, flags | CUBE24_STRICT, back), CUBE24_E_REFUSED);
}

/* --- section 4 ------------------------------------------------------------------------------ */

static void indices_1_2_0_1_make_the_byte_49(uint32_t flags)
{
    const uint8_t values[4] = {1, 2, 0, 1};
    const int8_t weight[8] = {0, 5, 0, -6, 7, 0, -8, 0}, dense[4] = {5, -6, 7, -8};
    uint8_t packed = 0;
    int8_t back[8];
    struct pair_bytes bytes;
    CHECK_EQUAL(cube24_pack_index(values, 4, &packed, NULL), CUBE24_OK);
    CHECK_EQUAL(packed, 0x49);
    CHECK_EQUAL(encode_row(weight, 8, flags, &bytes), CUBE24_OK);
    CHECK_EQUAL(bytes.index, 0x49);
    CHECK(same_bytes(bytes.dense, dense, 4));
    CHECK_EQUAL(decode_row(&bytes, 8, flags | CUBE24_STRICT, back), CUBE24_OK);
    CHECK(same_bytes(back, weight, 8));
}

/* --- section 8, by name --------------------------------------------------------------------- */

struct foreign {
    const char *what;
    int8_t slots[2];
    uint8_t index;
    int8_t elements[4];
};

/* Bytes that this encoder does not write, and the weight that the selection rule gives them. */
static const struct foreign FOREIGN[] = {
    {"lone e2 with (2,1), as newer editions of the guide have it", {9, 0}, 0x6, {0, 0, 9, 0}},
    {"lone e2 in slot 1", {0, 9}, 0x4, {0, 0, 9, 0}},
    {"lone e0 with (0,2): the generators' e3", {9, 0}, 0x8, {9, 0, 0, 0}},
    {"lone e0 with (0,1)", {9, 0}, 0x4, {9, 0, 0, 0}},
    {"lone e1 in slot 1", {0, 9}, 0x0, {0, 9, 0, 0}},
    {"lone e1 with (1,1)", {9, 0}, 0x5, {0, 9, 0, 0}},
    {"lone e3 with (2,2)", {0, 9}, 0xa, {0, 0, 0, 9}},
    {"two, high element in slot 0", {9, 8}, 0x2, {0, 8, 9, 0}},
    {"zero group with (2,2)", {0, 0}, 0xa, {0, 0, 0, 0}},
    {"zero group with (1,0)", {0, 0}, 0x1, {0, 0, 0, 0}},
};

static void other_pairs_decode_by_the_selection_rule_unless_strict(uint32_t flags)
{
    for (size_t f = 0; f < sizeof FOREIGN / sizeof FOREIGN[0]; f++) {
        const struct pair_bytes bytes = {{FOREIGN[f].slots[0], FOREIGN[f].slots[1], 0, 0},
                                         FOREIGN[f].index};
        uint64_t faults[CUBE24_FAULT_KINDS];
        int8_t back[4] = {0};
        if (!CHECK_EQUAL(decode_row(&bytes, 4, flags, back), CUBE24_OK) ||
            !CHECK(same_bytes(back, FOREIGN[f].elements, 4)))
            fprintf(stderr, "  that is: %s\n", FOREIGN[f].what);
        CHECK_EQUAL(cube24_decode(bytes.dense, &bytes.index, 1, 8, 1, 4, flags | CUBE24_STRICT,
                                  back, faults),
                    CUBE24_E_REFUSED);
        CHECK_EQUAL(faults[CUBE24_FAULT_NONCANONICAL], 1);
    }
}

static void an_index_of_3_is_named_before_a_conflict(uint32_t flags)
{
    /* (3, 2): slot 0 would be element 3, as slot 1 is, and both carry a weight */
    const struct pair_bytes bytes = {{1, 1, 0, 0}, 3 + 4 * 2};
    uint64_t faults[CUBE24_FAULT_KINDS];
    int8_t back[4];
    CHECK_EQUAL(cube24_decode(bytes.dense, &bytes.index, 1, 8, 1, 4, flags, back, faults),
                CUBE24_E_REFUSED);
    CHECK_EQUAL(faults[CUBE24_FAULT_INDEX3], 1);
    CHECK_EQUAL(faults[CUBE24_FAULT_CONFLICT], 0);
}

/* --- sections 1 and 8, every value ---------------------------------------------------------- */

enum { DENSE_PAIRS = 1 << 16 };

/* The group beside the one under test: canonical, and with no zero bits to hide behind. */
static const int8_t BESIDE_WEIGHT[4] = {0, 0, 93, -94};
enum { BESIDE_PAIR = 2 + 4 * 2 };
static const int8_t BESIDE_DENSE[2] = {93, -94};

/* Every dense pair under one index pair, in one half of each index byte. */
struct sweep {
    int8_t *dense;   /* 4 per byte */
    uint8_t *index;  /* 1 per byte */
    int8_t *weight;  /* 8 per byte: what the rule says */
    int8_t *decoded; /* 8 per byte: what the library says */
    uint8_t *fault;  /* 1 per byte, of the group under test */
    size_t half;
};

static struct sweep sweep_new(void)
{
    struct sweep s;
    s.dense = allocate(DENSE_PAIRS * 4);
    s.index = allocate(DENSE_PAIRS);
    s.weight = allocate(DENSE_PAIRS * 8);
    s.decoded = allocate(DENSE_PAIRS * 8);
    s.fault = allocate(DENSE_PAIRS);
    s.half = 0;
    return s;
}

static void sweep_free(struct sweep *s)
{
    free(s->dense);
    free(s->index);
    free(s->weight);
    free(s->decoded);
    free(s->fault);
}

static int sweep_rule(const int slots[2], int pair, int strict, int8_t weight[4])
{
    const int i0 = pair % 4, i1 = pair / 4;
    int e[4];
    int fault = rule_decode(slots, i0, i1, e);
    if (fault == CUBE24_FAULT_NONE && strict && !rule_is_canonical(slots, i0, i1, e))
        fault = CUBE24_FAULT_NONCANONICAL;
    for (int p = 0; p < 4; p++)
        weight[p] = (int8_t)e[p];
    return fault;
}

static void sweep_fill(struct sweep *s, int pair, size_t half, int strict)
{
    s->half = half;
    for (size_t i = 0; i < DENSE_PAIRS; i++) {
        const int slots[2] = {(int)(i % 256) - 128, (int)(i / 256) - 128};
        int8_t *dense = s->dense + 4 * i, *weight = s->weight + 8 * i;
        dense[2 * half] = (int8_t)slots[0];
        dense[2 * half + 1] = (int8_t)slots[1];
        memcpy(dense + 2 * (1 - half), BESIDE_DENSE, 2);
        memcpy(weight + 4 * (1 - half), BESIDE_WEIGHT, 4);
        s->index[i] = (uint8_t)(half ? 16 * pair + BESIDE_PAIR : pair + 16 * BESIDE_PAIR);
        s->fault[i] = (uint8_t)sweep_rule(slots, pair, strict, weight + 4 * half);
    }
}

/* Each byte in a call of its own: no other group can hide its fault. */
static void check_alone(const struct sweep *s, uint32_t flags)
{
    for (size_t i = 0; i < DENSE_PAIRS; i++) {
        uint64_t faults[CUBE24_FAULT_KINDS];
        int8_t weight[8];
        const int status = cube24_decode(s->dense + 4 * i, s->index + i, 1, 8, 1, 8, flags, weight,
                                         faults);
        if (s->fault[i] == CUBE24_FAULT_NONE) {
            CHECK_EQUAL(status, CUBE24_OK);
            CHECK(same_bytes(weight, s->weight + 8 * i, 8));
        } else {
            CHECK_EQUAL(status, CUBE24_E_REFUSED);
            CHECK_EQUAL(faults[s->fault[i]], 1);
        }
    }
}

/* All bytes in one call: the faults are counted, and listed where they are. */
static void check_together(const struct sweep *s, uint32_t flags)
{
    const size_t k = (size_t)DENSE_PAIRS * 8;
    uint64_t wanted[CUBE24_FAULT_KINDS] = {0}, faults[CUBE24_FAULT_KINDS], total = 0, listed = 0;
    cube24_place *places = allocate(DENSE_PAIRS * sizeof *places);
    CHECK_EQUAL(cube24_list_refused(s->dense, s->index, 1, k, 1, k, flags, places, DENSE_PAIRS,
                                    &total),
                CUBE24_OK);
    for (size_t i = 0; i < DENSE_PAIRS; i++) {
        if (s->fault[i] == CUBE24_FAULT_NONE)
            continue;
        wanted[s->fault[i]]++;
        const cube24_place *place = &places[listed++];
        CHECK(listed <= total && place->row == 0 && place->group == 2 * i + s->half &&
              place->fault == s->fault[i]);
    }
    CHECK_EQUAL(total, listed);
    CHECK_EQUAL(cube24_decode(s->dense, s->index, 1, k, 1, k, flags, s->decoded, faults),
                listed ? CUBE24_E_REFUSED : CUBE24_OK);
    for (int kind = 1; kind < CUBE24_FAULT_KINDS; kind++)
        CHECK_EQUAL(faults[kind], wanted[kind]);
    free(places);
}

/* The accepted bytes alone in one call: their weights. Overwrites the sweep. */
static size_t check_accepted(struct sweep *s, uint32_t flags)
{
    size_t accepted = 0;
    for (size_t i = 0; i < DENSE_PAIRS; i++) {
        if (s->fault[i] != CUBE24_FAULT_NONE)
            continue;
        memmove(s->dense + 4 * accepted, s->dense + 4 * i, 4);
        memmove(s->weight + 8 * accepted, s->weight + 8 * i, 8);
        s->index[accepted++] = s->index[i];
    }
    CHECK_EQUAL(cube24_decode(s->dense, s->index, 1, 8 * accepted, 1, 8 * accepted, flags,
                              s->decoded, NULL),
                CUBE24_OK);
    CHECK(same_bytes(s->decoded, s->weight, 8 * accepted));
    return accepted;
}

static size_t sweep_pairs(struct sweep *s, size_t half, int strict, uint32_t flags)
{
    size_t accepted = 0;
    for (int pair = 0; pair < 16; pair++) {
        sweep_fill(s, pair, half, strict);
        check_alone(s, flags);
        check_together(s, flags);
        accepted += check_accepted(s, flags);
    }
    return accepted;
}

/* Strict bytes and legal groups are one to one, so there are as many of the one as the document
 * counts of the other: 6 * 255^2 + 4 * 255 + 1. */
static void every_dense_pair_under_every_index_pair(uint32_t flags)
{
    struct sweep s = sweep_new();
    for (size_t half = 0; half < 2; half++) {
        sweep_pairs(&s, half, 0, flags);
        CHECK_EQUAL(sweep_pairs(&s, half, 1, flags | CUBE24_STRICT), 391171);
    }
    sweep_free(&s);
}

int main(void)
{
    on_every_path(every_row_of_the_table_at_the_extremes);
    on_every_path(a_group_is_legal_if_the_table_has_a_row_for_it);
    on_every_path(a_lone_non_zero_at_e3_goes_to_slot_1);
    on_every_path(indices_1_2_0_1_make_the_byte_49);
    on_every_path(other_pairs_decode_by_the_selection_rule_unless_strict);
    on_every_path(an_index_of_3_is_named_before_a_conflict);
    on_every_path(every_dense_pair_under_every_index_pair);
    return check_report("test_format");
}
