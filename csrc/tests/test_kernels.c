/* SPDX-License-Identifier: Apache-2.0
 * The kernels of the codec themselves, on every path: each group of a small alphabet at each place
 * of a block, every alignment, steps, and buffers that end or begin at a page that cannot be
 * touched. What is right is what rule.h says. */
/* mmap and mprotect are not of C11. */
#define _DEFAULT_SOURCE
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "cube24.h"
#include "paths.h"
#include "rule.h"
#include "support.h"

enum { GROUPS = CUBE24_BLOCK / 4 };

static struct cube24_codec_kernels kernels_of(uint32_t flags)
{
    struct cube24_codec_kernels kernels;
    CHECK(cube24_choose_codec(flags, 0, &kernels));
    return kernels;
}

/* --- memory between two pages that cannot be touched ---------------------------------------- */

enum { ROOM = 1 << 16 };

static uint8_t *walled(void)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *base = mmap(NULL, ROOM + 2 * page, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED || mprotect(base, page, PROT_NONE) != 0 ||
        mprotect(base + page + ROOM, page, PROT_NONE) != 0)
        abort();
    return base + page;
}

/* `size` bytes that end `distance` before the wall behind, or begin as far from the one before. */
static uint8_t *place(uint8_t *room, size_t size, size_t distance, int at_end)
{
    return at_end ? room + ROOM - size - distance : room + distance;
}

/* --- blocks --------------------------------------------------------------------------------- */

static int excess_of(const int8_t *weight)
{
    int excess = 0;
    for (size_t g = 0; g < GROUPS; g++) {
        int e[4];
        rule_group(weight, CUBE24_BLOCK, 0, g, e);
        excess |= rule_nonzeros(e) > 2;
    }
    return excess;
}

/* What encode wrote for a block, group by group; those in excess may be anything. */
static void check_encoded(const int8_t *weight, const int8_t *dense, const uint8_t *index)
{
    int wrong = 0;
    for (size_t g = 0; g < GROUPS; g++) {
        int e[4], slots[2], i0, i1, j0, j1;
        rule_group(weight, CUBE24_BLOCK, 0, g, e);
        if (!rule_encode(e, slots, &i0, &i1))
            continue;
        rule_get_pair(index, g, &j0, &j1);
        wrong += dense[2 * g] != slots[0] || dense[2 * g + 1] != slots[1] || j0 != i0 || j1 != i1;
    }
    CHECK_EQUAL(wrong, 0);
}

/* Faults of a block, by default and strictly, and what it stands for. */
static void judge_block(const int8_t *dense, const uint8_t *index, int8_t *weight, int faults[2])
{
    const struct rule_bytes b = {dense, index, 1, CUBE24_BLOCK, 1, CUBE24_BLOCK};
    faults[0] = faults[1] = 0;
    for (size_t g = 0; g < GROUPS; g++) {
        int e[4];
        faults[1] += rule_judge(&b, 1, 0, g, e) != CUBE24_FAULT_NONE;
        faults[0] += rule_judge(&b, 0, 0, g, e) != CUBE24_FAULT_NONE;
        for (size_t p = 0; p < 4; p++)
            weight[4 * g + p] = (int8_t)e[p];
    }
}

/* Groups of two non-zeros at most. */
static void legal_block(uint64_t *state, int8_t *weight)
{
    int8_t any[CUBE24_BLOCK];
    random_weight(state, any, CUBE24_BLOCK, 60);
    for (size_t g = 0; g < GROUPS; g++) {
        int e[4], kept[4];
        rule_group(any, CUBE24_BLOCK, 0, g, e);
        rule_reduce(e, CUBE24_POLICY_MAGNITUDE, kept);
        for (size_t p = 0; p < 4; p++)
            weight[4 * g + p] = (int8_t)kept[p];
    }
}

static void encode_by_rule(const int8_t *weight, int8_t *dense, uint8_t *index)
{
    cube24_changes changes;
    rule_encode_weight(weight, 1, CUBE24_BLOCK, CUBE24_POLICY_MAGNITUDE, dense, index, &changes);
}

