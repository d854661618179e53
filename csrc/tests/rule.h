/* SPDX-License-Identifier: Apache-2.0
 * The format as docs/format.md words it, slowly: what the tests compare the library with. It is
 * written from the document alone; sharing a line with the library would make both wrong alike. */
#ifndef RULE_H
#define RULE_H

#include <stddef.h>
#include <stdint.h>

#include "cube24.h"

/* The table of section 2: the elements, the index pair, the two slots. */
struct rule_row {
    const char *elements;
    int i0, i1;
    const char *slots;
};

enum { RULE_ROWS = 11 };

static const struct rule_row RULE_TABLE[RULE_ROWS] = {
    {"00XY", 2, 2, "XY"}, /* two */
    {"0X0Y", 1, 2, "XY"},
    {"X00Y", 0, 2, "XY"},
    {"0XY0", 1, 1, "XY"},
    {"X0Y0", 0, 1, "XY"},
    {"XY00", 0, 0, "XY"},
    {"000X", 0, 2, "0X"}, /* one */
    {"00X0", 2, 0, "X0"},
    {"0X00", 1, 0, "X0"},
    {"X000", 0, 0, "X0"},
    {"0000", 0, 0, "00"}, /* none */
};

/* The value that a letter of a row stands for. */
static inline int rule_value(char letter, int x, int y)
{
    return letter == 'X' ? x : letter == 'Y' ? y : 0;
}

/* The row for a group, with the values of its letters; NULL if there is none. */
static inline const struct rule_row *rule_find(const int e[4], int *x, int *y)
{
    for (int r = 0; r < RULE_ROWS; r++) {
        int matches = 1;
        *x = *y = 0;
        for (int p = 0; p < 4; p++) {
            const char letter = RULE_TABLE[r].elements[p];
            if ((letter == '0') != (e[p] == 0))
                matches = 0;
            if (letter == 'X')
                *x = e[p];
            if (letter == 'Y')
                *y = e[p];
        }
        if (matches)
            return &RULE_TABLE[r];
    }
    return NULL;
}

/* Encode a group: section 2. 0 if the group is not legal. */
static inline int rule_encode(const int e[4], int slots[2], int *i0, int *i1)
{
    int x, y;
    const struct rule_row *row = rule_find(e, &x, &y);
    if (!row)
        return 0;
    slots[0] = rule_value(row->slots[0], x, y);
    slots[1] = rule_value(row->slots[1], x, y);
    *i0 = row->i0;
    *i1 = row->i1;
    return 1;
}

/* Decode a group: the selection rule of section 1 and what section 8 refuses always. */
static inline int rule_decode(const int slots[2], int i0, int i1, int e[4])
{
    const int selected[2] = {i0, i1 + 1};
    e[0] = e[1] = e[2] = e[3] = 0;
    if (i0 == 3 || i1 == 3)
        return CUBE24_FAULT_INDEX3;
    if (slots[0] != 0 && slots[1] != 0 && selected[0] == selected[1])
        return CUBE24_FAULT_CONFLICT;
    for (int s = 0; s < 2; s++)
        e[selected[s]] += slots[s];
    return CUBE24_FAULT_NONE;
}

/* 1 if the encoder writes these bytes for the weight that they decode to. */
static inline int rule_is_canonical(const int slots[2], int i0, int i1, const int e[4])
{
    int again[2], j0, j1;
    return rule_encode(e, again, &j0, &j1) && again[0] == slots[0] && again[1] == slots[1] &&
           j0 == i0 && j1 == i1;
}

static inline int rule_nonzeros(const int e[4])
{
    return (e[0] != 0) + (e[1] != 0) + (e[2] != 0) + (e[3] != 0);
}

static inline int rule_size(int value)
{
    return value < 0 ? -value : value;
}

/* 1 if element p is one of the two of largest |value|, ties to the lowest position. */
static inline int rule_is_large(const int e[4], int p)
{
    int before = 0;
    for (int q = 0; q < 4; q++)
        before += rule_size(e[q]) > rule_size(e[p]) ||
                  (rule_size(e[q]) == rule_size(e[p]) && q < p);
    return before < 2;
}

/* 1 if element p is the first non-zero of e0..e2 or the last of e1..e3. */
static inline int rule_is_first_or_last(const int e[4], int p)
{
    int first = 0, last = 3;
    while (first < 2 && e[first] == 0)
        first++;
    while (last > 1 && e[last] == 0)
        last--;
    return p == first || p == last;
}

