/* SPDX-License-Identifier: Apache-2.0
 *
 * The 2:4 format, in one place: read it beside docs/format.md. Everything that knows what an index
 * pair means, or in which bits it stands, is here; the other files move groups about.
 */
#ifndef CUBE24_FORMAT_H
#define CUBE24_FORMAT_H

#include <stddef.h>
#include <stdint.h>

#include "cube24.h"

enum { GROUP = 4, PAIR = 8 }; /* elements of a group; of the two groups that share a byte */

/* A slot that carries no non-zero. It reads the zero that stands behind the four elements. */
enum { NO_ELEMENT = 4 };

struct rule {
    uint8_t i0, i1;       /* the index pair */
    uint8_t slot0, slot1; /* element of each slot, or NO_ELEMENT */
};

/* The encoding, by non-zero mask: bit p is set if element p is not zero. The rows of three and
 * four non-zeros have no encoding, a policy reduces them first; they are valid rows all the same,
 * so that a kernel never reads outside a group. */
static const struct rule RULES[16] = {
    /* mask    i0 i1 slot 0, slot 1                e0 to e3 */
    /* 0x0 */ {0, 0, NO_ELEMENT, NO_ELEMENT},   /* 0 0 0 0 */
    /* 0x1 */ {0, 0, 0, NO_ELEMENT},            /* X 0 0 0 */
    /* 0x2 */ {1, 0, 1, NO_ELEMENT},            /* 0 X 0 0 */
    /* 0x3 */ {0, 0, 0, 1},                     /* X Y 0 0 */
    /* 0x4 */ {2, 0, 2, NO_ELEMENT},            /* 0 0 X 0 */
    /* 0x5 */ {0, 1, 0, 2},                     /* X 0 Y 0 */
    /* 0x6 */ {1, 1, 1, 2},                     /* 0 X Y 0 */
    /* 0x7 */ {0, 0, 0, 1},                     /* excess */
    /* 0x8 */ {0, 2, NO_ELEMENT, 3},            /* 0 0 0 X: only slot 1 reaches element 3 */
    /* 0x9 */ {0, 2, 0, 3},                     /* X 0 0 Y */
    /* 0xa */ {1, 2, 1, 3},                     /* 0 X 0 Y */
    /* 0xb */ {0, 0, 0, 1},                     /* excess */
    /* 0xc */ {2, 2, 2, 3},                     /* 0 0 X Y */
    /* 0xd */ {0, 1, 0, 2},                     /* excess */
    /* 0xe */ {1, 1, 1, 2},                     /* excess */
    /* 0xf */ {0, 0, 0, 1},                     /* excess */
};

/* Non-zeros of a mask. */
static const uint8_t POPCOUNT[16] = {0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4};

/* The elements that a policy keeps, by mask; a mask of two or fewer non-zeros keeps itself. */
static const uint8_t KEEP_FIRST_TWO[16] = {
    0x0, 0x1, 0x2, 0x3, 0x4, 0x5, 0x6, 0x3, 0x8, 0x9, 0xa, 0x3, 0xc, 0x5, 0x6, 0x3,
};
static const uint8_t KEEP_FIRST_LAST[16] = {
    0x0, 0x1, 0x2, 0x3, 0x4, 0x5, 0x6, 0x5, 0x8, 0x9, 0xa, 0x9, 0xc, 0x9, 0xa, 0x9,
};

static inline unsigned nonzero_mask(const int8_t e[GROUP])
{
    return (unsigned)(e[0] != 0) | (unsigned)(e[1] != 0) << 1 | (unsigned)(e[2] != 0) << 2 |
           (unsigned)(e[3] != 0) << 3;
}

/* Four bits of a group: i0 in bits 1:0, i1 in bits 3:2. */
static inline unsigned pack_pair(unsigned i0, unsigned i1)
{
    return i0 | i1 << 2;
}

/* A byte of two groups: group g in the low half, group g + 1 in the high half. */
static inline uint8_t pack_byte(unsigned low, unsigned high)
{
    return (uint8_t)(low | high << 4);
}

/* The four bits of group 0 or 1 of a byte. */
static inline unsigned pair_of_byte(uint8_t byte, unsigned group)
{
    return (unsigned)byte >> (4 * group) & 0xf;
}

static inline unsigned pair_i0(unsigned pair)
{
    return pair & 3;
}

static inline unsigned pair_i1(unsigned pair)
{
    return pair >> 2 & 3;
}

/* The element that slot 0 of a group selects; index 3 selects none, which reads GROUP - 1. */
static inline unsigned slot0_element(unsigned pair)
{
    return pair_i0(pair);
}

/* The element that slot 1 selects; index 3 selects none, which reads GROUP. The option is
 * CUBE24_PAIR20_TABLE. */
static inline unsigned slot1_element(unsigned pair, uint32_t options)
{
    return options & CUBE24_PAIR20_TABLE && pair == pack_pair(2, 0) ? 2 : pair_i1(pair) + 1;
}

/* Encode the elements of a group that `mask` keeps (at most two). Gives the four index bits. */
static inline unsigned encode_group(const int8_t e[GROUP], unsigned mask, int8_t dense[2])
{
    const int8_t padded[GROUP + 1] = {e[0], e[1], e[2], e[3], 0};
    const struct rule rule = RULES[mask];
    dense[0] = padded[rule.slot0];
    dense[1] = padded[rule.slot1];
    return pack_pair(rule.i0, rule.i1);
}

/* Decode a group by the selection rule: slot 0 is element i0, slot 1 is element i1 + 1. Gives the
 * fault that makes it stand for no int8 weight, or CUBE24_FAULT_NONE; e is written in any case. */
static inline enum cube24_fault decode_group(const int8_t dense[2], unsigned pair,
                                             int8_t e[GROUP])
{
    const unsigned i0 = pair_i0(pair), i1 = pair_i1(pair);
    e[0] = e[1] = e[2] = e[3] = 0;
    if (i0 == 3 || i1 == 3)
        return CUBE24_FAULT_INDEX3;
    if (i0 == i1 + 1 && dense[0] != 0 && dense[1] != 0)
        return CUBE24_FAULT_CONFLICT;
    /* Both slots may select one element; then one of them is zero and must not overwrite the
     * other, so decoding adds. */
    e[i0] = (int8_t)(e[i0] + dense[0]);
    e[i1 + 1] = (int8_t)(e[i1 + 1] + dense[1]);
    return CUBE24_FAULT_NONE;
}

/* 1 if these are the bytes that encode_group writes for the group that they stand for. */
static inline int is_canonical(const int8_t dense[2], unsigned pair)
{
    int8_t e[GROUP], again[2];
    if (decode_group(dense, pair, e) != CUBE24_FAULT_NONE)
        return 0;
    return encode_group(e, nonzero_mask(e), again) == pair && again[0] == dense[0] &&
           again[1] == dense[1];
}

#endif
