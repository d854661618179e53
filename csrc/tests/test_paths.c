/* SPDX-License-Identifier: Apache-2.0
 * The choice of kernels, on tables of paths made up here: which path a call gets, and which kernel
 * where that path has none. The file under test is included, for its function that takes a table.
 */
#include "../layer.h"
#include "../paths.c"

#include "check.h"

/* --- kernels to be told apart; none is ever called ------------------------------------------ */

enum { CODEC_SLOTS = 7, MMAD_SLOTS = 2, LAYER_SLOT = 9, SLOTS = 10 };

/* All tables of a path as one; that of layers is taken whole, so it is one slot. */
struct kernels {
    struct cube24_codec_kernels codec;
    struct cube24_mmad_kernels mmad;
    const struct cube24_layer_kernels *layer;
};

#define KERNELS(set)                                                                             \
    static int set##_encode(const int8_t *weight, const struct cube24_steps *steps,              \
                            size_t blocks, int past, int8_t *dense, uint8_t *index)              \
    {                                                                                            \
        return weight && steps && blocks && past && dense && index;                              \
    }                                                                                            \
    static int set##_decode(const int8_t *dense, const uint8_t *index,                           \
                            const struct cube24_steps *steps, size_t blocks, int past,           \
                            int8_t *weight)                                                      \
    {                                                                                            \
        return weight && steps && blocks && past && dense && index;                              \
    }                                                                                            \
    static int set##_decode_strict(const int8_t *dense, const uint8_t *index,                    \
                                   const struct cube24_steps *steps, size_t blocks, int past,    \
                                   int8_t *weight)                                               \
    {                                                                                            \
        return weight && steps && blocks && past && dense && index;                              \
    }                                                                                            \
    static void set##_count(const int8_t *weight, size_t blocks, uint64_t *masks)                \
    {                                                                                            \
        *masks = weight ? blocks : 0;                                                            \
    }                                                                                            \
    static void set##_prune(const int8_t *weight, size_t blocks, int policy, int8_t *out,        \
                            cube24_cost *cost)                                                   \
    {                                                                                            \
        cost->groups = weight && out && policy ? blocks : 0;                                     \
    }                                                                                            \
    static void set##_channels_last(const int8_t *weight, size_t taps, int8_t *matrix)           \
    {                                                                                            \
        *matrix = weight && taps;                                                                \
    }                                                                                            \
    static void set##_channels_first(const int8_t *matrix, size_t taps, int8_t *weight)          \
    {                                                                                            \
        *weight = matrix && taps;                                                                \
    }                                                                                            \
    static void set##_mmad(const int8_t *a, const int8_t *b, size_t m, size_t n, size_t k,       \
                           uint32_t flags, int32_t *c)                                           \
    {                                                                                            \
        *c = a && b && m && n && k && flags;                                                     \
    }                                                                                            \
    static void set##_mmad_sparse(const int8_t *a, const int8_t *dense, const uint8_t *index,    \
                                  size_t m, size_t n, size_t k, uint32_t flags, int32_t *c)      \
    {                                                                                            \
        *c = a && dense && index && m && n && k && flags;                                        \
    }                                                                                            \
    static const struct cube24_layer_kernels set##_layer;                                        \
    static const struct kernels set = {                                                          \
        {set##_encode, set##_decode, set##_decode_strict, set##_count, set##_prune,              \
         set##_channels_last, set##_channels_first},                                             \
        {set##_mmad, set##_mmad_sparse},                                                         \
        &set##_layer,                                                                            \
    };

static const struct kernels NONE = {{NULL, NULL, NULL, NULL, NULL, NULL, NULL}, {NULL, NULL}, NULL};
KERNELS(reference)
KERNELS(slow)
KERNELS(fast)

/* Put one slot of a set into another. */
static void put(struct kernels *to, int slot, const struct kernels *from)
{
    switch (slot) {
    case 0:
        to->codec.encode = from->codec.encode;
        break;
    case 1:
        to->codec.decode = from->codec.decode;
        break;
    case 2:
        to->codec.decode_strict = from->codec.decode_strict;
        break;
    case 3:
        to->codec.count = from->codec.count;
        break;
    case 4:
        to->codec.prune = from->codec.prune;
        break;
    case 5:
        to->codec.channels_last = from->codec.channels_last;
        break;
    case 6:
        to->codec.channels_first = from->codec.channels_first;
        break;
    case CODEC_SLOTS:
        to->mmad.mmad = from->mmad.mmad;
        break;
    case LAYER_SLOT:
        to->layer = from->layer;
        break;
    default:
        to->mmad.mmad_sparse = from->mmad.mmad_sparse;
    }
}

static int same(const struct kernels *a, const struct kernels *b)
{
    return a->codec.encode == b->codec.encode && a->codec.decode == b->codec.decode &&
           a->codec.decode_strict == b->codec.decode_strict &&
           a->codec.count == b->codec.count && a->codec.prune == b->codec.prune &&
           a->codec.channels_last == b->codec.channels_last &&
           a->codec.channels_first == b->codec.channels_first && a->mmad.mmad == b->mmad.mmad &&
           a->mmad.mmad_sparse == b->mmad.mmad_sparse && a->layer == b->layer;
}

static int yes(void)
{
    return 1;
}

static int no(void)
{
    return 0;
}

/* --- tables --------------------------------------------------------------------------------- */

/* The slots of a mask; a table without one is not there at all. */
struct made_up {
    struct kernels kernels;
    struct cube24_path path;
};

static void make(struct made_up *made, const struct kernels *kernels, int mask, int supported)
{
    made->kernels = NONE;
    for (int slot = 0; slot < SLOTS; slot++)
        if (mask >> slot & 1)
            put(&made->kernels, slot, kernels);
    made->path.name = "made up";
    made->path.supported = supported ? yes : no;
    made->path.codec = mask & ((1 << CODEC_SLOTS) - 1) ? &made->kernels.codec : NULL;
    made->path.mmad =
        mask >> CODEC_SLOTS & ((1 << MMAD_SLOTS) - 1) ? &made->kernels.mmad : NULL;
    made->path.layer = made->kernels.layer;
}

/* The path bits `choice` give, slot by slot, what `from` says; NULL: they are refused. */
static void check_choice(const struct cube24_path *paths, uint32_t choice,
                         const struct kernels *const from[SLOTS])
{
    struct kernels wanted = NONE, got = NONE;
    CHECK_EQUAL(choose_codec(paths, 3, choice, 0, &got.codec), from != NULL);
    CHECK_EQUAL(choose_mmad(paths, 3, choice, 0, &got.mmad), from != NULL);
    got.layer = choose_layer(paths, 3, choice, 0);
    CHECK_EQUAL(got.layer != NULL, from != NULL);
    if (!from)
        return;
    for (int slot = 0; slot < SLOTS; slot++)
        put(&wanted, slot, from[slot]);
    CHECK(same(&got, &wanted));
}

static void check_table(int slow_mask, int fast_mask, int slow_runs, int fast_runs)
{
    struct made_up first, second, third;
    make(&first, &reference, (1 << SLOTS) - 1, 1);
    make(&second, &slow, slow_mask, slow_runs);
    make(&third, &fast, fast_mask, fast_runs);
    const struct cube24_path paths[3] = {first.path, second.path, third.path};
    const struct kernels *all[SLOTS], *of_slow[SLOTS], *of_fast[SLOTS], *best[SLOTS];
    for (int slot = 0; slot < SLOTS; slot++) {
        all[slot] = &reference;
        of_slow[slot] = slow_mask >> slot & 1 ? &slow : &reference;
        of_fast[slot] = fast_mask >> slot & 1 ? &fast : &reference;
        best[slot] = fast_runs && fast_mask >> slot & 1   ? &fast
                     : slow_runs && slow_mask >> slot & 1 ? &slow
                                                          : &reference;
    }
    check_choice(paths, 0, best);
    check_choice(paths, 1, all);
    check_choice(paths, 2, slow_runs ? of_slow : NULL);
    check_choice(paths, 3, fast_runs ? of_fast : NULL);
    const int first_table = slow_mask + fast_mask + slow_runs + fast_runs == 0; /* for time's sake */
    for (uint32_t beyond = 4; beyond <= (first_table ? CUBE24_PATH_MASK : 4); beyond++)
        check_choice(paths, beyond, NULL);
}

/* Every set of slots on both paths, and every machine. */
static void a_path_without_a_kernel_has_the_scalar_one(void)
{
    for (int slow_mask = 0; slow_mask < 1 << SLOTS; slow_mask++)
        for (int fast_mask = 0; fast_mask < 1 << SLOTS; fast_mask++)
            for (int runs = 0; runs < 4; runs++)
                check_table(slow_mask, fast_mask, runs % 2, runs / 2);
}

static void bits_that_are_neither_path_nor_option_are_refused(void)
{
    struct made_up first;
    make(&first, &reference, (1 << SLOTS) - 1, 1);
    struct kernels got;
    for (uint32_t option = 0x100; option != 0; option <<= 1)
        for (uint32_t flag = 0x100; flag != 0; flag <<= 1)
            for (uint32_t path = 0; path < 2; path++) {
                CHECK_EQUAL(choose_codec(&first.path, 1, flag | path, option, &got.codec),
                            flag == option);
                CHECK_EQUAL(choose_mmad(&first.path, 1, flag | path, option, &got.mmad),
                            flag == option);
                CHECK_EQUAL(choose_layer(&first.path, 1, flag | path, option) != NULL,
                            flag == option);
            }
}

/* --- the table of this library -------------------------------------------------------------- */

static void every_path_has_every_kernel(void)
{
    for (uint32_t choice = 0; choice <= CUBE24_PATH_MASK; choice++) {
        struct kernels got = NONE;
        const int runs = choice == 0 || cube24_path_supported(choice - 1);
        CHECK_EQUAL(cube24_choose_codec(choice, 0, &got.codec), runs);
        CHECK_EQUAL(cube24_choose_mmad(choice, 0, &got.mmad), runs);
        got.layer = cube24_choose_layer(choice, 0);
        CHECK_EQUAL(got.layer != NULL, runs);
        if (runs) {
            CHECK(got.codec.encode && got.codec.decode && got.codec.decode_strict);
            CHECK(got.codec.count && got.codec.prune);
            CHECK(got.codec.channels_last && got.codec.channels_first);
            CHECK(got.mmad.mmad && got.mmad.mmad_sparse);
            CHECK(got.layer->pack && got.layer->multiply && got.layer->requantise);
            CHECK(got.layer->transpose8 && got.layer->transpose32);
        }
    }
}

int main(void)
{
    a_path_without_a_kernel_has_the_scalar_one();
    bits_that_are_neither_path_nor_option_are_refused();
    every_path_has_every_kernel();
    return check_report("test_paths");
}
