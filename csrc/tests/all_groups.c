/* SPDX-License-Identifier: Apache-2.0
 * Every group there is: all 2^32 values of four int8 go through check, list_excess and encode, and
 * the legal ones through decode, on every path of this machine.
 *
 * A block is the 65,536 groups of one e0 and e1, as a matrix of 256 rows (one e2 each) of 256
 * groups (one e3 each). Of the whole block the masks and the excess must be counted and listed
 * exactly, and encode must refuse it with the exact count; as no group counts twice, that refuses
 * every illegal group. Its legal groups alone are then encoded and decoded.
 *
 *     all_groups [PART/PARTS]     one share of the work, e.g. 1/2; without it, all
 *
 * The rule is stated in this file, from docs/format.md, and shares nothing with the library. */
#include "check.h"
#include "cube24.h"
#include "support.h"

enum {
    VALUES = 256,
    BLOCKS = VALUES * VALUES,
    GROUPS = VALUES * VALUES, /* of a block */
    ROW = VALUES * 4,         /* elements of a row of a block */
    LEGAL_GROUPS = 391171     /* 6 * 255^2 + 4 * 255 + 1, section 2 */
};

/* --- the rule ------------------------------------------------------------------------------- */

static unsigned mask_of(const int8_t *e)
{
    return (e[0] != 0 ? 1U : 0U) + (e[1] != 0 ? 2U : 0U) + (e[2] != 0 ? 4U : 0U) +
           (e[3] != 0 ? 8U : 0U);
}

static unsigned nonzeros_of(const int8_t *e)
{
    return (unsigned)(e[0] != 0) + (unsigned)(e[1] != 0) + (unsigned)(e[2] != 0) +
           (unsigned)(e[3] != 0);
}

/* Section 2 in words. Slot 0 has the first non-zero, at i0; slot 1 has the second, at i1 + 1. A
 * slot without one is 0 with index 0, but for the lone e3: only slot 1 reaches it, and i0 is 0. */
static unsigned encode_by_rule(const int8_t *e, int8_t *slots)
{
    unsigned i0 = 0, i1 = 0, found = 0;
    slots[0] = slots[1] = 0;
    for (unsigned p = 0; p < 4; p++) {
        if (e[p] == 0)
            continue;
        if (found++ == 0 && p < 3) {
            slots[0] = e[p];
            i0 = p;
        } else {
            slots[1] = e[p];
            i1 = p - 1;
        }
    }
    return i0 + 4 * i1;
}

/* --- a block -------------------------------------------------------------------------------- */

static int8_t weight[GROUPS * 4], legal[GROUPS * 4 + 4], decoded[GROUPS * 4 + 4];
static int8_t dense[GROUPS * 2 + 2], wanted_dense[GROUPS * 2 + 2];
static uint8_t index_bytes[GROUPS / 2 + 1], wanted_index[GROUPS / 2 + 1];
static cube24_place places[GROUPS];

/* What the rule says of a block. */
struct block {
    uint64_t masks[16], row_excess[VALUES], excess, dropped;
    size_t legal; /* how many groups stand in the array of that name */
};

/* e2 and e3 are the same in every block. */
static void fill_rows(void)
{
    for (size_t g = 0; g < GROUPS; g++) {
        weight[4 * g + 2] = (int8_t)((int)(g / VALUES) - 128);
        weight[4 * g + 3] = (int8_t)((int)(g % VALUES) - 128);
    }
}

static void fill_block(int e0, int e1)
{
    for (size_t g = 0; g < GROUPS; g++) {
        weight[4 * g] = (int8_t)e0;
        weight[4 * g + 1] = (int8_t)e1;
    }
}

static void judge_block(struct block *b)
{
    memset(b, 0, sizeof *b);
    for (size_t g = 0; g < GROUPS; g++) {
        const int8_t *e = weight + 4 * g;
        const unsigned nonzeros = nonzeros_of(e);
        b->masks[mask_of(e)]++;
        if (nonzeros > 2) {
            b->excess++;
            b->dropped += nonzeros - 2;
            b->row_excess[g / VALUES]++;
        } else {
            memcpy(legal + 4 * b->legal++, e, 4);
        }
    }
}

static void check_counts(const struct block *b, uint32_t flags)
{
    uint64_t masks[16], row_excess[VALUES];
    CHECK_EQUAL(cube24_check(weight, VALUES, ROW, flags, masks, row_excess), CUBE24_OK);
    CHECK(same_bytes(masks, b->masks, sizeof masks));
    CHECK(same_bytes(row_excess, b->row_excess, sizeof row_excess));
}