/* --- encode, decode: steps, alignments, walls ----------------------------------------------- */

enum { BLOCKS = 3 };

struct layout {
    struct cube24_steps steps;
    size_t weight, dense, index; /* sizes of what is touched, gaps included */
};

static struct layout layout_of(size_t piece, size_t block, size_t dense, size_t index)
{
    const struct layout l = {
        {piece, block, dense, index},
        (BLOCKS - 1) * block + (CUBE24_PIECES - 1) * piece + CUBE24_PIECE,
        (BLOCKS - 1) * dense + CUBE24_BLOCK_DENSE,
        (BLOCKS - 1) * index + CUBE24_BLOCK_INDEX,
    };
    return l;
}

/* Copy a block between its place in a layout and a row. */
static void copy_block(const struct layout *l, size_t b, int8_t *weight, int8_t *row, int to_row)
{
    for (size_t i = 0; i < CUBE24_PIECES; i++) {
        int8_t *piece = weight + b * l->steps.block + i * l->steps.piece;
        int8_t *in_row = row + i * CUBE24_PIECE;
        memcpy(to_row ? in_row : piece, to_row ? piece : in_row, CUBE24_PIECE);
    }
}

static int is_gap(size_t at, size_t step, size_t size)
{
    return at % step >= size;
}

static uint8_t *weight_room, *dense_room, *index_room;

static void check_run(const struct cube24_codec_kernels *kernels, const struct layout *l,
                      const size_t distance[3], int at_end, int past, uint64_t *state)
{
    int8_t *weight = (int8_t *)place(weight_room, l->weight, distance[0], at_end);
    int8_t *dense = (int8_t *)place(dense_room, l->dense, distance[1], at_end);
    uint8_t *index = place(index_room, l->index, distance[2], at_end);
    int8_t rows[BLOCKS][CUBE24_BLOCK];
    random_weight(state, weight, l->weight, 100); /* whatever is in the gaps */
    for (size_t b = 0; b < BLOCKS; b++) {
        legal_block(state, rows[b]);
        copy_block(l, b, weight, rows[b], 0);
    }
    memset(dense, FILLS[0], l->dense);
    memset(index, FILLS[0], l->index);
    CHECK_EQUAL(kernels->encode(weight, &l->steps, BLOCKS, past, dense, index), 0);
    int touched = 0;
    for (size_t b = 0; b < BLOCKS; b++)
        check_encoded(rows[b], dense + b * l->steps.dense, index + b * l->steps.index);
    for (size_t i = 0; i < l->dense; i++)
        touched += is_gap(i, l->steps.dense, CUBE24_BLOCK_DENSE) && dense[i] != FILLS[0];
    for (size_t i = 0; i < l->index; i++)
        touched += is_gap(i, l->steps.index, CUBE24_BLOCK_INDEX) && index[i] != FILLS[0];
    CHECK_EQUAL(touched, 0);

    for (int strict = 0; strict < 2; strict++) {
        int8_t again[ROOM / 8], row[CUBE24_BLOCK];
        memset(weight, FILLS[strict], l->weight);
        CHECK_EQUAL((strict ? kernels->decode_strict : kernels->decode)(
                        dense, index, &l->steps, BLOCKS, past, weight),
                    0);
        memset(again, FILLS[strict], l->weight);
        for (size_t b = 0; b < BLOCKS; b++) {
            copy_block(l, b, weight, row, 1);
            CHECK(same_bytes(row, rows[b], sizeof row));
            copy_block(l, b, again, rows[b], 0);
        }
        CHECK(same_bytes(weight, again, l->weight)); /* and nothing between the pieces */
    }
}