/* 1 if fewer than two non-zeros come before element p. */
static inline int rule_is_of_first_two(const int e[4], int p)
{
    int before = 0;
    for (int q = 0; q < p; q++)
        before += e[q] != 0;
    return before < 2;
}

/* What a policy of section 3 makes of a group; gives the number of weights it dropped. */
static inline int rule_reduce(const int e[4], int policy, int out[4])
{
    const int excess = rule_nonzeros(e) > 2;
    for (int p = 0; p < 4; p++) {
        const int keep = policy == CUBE24_POLICY_FIRST_TWO    ? rule_is_of_first_two(e, p)
                         : policy == CUBE24_POLICY_FIRST_LAST ? rule_is_first_or_last(e, p)
                                                              : rule_is_large(e, p);
        out[p] = !excess || keep ? e[p] : 0;
    }
    return rule_nonzeros(e) - rule_nonzeros(out);
}

/* --- rows and bytes: sections 4 and 5 ------------------------------------------------------- */

static inline size_t rule_k_stored(size_t k)
{
    while (k % 8 != 0)
        k++;
    return k;
}

/* Groups of which at least one element exists. */
static inline size_t rule_groups(size_t k)
{
    while (k % 4 != 0)
        k++;
    return k / 4;
}

/* Group g of row r of a weight; elements at k and beyond are zero. */
static inline void rule_group(const int8_t *weight, size_t k, size_t r, size_t g, int e[4])
{
    for (size_t p = 0; p < 4; p++)
        e[p] = 4 * g + p < k ? weight[r * k + 4 * g + p] : 0;
}

/* Put the index pair of a group where section 4 says; the byte starts as zero. */
static inline void rule_put_pair(uint8_t *index, size_t g, int i0, int i1)
{
    const int pair = i0 + 4 * i1;
    index[g / 2] = (uint8_t)(index[g / 2] + (g % 2 == 0 ? pair : 16 * pair));
}

static inline void rule_get_pair(const uint8_t *index, size_t g, int *i0, int *i1)
{
    const int pair = g % 2 == 0 ? index[g / 2] % 16 : index[g / 2] / 16;
    *i0 = pair % 4;
    *i1 = pair / 4;
}

/* Encode a weight, every group reduced by a policy first; what the policy did in *changes. */
static inline void rule_encode_weight(const int8_t *weight, size_t n, size_t k, int policy,
                                      int8_t *dense, uint8_t *index, cube24_changes *changes)
{
    const size_t stored = rule_k_stored(k);
    changes->groups = changes->weights = 0;
    for (size_t i = 0; i < n * stored / 8; i++)
        index[i] = 0;
    for (size_t r = 0; r < n; r++)
        for (size_t g = 0; g < stored / 4; g++) {
            int e[4], kept[4], slots[2] = {0, 0}, i0 = 0, i1 = 0;
            rule_group(weight, k, r, g, e);
            const int dropped = rule_reduce(e, policy, kept);
            changes->groups += dropped != 0;
            changes->weights += (uint64_t)dropped;
            rule_encode(kept, slots, &i0, &i1);
            dense[r * stored / 2 + 2 * g] = (int8_t)slots[0];
            dense[r * stored / 2 + 2 * g + 1] = (int8_t)slots[1];
            rule_put_pair(index + r * stored / 8, g, i0, i1);
        }
}

/* Bytes to decode, and the part of them that is a weight. */
struct rule_bytes {
    const int8_t *dense;
    const uint8_t *index;
    size_t n_stored, k_stored, n, k;
};

/* Judge group g of row r by section 8; the faults in the order of enum cube24_fault. */
static inline int rule_judge(const struct rule_bytes *b, int strict, size_t r, size_t g, int e[4])
{
    const int8_t *dense = b->dense + r * b->k_stored / 2 + 2 * g;
    const int slots[2] = {dense[0], dense[1]};
    int i0, i1;
    rule_get_pair(b->index + r * b->k_stored / 8, g, &i0, &i1);
    const int fault = rule_decode(slots, i0, i1, e);
    if (fault != CUBE24_FAULT_NONE || !strict)
        return fault;
    size_t inside = 0; /* elements of the group that belong to the weight */
    for (size_t p = 0; p < 4; p++) {
        const int belongs = r < b->n && 4 * g + p < b->k;
        inside += (size_t)belongs;
        if (!belongs && e[p] != 0)
            return CUBE24_FAULT_PADDING;
    }
    if (inside == 0 && (i0 != 0 || i1 != 0))
        return CUBE24_FAULT_PADDING;
    return rule_is_canonical(slots, i0, i1, e) ? CUBE24_FAULT_NONE : CUBE24_FAULT_NONCANONICAL;
}

#endif