static void check_refusal(const struct block *b, uint32_t flags)
{
    cube24_changes changes;
    CHECK_EQUAL(cube24_encode(weight, VALUES, ROW, CUBE24_POLICY_ERROR, flags, dense, index_bytes,
                              &changes),
                b->excess ? CUBE24_E_VIOLATION : CUBE24_OK);
    CHECK_EQUAL(changes.groups, b->excess);
    CHECK_EQUAL(changes.weights, b->dropped);
}

/* Every place of an illegal group is listed, and no other. */
static void check_list(const struct block *b)
{
    uint64_t total = 0, listed = 0, wrong = 0;
    CHECK_EQUAL(cube24_list_excess(weight, VALUES, ROW, places, GROUPS, &total), CUBE24_OK);
    CHECK_EQUAL(total, b->excess);
    for (size_t g = 0; g < GROUPS; g++) {
        if (nonzeros_of(weight + 4 * g) <= 2)
            continue;
        const cube24_place *place = &places[listed++];
        wrong += place->row != g / VALUES || place->group != g % VALUES ||
                 place->fault != CUBE24_FAULT_EXCESS;
    }
    CHECK_EQUAL(wrong, 0);
}

/* The legal groups, as one row; a last odd one has a zero group beside it. */
static void check_legal(size_t groups, uint32_t flags)
{
    const size_t k = groups * 4, k_stored = (groups + groups % 2) * 4;
    cube24_changes changes;
    memset(wanted_dense, 0, k_stored / 2);
    memset(wanted_index, 0, k_stored / 8);
    for (size_t g = 0; g < groups; g++) {
        const unsigned pair = encode_by_rule(legal + 4 * g, wanted_dense + 2 * g);
        wanted_index[g / 2] = (uint8_t)(wanted_index[g / 2] + (g % 2 ? 16 * pair : pair));
    }
    CHECK_EQUAL(cube24_encode(legal, 1, k, CUBE24_POLICY_ERROR, flags, dense, index_bytes,
                              &changes),
                CUBE24_OK);
    CHECK(changes.groups == 0 && changes.weights == 0);
    CHECK(same_bytes(dense, wanted_dense, k_stored / 2));
    CHECK(same_bytes(index_bytes, wanted_index, k_stored / 8));
    for (uint32_t strict = 0; strict <= CUBE24_STRICT; strict += CUBE24_STRICT) {
        memset(decoded, 0x5a, k);
        CHECK_EQUAL(cube24_decode(wanted_dense, wanted_index, 1, k_stored, 1, k, flags | strict,
                                  decoded, NULL),
                    CUBE24_OK);
        CHECK(same_bytes(decoded, legal, k));
    }
}

/* Legal groups of a block by counting: e2 and e3 have room for the non-zeros that e0 and e1 leave.
 * Over all blocks that is LEGAL_GROUPS, which a share cannot see. */
static size_t legal_by_count(int e0, int e1)
{
    const size_t left = 2 - (size_t)(e0 != 0) - (size_t)(e1 != 0), some = VALUES - 1;
    return left == 0 ? 1 : left == 1 ? 1 + 2 * some : 1 + 2 * some + some * some;
}

static size_t check_block(int e0, int e1)
{
    struct block b;
    fill_block(e0, e1);
    judge_block(&b);
    CHECK_EQUAL(b.legal, legal_by_count(e0, e1));
    check_list(&b);
    for (size_t path = 0; path < cube24_path_count(); path++) {
        if (!cube24_path_supported(path))
            continue;
        const uint32_t flags = (uint32_t)path + 1;
        check_counts(&b, flags);
        check_refusal(&b, flags);
        check_legal(b.legal, flags);
    }
    return b.legal;
}

/* "2/3": the second third of the blocks, dealt in turn so that the shares weigh the same. */
static int read_share(const char *text, unsigned *part, unsigned *parts)
{
    char more;
    return sscanf(text, "%u/%u%c", part, parts, &more) == 2 && *part >= 1 && *part <= *parts &&
           *parts <= BLOCKS;
}

int main(int argc, char **argv)
{
    unsigned part = 1, parts = 1;
    if (argc > 2 || (argc == 2 && !read_share(argv[1], &part, &parts))) {
        fprintf(stderr, "usage: all_groups [PART/PARTS]\n");
        return 2;
    }
    uint64_t groups = 0, legal_groups = 0;
    fill_rows();
    for (unsigned block = part - 1; block < BLOCKS; block += parts) {
        legal_groups += check_block((int)(block / VALUES) - 128, (int)(block % VALUES) - 128);
        groups += GROUPS;
    }
    if (parts == 1)
        CHECK_EQUAL(legal_groups, LEGAL_GROUPS);
    printf("all_groups %u/%u: %llu groups, %llu legal\n", part, parts, (unsigned long long)groups,
           (unsigned long long)legal_groups);
    return check_report("all_groups");
}