static void every_alignment_and_nothing_outside(uint32_t flags)
{
    const struct cube24_codec_kernels kernels = kernels_of(flags);
    const struct layout layouts[] = {
        layout_of(64, 512, 256, 64),        /* ND */
        layout_of(3 * 64, 64, 512, 128),    /* Zn of 16 rows and 192 columns */
        layout_of(3 * 64 + 5, 64, 1024, 256), /* of 32 rows, more columns than those */
        layout_of(64 + 1, 600, 256 + 3, 64 + 7),
    };
    uint64_t state = 512;
    for (size_t l = 0; l < COUNT(layouts); l++)
        for (int at_end = 0; at_end < 2; at_end++)
            for (size_t buffer = 0; buffer < 3; buffer++)
                for (size_t distance = 0; distance < 64; distance++) {
                    size_t distances[3] = {0, 0, 0};
                    distances[buffer] = distance;
                    check_run(&kernels, &layouts[l], distances, at_end, 0, &state);
                }
}

/* Past the caches: outputs begin at a line and their steps are lines; index is anywhere. */
static void past_the_caches_is_the_same(uint32_t flags)
{
    const struct cube24_codec_kernels kernels = kernels_of(flags);
    const struct layout layouts[] = {
        layout_of(64, 512, 256, 64),
        layout_of(3 * 64, 64, 512, 128),
        layout_of(3 * 64, 64, 512, 128 + 8),
    };
    uint64_t state = 64;
    for (size_t l = 0; l < COUNT(layouts); l++)
        for (size_t distance = 0; distance < 64; distance++) {
            const size_t distances[3] = {0, 0, distance};
            check_run(&kernels, &layouts[l], distances, 0, 1, &state);
        }
}

/* --- every place of a block ----------------------------------------------------------------- */

static const int8_t ALPHABET[3] = {0, 1, -128};
enum { WORDS = 81 }; /* groups of the alphabet */

static void spell(int word, int8_t e[4])
{
    for (int p = 0; p < 4; p++, word /= 3)
        e[p] = ALPHABET[word % 3];
}

/* encode, count and prune: one group of the alphabet among legal ones. */
static void check_block(const struct cube24_codec_kernels *kernels, const int8_t *weight)
{
    static const struct cube24_steps ND = {64, 512, 256, 64};
    int8_t dense[CUBE24_BLOCK_DENSE], scalar_dense[CUBE24_BLOCK_DENSE];
    uint8_t index[CUBE24_BLOCK_INDEX], scalar_index[CUBE24_BLOCK_INDEX];
    CHECK_EQUAL(kernels->encode(weight, &ND, 1, 0, dense, index) != 0, excess_of(weight));
    check_encoded(weight, dense, index);
    /* also what is unspecified does not depend on the machine */
    kernels_of(1).encode(weight, &ND, 1, 0, scalar_dense, scalar_index);
    CHECK(same_bytes(dense, scalar_dense, sizeof dense));
    CHECK(same_bytes(index, scalar_index, sizeof index));

    uint64_t masks[16], wanted[16];
    for (uint64_t m = 0; m < 16; m++)
        masks[m] = wanted[m] = 1000 * m; /* it adds */
    kernels->count(weight, 1, masks);
    for (size_t g = 0; g < GROUPS; g++) {
        int e[4];
        rule_group(weight, CUBE24_BLOCK, 0, g, e);
        wanted[(e[0] != 0) + 2 * (e[1] != 0) + 4 * (e[2] != 0) + 8 * (e[3] != 0)]++;
    }
    CHECK(same_bytes(masks, wanted, sizeof masks));

    for (int policy = CUBE24_POLICY_FIRST_TWO; policy <= CUBE24_POLICY_MAGNITUDE; policy++) {
        int8_t out[CUBE24_BLOCK];
        cube24_cost cost = {1, 2, 3, 4, 5, 6}, sum = {1, 2, 3, 4, 5, 6};
        int wrong = 0;
        kernels->prune(weight, 1, policy, out, &cost);
        for (size_t g = 0; g < GROUPS; g++) {
            int e[4], kept[4];
            rule_group(weight, CUBE24_BLOCK, 0, g, e);
            const int dropped = rule_reduce(e, policy, kept);
            sum.groups += dropped != 0;
            sum.weights += (uint64_t)dropped;
            for (size_t p = 0; p < 4; p++) {
                const uint64_t size = (uint64_t)rule_size(e[p]);
                const uint64_t lost = (uint64_t)rule_size(e[p] - kept[p]);
                wrong += out[4 * g + p] != kept[p];
                sum.l1_total += size;
                sum.l2_total += size * size;
                sum.l1_removed += lost;
                sum.l2_removed += lost * lost;
            }
        }
        CHECK_EQUAL(wrong, 0);
        CHECK(same_bytes(&cost, &sum, sizeof cost));
    }
}

