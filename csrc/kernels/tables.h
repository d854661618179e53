/* SPDX-License-Identifier: Apache-2.0
 * Tables for the vector kernels of the codec, as constants: what format.h says, in the forms that
 * an instruction looks up. Each file uses those that it needs. */
#ifndef CUBE24_TABLES_H
#define CUBE24_TABLES_H

#include <stdint.h>

/* A table of entry(0), entry(1) and so on. */
#define CUBE24_4(entry, i) entry((i)), entry((i) + 1), entry((i) + 2), entry((i) + 3)
#define CUBE24_8(entry, i) CUBE24_4(entry, i), CUBE24_4(entry, (i) + 4)
#define CUBE24_16(entry, i) CUBE24_8(entry, i), CUBE24_8(entry, (i) + 8)
#define CUBE24_32(entry, i) CUBE24_16(entry, i), CUBE24_16(entry, (i) + 16)
#define CUBE24_64(entry, i) CUBE24_32(entry, i), CUBE24_32(entry, (i) + 32)

/* By non-zero mask: the index pair, and above it whether the group is in excess. */
enum { EXCESS = 0x10 };
#define PAIRS_OF_MASKS                                                                    \
    0x0, 0x0, 0x1, 0x0, 0x2, 0x4, 0x5, 0x0 | EXCESS, 0x8, 0x8, 0x9, 0x0 | EXCESS, 0xa,    \
        0x4 | EXCESS, 0x5 | EXCESS, 0x0 | EXCESS

/* By mask: the elements that slot 0 and slot 1 take; for a slot that carries nothing, one that is
 * zero. Of no element at all it is 0 and 0, so that looking up a zero gives a zero. */
#define SLOTS_OF_MASKS(entry)                                                             \
    entry(0, 0), entry(0, 1), entry(1, 2), entry(0, 1), entry(2, 3), entry(0, 2),         \
        entry(1, 2), entry(0, 1), entry(0, 3), entry(0, 3), entry(1, 3), entry(0, 1),     \
        entry(2, 3), entry(0, 2), entry(1, 2), entry(0, 1)

/* The slot that element p takes by an index pair: 0, 1, BOTH, or NO_SLOT; none by an index of 3. */
enum { BOTH_SLOTS = 2, NO_SLOT = 0x80 };
#define SLOT_OF(i0, i1, p)                      \
    ((i0) == 3 || (i1) == 3            ? NO_SLOT    \
     : (p) == (i0) && (p) == (i1) + 1  ? BOTH_SLOTS \
     : (p) == (i0)                     ? 0          \
     : (p) == (i1) + 1                 ? 1          \
                                       : NO_SLOT)
#define SLOTS_OF_PAIR(pair)                                                                  \
    {                                                                                        \
        SLOT_OF((pair) % 4, (pair) / 4, 0), SLOT_OF((pair) % 4, (pair) / 4, 1),              \
            SLOT_OF((pair) % 4, (pair) / 4, 2), SLOT_OF((pair) % 4, (pair) / 4, 3)           \
    }

/* What the encoder writes: index pair (i0, i1), and which slots are not zero. An entry is 1 for
 * each row of the table of docs/format.md, and 0 for everything else. */
enum { SLOT_0 = 0x10, SLOT_1 = 0x20 };
#define PAIR_INDEX(i0, i1) ((i0) + 4 * (i1))
#define IS_WRITTEN(i)                                                                         \
    ((i) == PAIR_INDEX(0, 0) || (i) == (PAIR_INDEX(0, 0) | SLOT_0) ||                         \
     (i) == (PAIR_INDEX(1, 0) | SLOT_0) || (i) == (PAIR_INDEX(2, 0) | SLOT_0) ||              \
     (i) == (PAIR_INDEX(0, 2) | SLOT_1) || (i) == (PAIR_INDEX(0, 0) | SLOT_0 | SLOT_1) ||     \
     (i) == (PAIR_INDEX(0, 1) | SLOT_0 | SLOT_1) ||                                           \
     (i) == (PAIR_INDEX(0, 2) | SLOT_0 | SLOT_1) ||                                           \
     (i) == (PAIR_INDEX(1, 1) | SLOT_0 | SLOT_1) ||                                           \
     (i) == (PAIR_INDEX(1, 2) | SLOT_0 | SLOT_1) ||                                           \
     (i) == (PAIR_INDEX(2, 2) | SLOT_0 | SLOT_1))

/* By mask: the bytes that a policy keeps; and a byte per mask. */
#define KEEP_BYTES(keep)                                                                      \
    {                                                                                         \
        ((keep) & 1 ? 0xff : 0), ((keep) & 2 ? 0xff : 0), ((keep) & 4 ? 0xff : 0),            \
            ((keep) & 8 ? 0xff : 0)                                                           \
    }
#define FIRST_TWO_OF_MASKS(entry)                                                             \
    entry(0x0), entry(0x1), entry(0x2), entry(0x3), entry(0x4), entry(0x5), entry(0x6),       \
        entry(0x3), entry(0x8), entry(0x9), entry(0xa), entry(0x3), entry(0xc), entry(0x5),   \
        entry(0x6), entry(0x3)
#define FIRST_LAST_OF_MASKS(entry)                                                            \
    entry(0x0), entry(0x1), entry(0x2), entry(0x3), entry(0x4), entry(0x5), entry(0x6),       \
        entry(0x5), entry(0x8), entry(0x9), entry(0xa), entry(0x9), entry(0xc), entry(0x9),   \
        entry(0xa), entry(0x9)

#endif