static void every_group_of_an_alphabet_at_every_place(uint32_t flags)
{
    const struct cube24_codec_kernels kernels = kernels_of(flags);
    int8_t weight[CUBE24_BLOCK], legal[CUBE24_BLOCK];
    uint64_t state = 81;
    for (size_t g = 0; g < GROUPS; g++) {
        legal_block(&state, legal);
        for (int word = 0; word < WORDS; word++) {
            memcpy(weight, legal, sizeof weight);
            spell(word, weight + 4 * g);
            check_block(&kernels, weight);
        }
    }
    for (int word = 0; word < WORDS; word++) { /* and everywhere at once */
        for (size_t g = 0; g < GROUPS; g++)
            spell(word, weight + 4 * g);
        check_block(&kernels, weight);
    }
}

/* All index pairs with all slots of the alphabet, among groups that the encoder writes. */
static void every_pair_and_slots_at_every_place(uint32_t flags)
{
    static const struct cube24_steps ND = {64, 512, 256, 64};
    const struct cube24_codec_kernels kernels = kernels_of(flags);
    int8_t weight[CUBE24_BLOCK], dense[CUBE24_BLOCK_DENSE], got[CUBE24_BLOCK];
    uint8_t index[CUBE24_BLOCK_INDEX];
    uint64_t state = 144;
    for (size_t g = 0; g < GROUPS; g++)
        for (int pair = 0; pair < 16; pair++)
            for (int slots = 0; slots < 9; slots++) {
                int faults[2], i0, i1;
                if (slots == 0) {
                    legal_block(&state, weight);
                    encode_by_rule(weight, dense, index);
                }
                dense[2 * g] = ALPHABET[slots % 3];
                dense[2 * g + 1] = ALPHABET[slots / 3];
                rule_get_pair(index, g ^ 1, &i0, &i1);
                index[g / 2] = 0;
                rule_put_pair(index, g, pair % 4, pair / 4);
                rule_put_pair(index, g ^ 1, i0, i1);
                judge_block(dense, index, weight, faults);
                CHECK_EQUAL(kernels.decode(dense, index, &ND, 1, 0, got) != 0, faults[0] != 0);
                CHECK(faults[0] || same_bytes(got, weight, sizeof got));
                CHECK_EQUAL(kernels.decode_strict(dense, index, &ND, 1, 0, got) != 0,
                            faults[1] != 0);
                CHECK(faults[1] || same_bytes(got, weight, sizeof got));
            }
}

/* Two slots that meet are found whatever they hold: all pairs of values. */
static void every_conflict_is_found(uint32_t flags)
{
    static const struct cube24_steps ND = {64, 512, 256, 64};
    const struct cube24_codec_kernels kernels = kernels_of(flags);
    int8_t dense[CUBE24_BLOCK_DENSE] = {0}, got[CUBE24_BLOCK];
    uint8_t index[CUBE24_BLOCK_INDEX] = {0};
    for (size_t kind = 0; kind < 2; kind++)
        for (int a = -128; a < 128; a++)
            for (int b = -128; b < 128; b++) {
                const size_t g = (size_t)(a + 128 + 3 * (b + 128)) % GROUPS;
                const size_t element = kind + 1; /* (1, 0) and (2, 1) */
                rule_put_pair(index, g, (int)element, (int)kind);
                dense[2 * g] = (int8_t)a;
                dense[2 * g + 1] = (int8_t)b;
                const int found = kernels.decode(dense, index, &ND, 1, 0, got);
                CHECK_EQUAL(found != 0, a != 0 && b != 0);
                CHECK(found || got[4 * g + element] == a + b);
                dense[2 * g] = dense[2 * g + 1] = 0;
                index[g / 2] = 0;
            }
}

/* The longest run there may be, all counters and sums at their largest. */
static void the_longest_run_does_not_overflow(uint32_t flags)
{
    static int8_t weight[CUBE24_RUN * CUBE24_BLOCK], out[CUBE24_RUN * CUBE24_BLOCK];
    const struct cube24_codec_kernels kernels = kernels_of(flags);
    const uint64_t groups = sizeof weight / 4;
    for (int mask = 0; mask < 16; mask++) {
        uint64_t masks[16] = {0};
        cube24_cost cost = {0, 0, 0, 0, 0, 0};
        int count = 0;
        for (size_t i = 0; i < sizeof weight; i++)
            weight[i] = mask >> i % 4 & 1 ? -128 : 0;
        for (int p = 0; p < 4; p++)
            count += mask >> p & 1;
        const uint64_t lost = count > 2 ? (uint64_t)count - 2 : 0;
        kernels.count(weight, CUBE24_RUN, masks);
        for (int m = 0; m < 16; m++)
            CHECK_EQUAL(masks[m], m == mask ? groups : 0);
        kernels.prune(weight, CUBE24_RUN, CUBE24_POLICY_MAGNITUDE, out, &cost);
        CHECK_EQUAL(cost.weights, lost * groups);
        CHECK_EQUAL(cost.l1_total, (uint64_t)count * groups * 128);
        CHECK_EQUAL(cost.l1_removed, lost * groups * 128);
        CHECK_EQUAL(cost.l2_total, (uint64_t)count * groups * 16384);
        CHECK_EQUAL(cost.l2_removed, lost * groups * 16384);
    }
    /* a conflict in every group: what is lost does not wrap around to nothing */
    static int8_t dense[CUBE24_RUN * CUBE24_BLOCK_DENSE];
    static uint8_t index[CUBE24_RUN * CUBE24_BLOCK_INDEX];
    static const struct cube24_steps ND = {64, 512, 256, 64};
    memset(dense, -1, sizeof dense);
    memset(index, 0x11, sizeof index); /* pairs (1, 0) */
    CHECK(kernels.decode(dense, index, &ND, CUBE24_RUN, 0, out) != 0);
}

/* --- prune and count at the walls ------------------------------------------------------------ */

static void prune_and_count_stay_inside(uint32_t flags)
{
    const struct cube24_codec_kernels kernels = kernels_of(flags);
    uint64_t state = 7;
    for (size_t distance = 0; distance < 64; distance++)
        for (int at_end = 0; at_end < 2; at_end++) {
            const size_t size = BLOCKS * CUBE24_BLOCK;
            int8_t *weight = (int8_t *)place(weight_room, size, distance, at_end);
            int8_t *out = (int8_t *)place(dense_room, size, distance * 7 % 64, at_end);
            uint64_t masks[16] = {0}, groups = 0;
            random_weight(&state, weight, size, 70);
            kernels.count(weight, BLOCKS, masks);
            for (int m = 0; m < 16; m++)
                groups += masks[m];
            CHECK_EQUAL(groups, BLOCKS * GROUPS);
            for (int p = CUBE24_POLICY_FIRST_TWO; p <= CUBE24_POLICY_MAGNITUDE; p++) {
                int8_t copy[BLOCKS * CUBE24_BLOCK];
                cube24_cost cost = {0, 0, 0, 0, 0, 0}, in_place = cost;
                memcpy(copy, weight, size);
                kernels.prune(weight, BLOCKS, p, out, &cost);
                kernels.prune(copy, BLOCKS, p, copy, &in_place);
                CHECK(same_bytes(out, copy, size));
                CHECK(same_bytes(&cost, &in_place, sizeof cost));
            }
        }
}

/* --- the K order at the walls ---------------------------------------------------------------- */

enum { CHANNELS = 32 };

/* One byte, low or high, of the number of a place: two weights tell all places apart. */
static int8_t of_place(size_t place, int which)
{
    return (int8_t)(uint8_t)(which == 0 ? place & 0xff : (place >> 8) ^ 0x5a);
}

/* Nothing is in front of or behind the two buffers but what a kernel may touch. */
static void check_channels(const struct cube24_codec_kernels *kernels, size_t taps, int at_end,
                           size_t distance)
{
    const size_t size = CHANNELS * taps;
    int8_t *weight = (int8_t *)place(weight_room, size + CUBE24_BEHIND, distance, at_end);
    int8_t *matrix = (int8_t *)place(dense_room, size, distance, at_end);
    for (int which = 0; which < 2; which++) {
        int wrong = 0;
        for (size_t i = 0; i < size + CUBE24_BEHIND; i++)
            weight[i] = of_place(i, which);
        memset(matrix, 0x77, size);
        kernels->channels_last(weight, taps, matrix);
        for (size_t i = 0; i < size; i++)
            wrong += matrix[i] != of_place(i % CHANNELS * taps + i / CHANNELS, which);
        for (size_t i = 0; i < size + CUBE24_BEHIND; i++)
            wrong += weight[i] != of_place(i, which);
        memset(weight, 0x77, size + CUBE24_BEHIND);
        kernels->channels_first(matrix, taps, weight);
        for (size_t i = 0; i < size; i++)
            wrong += weight[i] != of_place(i, which);
        CHECK_EQUAL(wrong, 0);
    }
}

static void channels_go_last_and_first(uint32_t flags)
{
    const struct cube24_codec_kernels kernels = kernels_of(flags);
    for (size_t taps = 2; taps <= CUBE24_TAPS; taps++)
        for (size_t distance = 0; distance < 64; distance++)
            for (int at_end = 0; at_end < 2; at_end++)
                check_channels(&kernels, taps, at_end, distance);
}

/* Nothing but the matrix is written. */
static void matrix_stays_inside(uint32_t flags)
{
    const struct cube24_codec_kernels kernels = kernels_of(flags);
    for (size_t taps = 2; taps <= CUBE24_TAPS; taps++) {
        const size_t size = CHANNELS * taps;
        int8_t *weight = (int8_t *)place(weight_room, size + CUBE24_BEHIND, 0, 1);
        struct guarded matrix = guarded_bytes(size, 0x77);
        memset(weight, 1, size + CUBE24_BEHIND);
        kernels.channels_last(weight, taps, guarded_int8(matrix));
        CHECK(is_intact(matrix));
        guarded_free(matrix);
    }
}

/* A whole weight, for which nothing may be touched behind it, and its matrix. */
static void check_k_order(size_t cin, size_t taps, uint32_t flags)
{
    enum { COUT = 2 };
    const size_t row = ceil_of(cin, CHANNELS) * CHANNELS * taps;
    for (int at_end = 0; at_end < 2; at_end++)
        for (int which = 0; which < 2; which++) {
            int8_t *weight = (int8_t *)place(weight_room, COUT * cin * taps, 0, at_end);
            int8_t *matrix = (int8_t *)place(dense_room, COUT * row, 0, at_end);
            int wrong = 0;
            for (size_t i = 0; i < COUT * cin * taps; i++)
                weight[i] = of_place(i, which);
            memset(matrix, 0x77, COUT * row);
            CHECK_EQUAL(cube24_conv_to_matrix(weight, COUT, cin, 1, taps, flags, matrix),
                        CUBE24_OK);
            for (size_t i = 0; i < COUT * row; i++) {
                const size_t tap = i / CHANNELS % taps;
                const size_t channel = i % row / CHANNELS / taps * CHANNELS + i % CHANNELS;
                wrong += matrix[i] !=
                         (channel < cin ? of_place((i / row * cin + channel) * taps + tap, which)
                                        : 0);
            }
            memset(weight, 0x77, COUT * cin * taps);
            CHECK_EQUAL(cube24_matrix_to_conv(matrix, COUT, cin, taps, 1, flags, weight, NULL,
                                              NULL),
                        CUBE24_OK);
            for (size_t i = 0; i < COUT * cin * taps; i++)
                wrong += weight[i] != of_place(i, which);
            CHECK_EQUAL(wrong, 0);
        }
}

static void the_k_order_of_all_small_weights(uint32_t flags)
{
    for (size_t cin = 1; cin <= 2 * CHANNELS + 1; cin++)
        for (size_t taps = 1; taps <= CUBE24_TAPS + 1; taps++)
            check_k_order(cin, taps, flags);
}

/* --- whole weights that go past the caches -------------------------------------------------- */

enum { LARGE_K = 4096 + 8, LARGE_N = 13 * 256 }; /* 13 MiB */

/* Against the scalar path, which small weights compare with the rule: the same bytes wherever
 * outputs begin. */
static void large_weights_are_the_same_on_every_path(uint32_t flags)
{
    static const size_t OFFSETS[] = {0, 1, 4, 8, 16, 60};
    const size_t size = (size_t)LARGE_N * LARGE_K, n1 = LARGE_N / 16;
    const size_t zn = n1 * 16 * ceil_of(LARGE_K, 64) * 32;
    int8_t *weight = allocate(size), *back = aligned_alloc(64, size + 128);
    int8_t *wanted = allocate(zn), *dense = aligned_alloc(64, zn + 128);
    uint8_t *wanted_index = allocate(zn / 4), *index = aligned_alloc(64, zn / 4 + 128);
    uint64_t state = 13;
    random_weight(&state, weight, size, 45);
    CHECK_EQUAL(cube24_prune(weight, LARGE_N, LARGE_K, CUBE24_POLICY_FIRST_TWO, 1, weight, NULL),
                CUBE24_OK);
    CHECK_EQUAL(cube24_encode(weight, LARGE_N, LARGE_K, 0, 1, wanted, wanted_index, NULL),
                CUBE24_OK);
    for (size_t o = 0; o < COUNT(OFFSETS); o++) {
        int8_t *d = dense + OFFSETS[o], *b = back + OFFSETS[o];
        uint8_t *i = index + (OFFSETS[o] & 8);
        CHECK_EQUAL(cube24_encode(weight, LARGE_N, LARGE_K, 0, flags, d, i, NULL), CUBE24_OK);
        CHECK(same_bytes(d, wanted, size / 2) && same_bytes(i, wanted_index, size / 8));
        for (uint32_t strict = 0; strict <= CUBE24_STRICT; strict += CUBE24_STRICT) {
            memset(b, 0x5a, size);
            CHECK_EQUAL(cube24_decode(d, i, LARGE_N, LARGE_K, LARGE_N, LARGE_K, flags | strict, b,
                                      NULL),
                        CUBE24_OK);
            CHECK(same_bytes(b, weight, size));
        }
    }
    CHECK_EQUAL(cube24_encode_zn(weight, LARGE_N, LARGE_K, 0, n1, 0, 1, wanted, wanted_index, NULL),
                CUBE24_OK);
    CHECK_EQUAL(cube24_encode_zn(weight, LARGE_N, LARGE_K, 0, n1, 0, flags, dense, index, NULL),
                CUBE24_OK);
    CHECK(same_bytes(dense, wanted, zn) && same_bytes(index, wanted_index, zn / 4));
    memset(back, 0x5a, size);
    CHECK_EQUAL(cube24_decode_zn(dense, index, LARGE_N, LARGE_K, 0, n1, flags, back, NULL),
                CUBE24_OK);
    CHECK(same_bytes(back, weight, size));
    free(weight);
    free(back);
    free(wanted);
    free(dense);
    free(wanted_index);
    free(index);
}

int main(void)
{
    weight_room = walled();
    dense_room = walled();
    index_room = walled();
    on_every_path(every_alignment_and_nothing_outside);
    on_every_path(past_the_caches_is_the_same);
    on_every_path(every_group_of_an_alphabet_at_every_place);
    on_every_path(every_pair_and_slots_at_every_place);
    on_every_path(every_conflict_is_found);
    on_every_path(the_longest_run_does_not_overflow);
    on_every_path(prune_and_count_stay_inside);
    on_every_path(channels_go_last_and_first);
    on_every_path(matrix_stays_inside);
    on_every_path(the_k_order_of_all_small_weights);
    on_every_path(large_weights_are_the_same_on_every_path);
    return check_report("test_kernels");
}
