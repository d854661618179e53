/* SPDX-License-Identifier: Apache-2.0
 * Dense and sparse multiply-add against a slow rule: every element found by its index formula,
 * every sum an int64. Operands are of their exact size with garbage in all padding; results lie
 * between canaries. */
#include "check.h"
#include "cube24.h"
#include "support.h"

static int32_t *guarded_int32(struct guarded g)
{
    return (int32_t *)(void *)g.data;
}

/* --- a multiplication, in rows and columns -------------------------------------------------- */

enum { MOST_ROWS = 33, MOST_K = 200, LONGEST_K = 4095 };

/* A problem before it is laid out. b holds a row for each column of the product: k weights, or
 * two slots a group. */
static struct problem {
    size_t m, n, k;
    int sparse;
    uint32_t path; /* as flags */
    int8_t a[MOST_ROWS * MOST_K + LONGEST_K], b[MOST_ROWS * MOST_K + LONGEST_K];
    int i0[MOST_ROWS * MOST_K], i1[MOST_ROWS * MOST_K];
    int32_t c[MOST_ROWS * MOST_ROWS];
} the;

/* Groups of which at least one element counts. */
static size_t groups(void)
{
    return ceil_of(the.k, 4);
}

static size_t width_of_b(void)
{
    return the.sparse ? 2 * groups() : the.k;
}

static size_t steps(void)
{
    return ceil_of(the.k, the.sparse ? 64 : 32);
}

/* Zz (M1, K1, 16, 32) */
static size_t place_in_a(size_t row, size_t k)
{
    const size_t k1 = the.sparse ? 2 * steps() : steps();
    return ((row / 16 * k1 + k / 32) * 16 + row % 16) * 32 + k % 32;
}

/* Zn (K1, N1, 16, k0) */
static size_t place_in_zn(size_t column, size_t byte, size_t k0)
{
    return ((byte / k0 * ceil_of(the.n, 16) + column / 16) * 16 + column % 16) * k0 + byte % k0;
}

/* Nz (N1, M1, 16, 16) */
static size_t place_in_c(size_t row, size_t column)
{
    return ((column / 16 * ceil_of(the.m, 16) + row / 16) * 16 + row % 16) * 16 + column % 16;
}

static size_t bytes_of_a(void)
{
    return ceil_of(the.m, 16) * steps() * (the.sparse ? 1024 : 512);
}

static size_t bytes_of_b(void)
{
    return steps() * ceil_of(the.n, 16) * 512;
}

static size_t bytes_of_index(void)
{
    return steps() * ceil_of(the.n, 16) * 128;
}

static size_t bytes_of_c(void)
{
    return ceil_of(the.n, 16) * ceil_of(the.m, 16) * 1024;
}

/* What an addition makes of an exact value. */
static int64_t settle(int64_t value, uint32_t flags)
{
    const int64_t low = INT32_MIN, high = INT32_MAX, turn = (int64_t)1 << 32;
    if (!(flags & CUBE24_WRAP))
        return value < low ? low : value > high ? high : value;
    while (value < low)
        value += turn;
    while (value > high)
        value -= turn;
    return value;
}

/* Element k of a row of a; nothing beyond k. */
static int64_t element(size_t row, size_t k)
{
    return k < the.k ? the.a[row * the.k + k] : 0;
}

/* What group g adds to an element of c. */
static int64_t group_sum(size_t row, size_t column, size_t g, uint32_t flags)
{
    const int8_t *slots = the.b + column * 2 * groups() + 2 * g;
    const int i0 = the.i0[column * groups() + g], i1 = the.i1[column * groups() + g];
    const int exception = (flags & CUBE24_PAIR20_TABLE) && i0 == 2 && i1 == 0;
    int64_t sum = 0;
    if (i0 != 3)
        sum += slots[0] * element(row, 4 * g + (size_t)i0);
    if (i1 != 3)
        sum += slots[1] * element(row, 4 * g + (exception ? 2 : (size_t)i1 + 1));
    return sum;
}

/* What step s adds to an element of c. */
static int64_t step_sum(size_t row, size_t column, size_t s, uint32_t flags)
{
    int64_t sum = 0;
    if (the.sparse)
        for (size_t g = 16 * s; g < 16 * s + 16 && g < groups(); g++)
            sum += group_sum(row, column, g, flags);
    else
        for (size_t k = 32 * s; k < 32 * s + 32 && k < the.k; k++)
            sum += element(row, k) * the.b[column * the.k + k];
    return sum;
}

static int32_t element_of_product(size_t row, size_t column, uint32_t flags)
{
    const int whole = (flags & CUBE24_GRAIN_INSTRUCTION) != 0;
    int64_t value = the.c[row * the.n + column];
    for (size_t s = 0; s < steps(); s++) {
        value += step_sum(row, column, s, flags);
        if (!whole)
            value = settle(value, flags);
    }
    return (int32_t)settle(value, flags);
}

/* --- the same, laid out --------------------------------------------------------------------- */

/* What lies in the padding of the operands: 0xff is an index of 3 twice over. */
enum { GARBAGE_RANDOM = -1 };
static const int GARBAGE[] = {GARBAGE_RANDOM, 0xff, 0x80};

static uint64_t garbage_state = 24;

static void fill_garbage(uint8_t *bytes, size_t size, int garbage)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(garbage == GARBAGE_RANDOM ? random_below(&garbage_state, 256)
                                                       : (size_t)garbage);
}

struct operands {
    struct exact a, b, index;
    struct guarded c, wanted; /* wanted: what c holds beyond m and n is its fill */
};

static struct exact exact_garbage(size_t size, int garbage)
{
    uint8_t *bytes = allocate(size + 1);
    fill_garbage(bytes, size, garbage);
    const struct exact e = exact_copy(bytes, size);
    free(bytes);
    return e;
}

static void lay_out_pair(uint8_t *index, size_t column, size_t g)
{
    const int pair = the.i0[column * groups() + g] + 4 * the.i1[column * groups() + g];
    uint8_t *byte = index + place_in_zn(column, g / 2, 8);
    *byte = (uint8_t)(g % 2 == 0 ? *byte / 16 * 16 + pair : *byte % 16 + 16 * pair);
}

static struct operands lay_out(int garbage, int fill)
{
    struct operands o;
    o.a = exact_garbage(bytes_of_a(), garbage);
    o.b = exact_garbage(bytes_of_b(), garbage);
    o.index = exact_garbage(the.sparse ? bytes_of_index() : 0, garbage);
    o.c = guarded_words(bytes_of_c(), fill);
    o.wanted = guarded_words(bytes_of_c(), fill);
    for (size_t row = 0; row < the.m; row++)
        for (size_t k = 0; k < the.k; k++)
            o.a.data[place_in_a(row, k)] = (uint8_t)the.a[row * the.k + k];
    for (size_t column = 0; column < the.n; column++) {
        for (size_t i = 0; i < width_of_b(); i++)
            o.b.data[place_in_zn(column, i, 32)] = (uint8_t)the.b[column * width_of_b() + i];
        for (size_t g = 0; the.sparse && g < groups(); g++)
            lay_out_pair(o.index.data, column, g);
        for (size_t row = 0; row < the.m; row++)
            guarded_int32(o.c)[place_in_c(row, column)] = the.c[row * the.n + column];
    }
    memcpy(o.wanted.data, o.c.data, o.c.size);
    return o;
}

static void operands_free(struct operands o)
{
    exact_free(o.a);
    exact_free(o.b);
    exact_free(o.index);
    guarded_free(o.c);
    guarded_free(o.wanted);
}

static int run(struct operands o, uint32_t options, cube24_place *place)
{
    const uint32_t flags = the.path | options;
    return the.sparse ? cube24_mmad_sparse(exact_int8(o.a), exact_int8(o.b), o.index.data, the.m,
                                           the.n, the.k, flags, guarded_int32(o.c), place)
                      : cube24_mmad(exact_int8(o.a), exact_int8(o.b), the.m, the.n, the.k, flags,
                                    guarded_int32(o.c));
}

/* The problem gives what the slow rule says, and nothing else is written. */
static void check_product(uint32_t flags, int garbage, int fill)
{
    const struct operands o = lay_out(garbage, fill);
    struct guarded place = guarded_words(sizeof(cube24_place), fill);
    for (size_t row = 0; row < the.m; row++)
        for (size_t column = 0; column < the.n; column++)
            guarded_int32(o.wanted)[place_in_c(row, column)] =
                element_of_product(row, column, flags);
    if (the.sparse && !(flags & CUBE24_INDEX3_NOTHING))
        CHECK_EQUAL(cube24_find_index3(o.index.data, the.n, the.k, guarded_places(place)),
                    CUBE24_OK);
    CHECK_EQUAL(run(o, flags, guarded_places(place)), CUBE24_OK);
    if (!CHECK(holds(o.c, o.wanted.data)))
        fprintf(stderr, "  %s, m %zu, n %zu, k %zu, path %u, flags %#x, garbage %d\n",
                the.sparse ? "sparse" : "dense", the.m, the.n, the.k, (unsigned)the.path,
                (unsigned)flags, garbage);
    CHECK(is_untouched(place, fill));
    guarded_free(place);
    operands_free(o);
}

/* --- random multiplications ----------------------------------------------------------------- */

enum values { VALUES_ANY, VALUES_LEAST, VALUES_EXTREME, VALUES_SPARSE, VALUES_KINDS };

static int8_t random_value(uint64_t *state, enum values values)
{
    const int any = (int)random_below(state, 256) - 128;
    switch (values) {
    case VALUES_LEAST:
        return -128;
    case VALUES_EXTREME:
        return any % 2 ? 127 : -128;
    case VALUES_SPARSE:
        return (int8_t)(random_below(state, 2) ? any : 0);
    default:
        return (int8_t)any;
    }
}

/* Zero, anything, or so near to an edge that some steps cross it. */
static int32_t random_start(uint64_t *state)
{
    const int64_t any = random_bits(state), near = any % (1 << 20);
    switch (random_below(state, 4)) {
    case 0:
        return 0;
    case 1:
        return (int32_t)(any + INT32_MIN);
    case 2:
        return (int32_t)(INT32_MAX - near);
    default:
        return (int32_t)(INT32_MIN + near);
    }
}

static void random_problem(uint64_t *state, enum values values, size_t indices)
{
    for (size_t i = 0; i < the.m * the.k; i++)
        the.a[i] = random_value(state, values);
    for (size_t i = 0; i < the.n * width_of_b(); i++)
        the.b[i] = random_value(state, values);
    for (size_t i = 0; the.sparse && i < the.n * groups(); i++) {
        the.i0[i] = (int)random_below(state, indices);
        the.i1[i] = (int)random_below(state, indices);
    }
    for (size_t i = 0; i < the.m * the.n; i++)
        the.c[i] = random_start(state);
}

static void set_sizes(size_t m, size_t n, size_t k, int sparse)
{
    the.m = m;
    the.n = n;
    the.k = k;
    the.sparse = sparse;
}

static void check_random(uint64_t *state, uint32_t flags)
{
    for (int values = 0; values < VALUES_KINDS; values++) {
        random_problem(state, (enum values)values, flags & CUBE24_INDEX3_NOTHING ? 4 : 3);
        check_product(flags, GARBAGE[random_below(state, COUNT(GARBAGE))],
                      FILLS[random_below(state, 2)]);
    }
}

static void products_of_every_size_follow_the_rule(void)
{
    static const size_t rows[] = {1, 15, 16, 17, 33};
    static const size_t depths[] = {1, 4, 31, 32, 33, 60, 63, 64, 65, 68, 128, 200};
    uint64_t state = 1;
    for (size_t i = 0; i < COUNT(rows); i++)
        for (size_t j = 0; j < COUNT(rows); j++)
            for (size_t d = 0; d < COUNT(depths); d++)
                for (int sparse = 0; sparse < 2; sparse++) {
                    const uint32_t any = sparse ? CUBE24_INDEX3_NOTHING | CUBE24_PAIR20_TABLE : 0;
                    set_sizes(rows[i], rows[j], depths[d], sparse);
                    check_random(&state, 0);
                    check_random(&state, CUBE24_WRAP | (random_bits(&state) & any));
                    check_random(&state,
                                 CUBE24_GRAIN_INSTRUCTION | (random_bits(&state) & any));
                    check_random(&state, CUBE24_WRAP | CUBE24_GRAIN_INSTRUCTION |
                                             (random_bits(&state) & any));
                    if (sparse)
                        check_random(&state, random_bits(&state) & any);
                }
}

static void every_depth_follows_the_rule(void)
{
    uint64_t state = 2;
    for (size_t k = 1; k <= 132; k++)
        for (int sparse = 0; sparse < 2; sparse++) {
            set_sizes(2, 3, k, sparse);
            check_random(&state, 0);
            check_random(&state, CUBE24_GRAIN_INSTRUCTION);
        }
}

/* 4095 x 2^14 from zero does not overflow; from a bias it does. */
static void the_deepest_instruction_is_exact(void)
{
    const int32_t starts[] = {0, INT32_MAX - 4095 * 16384, INT32_MAX - 4095 * 16384 + 1};
    for (int sparse = 0; sparse < 2; sparse++)
        for (size_t s = 0; s < COUNT(starts); s++) {
            set_sizes(1, 1, LONGEST_K, sparse);
            memset(the.a, -128, LONGEST_K);
            memset(the.b, -128, LONGEST_K + 1);
            memset(the.i0, 0, sizeof the.i0);
            memset(the.i1, 0, sizeof the.i1);
            the.c[0] = starts[s];
            check_product(0, GARBAGE_RANDOM, FILLS[0]);
            check_product(CUBE24_GRAIN_INSTRUCTION, GARBAGE_RANDOM, FILLS[0]);
            check_product(CUBE24_WRAP, GARBAGE_RANDOM, FILLS[0]);
        }
}

/* --- overflow, with the answers written down ------------------------------------------------ */

/* A 1 x 1 problem of zeros whose index pairs are all (0, 0). */
static void blank(size_t k, int sparse, int32_t c)
{
    set_sizes(1, 1, k, sparse);
    memset(the.a, 0, sizeof the.a);
    memset(the.b, 0, sizeof the.b);
    memset(the.i0, 0, sizeof the.i0);
    memset(the.i1, 0, sizeof the.i1);
    the.c[0] = c;
}

/* Make element k, the first of a group, add a * b. */
static void put_product(size_t k, int a, int b)
{
    the.a[k] = (int8_t)a;
    the.b[the.sparse ? k / 2 : k] = (int8_t)b;
}

static void check_answer(uint32_t flags, int64_t wanted)
{
    const struct operands o = lay_out(GARBAGE_RANDOM, FILLS[0]);
    CHECK_EQUAL(run(o, flags, NULL), CUBE24_OK);
    CHECK_EQUAL(guarded_int32(o.c)[0], wanted);
    operands_free(o);
}

static void sums_stop_or_wrap_at_the_very_edge(void)
{
    static const int factors[][2] = {{1, 1}, {-128, -128}, {127, 127}, {-1, 127}, {-128, 127}};
    const int64_t turn = (int64_t)1 << 32;
    for (int sparse = 0; sparse < 2; sparse++)
        for (size_t f = 0; f < COUNT(factors); f++)
            for (int beyond = -2; beyond <= 2; beyond++) {
                const int64_t product = factors[f][0] * factors[f][1];
                const int64_t edge = product > 0 ? INT32_MAX : INT32_MIN;
                const int64_t exact = product > 0 ? edge + beyond : edge - beyond;
                const int64_t start = exact - product;
                if (start < INT32_MIN || start > INT32_MAX)
                    continue; /* beyond the edge before anything was added */
                blank(1, sparse, (int32_t)start);
                put_product(0, factors[f][0], factors[f][1]);
                const int64_t wrapped = product > 0 ? exact - turn : exact + turn;
                for (uint32_t grain = 0; grain <= CUBE24_GRAIN_INSTRUCTION;
                     grain += CUBE24_GRAIN_INSTRUCTION) {
                    check_answer(grain, beyond > 0 ? edge : exact);
                    check_answer(grain | CUBE24_WRAP, beyond > 0 ? wrapped : exact);
                }
            }
}

/* Elements `first` and `second` add 200 and -150 (times sign), 100 before the edge. */
static void check_order(int sparse, size_t first, size_t second, int sign, int same_step)
{
    const int64_t edge = sign > 0 ? INT32_MAX : INT32_MIN;
    blank(second + 1, sparse, (int32_t)(edge - sign * 100));
    put_product(first, 100 * sign, 2);
    put_product(second, 75 * sign, -2);
    check_answer(0, edge - sign * (same_step ? 50 : 150));
    check_answer(CUBE24_GRAIN_INSTRUCTION, edge - sign * 50);
    check_answer(CUBE24_WRAP, edge - sign * 50);
    check_answer(CUBE24_WRAP | CUBE24_GRAIN_INSTRUCTION, edge - sign * 50);
}

static void steps_settle_one_after_the_other(void)
{
    for (int sign = -1; sign <= 1; sign += 2) {
        check_order(0, 0, 4, sign, 1);
        check_order(0, 0, 28, sign, 1);
        check_order(0, 28, 32, sign, 0);
        check_order(0, 0, 64, sign, 0);
        check_order(0, 36, 60, sign, 1);
        check_order(1, 0, 4, sign, 1);
        check_order(1, 0, 32, sign, 1);
        check_order(1, 28, 60, sign, 1);
        check_order(1, 60, 64, sign, 0);
        check_order(1, 0, 128, sign, 0);
        check_order(1, 64, 124, sign, 1);
    }
}

/* --- what an index selects ------------------------------------------------------------------ */

/* Each slot of each pair, in each group of two steps, alone: a holds 1 to 4 in that group. */
static void each_pair_selects_its_elements(void)
{
    static const uint32_t tables[2] = {0, CUBE24_PAIR20_TABLE};
    static const uint32_t grains[2] = {0, CUBE24_GRAIN_INSTRUCTION};
    for (int pair = 0; pair < 16; pair++)
        for (size_t g = 0; g < 32; g++)
            for (int t = 0; t < 4; t++) {
                const int i0 = pair % 4, i1 = pair / 4, table = t % 2;
                const int first = i0 == 3 ? 0 : i0 + 1;
                const int rule = i1 == 3 ? 0 : i1 + 2;
                const int second = table && i0 == 2 && i1 == 0 ? 3 : rule;
                const uint32_t flags = tables[table] | grains[t / 2] | CUBE24_INDEX3_NOTHING;
                blank(128, 1, 0);
                the.i0[g] = i0;
                the.i1[g] = i1;
                for (size_t e = 0; e < 4; e++)
                    the.a[4 * g + e] = (int8_t)(e + 1);
                the.b[2 * g] = 1;
                check_answer(flags, first);
                if (i0 != 3 && i1 != 3) /* with and without the flag */
                    check_answer(flags & ~(uint32_t)CUBE24_INDEX3_NOTHING, first);
                the.b[2 * g] = 0;
                the.b[2 * g + 1] = 1;
                check_answer(flags, second);
                if (i0 != 3 && i1 != 3)
                    check_answer(flags & ~(uint32_t)CUBE24_INDEX3_NOTHING, second);
                the.b[2 * g] = 10; /* two weights on one element: both are added */
                check_answer(flags, 10 * first + second);
            }
}

/* The place of the first index of 3 that counts, from the bytes as they lie. */
static cube24_place first_index3(const uint8_t *index)
{
    const size_t n1 = ceil_of(the.n, 16);
    for (size_t at = 0; at < bytes_of_index(); at++)
        for (size_t half = 0; half < 2; half++) {
            const int pair = half == 0 ? index[at] % 16 : index[at] / 16;
            const size_t column = at / 128 % n1 * 16 + at % 128 / 8;
            const size_t group = at / 128 / n1 * 16 + at % 8 * 2 + half;
            if (column < the.n && group < groups() && (pair % 4 == 3 || pair / 4 == 3)) {
                const cube24_place place = {column, group, CUBE24_FAULT_INDEX3};
                return place;
            }
        }
    const cube24_place nowhere = {99, 99, CUBE24_FAULT_NONE};
    return nowhere;
}

static void check_refusal(uint32_t flags)
{
    const struct operands o = lay_out(GARBAGE[random_below(&garbage_state, COUNT(GARBAGE))],
                                      FILLS[1]);
    const cube24_place wanted = first_index3(o.index.data);
    const struct guarded place = guarded_words(sizeof(cube24_place), FILLS[0]);
    const struct guarded found = guarded_words(sizeof(cube24_place), FILLS[0]);
    CHECK_EQUAL(run(o, flags, guarded_places(place)), CUBE24_E_REFUSED);
    CHECK(holds(place, &wanted));
    CHECK_EQUAL(cube24_find_index3(o.index.data, the.n, the.k, guarded_places(found)),
                CUBE24_E_REFUSED);
    CHECK(holds(found, &wanted));
    CHECK_EQUAL(cube24_find_index3(o.index.data, the.n, the.k, NULL), CUBE24_E_REFUSED);
    CHECK(holds(o.c, o.wanted.data));
    CHECK_EQUAL(run(o, flags, NULL), CUBE24_E_REFUSED);
    CHECK(holds(o.c, o.wanted.data));
    guarded_free(place);
    guarded_free(found);
    operands_free(o);
}

static const uint32_t REFUSING[] = {0, CUBE24_WRAP, CUBE24_PAIR20_TABLE,
                                    CUBE24_GRAIN_INSTRUCTION};

static void one_index_of_3_is_refused_where_it_is(void)
{
    static const size_t sizes[][2] = {{33, 200}, {16, 64}, {17, 65}, {1, 1}, {5, 130}};
    uint64_t state = 3;
    for (size_t s = 0; s < COUNT(sizes); s++) {
        set_sizes(2, sizes[s][0], sizes[s][1], 1);
        random_problem(&state, VALUES_ANY, 3);
        for (size_t i = 0; i < the.n * groups(); i++)
            for (int slot = 0; slot < 2; slot++) {
                int *const index = slot == 0 ? &the.i0[i] : &the.i1[i];
                const int legal = *index;
                *index = 3;
                check_refusal(REFUSING[i % COUNT(REFUSING)]);
                *index = legal;
            }
        check_product(0, GARBAGE[1], FILLS[0]); /* and none of them is left */
    }
}

static void of_many_the_first_in_the_bytes_is_named(void)
{
    uint64_t state = 4;
    set_sizes(1, 33, 200, 1);
    for (int trial = 0; trial < 400; trial++) {
        random_problem(&state, VALUES_SPARSE, 3);
        for (size_t count = 2 + random_below(&state, 4); count > 0; count--) {
            const size_t at = random_below(&state, the.n * groups());
            *(random_below(&state, 2) ? &the.i0[at] : &the.i1[at]) = 3;
        }
        check_refusal(REFUSING[random_below(&state, COUNT(REFUSING))]);
    }
    /* a later column of an earlier step comes first; the step outweighs the column */
    random_problem(&state, VALUES_ANY, 3);
    the.i0[0 * groups() + 16] = the.i1[32 * groups() + 15] = 3;
    const struct operands o = lay_out(GARBAGE[1], FILLS[0]);
    cube24_place place;
    CHECK_EQUAL(run(o, 0, &place), CUBE24_E_REFUSED);
    CHECK_EQUAL(place.row, 32);
    CHECK_EQUAL(place.group, 15);
    CHECK_EQUAL(place.fault, CUBE24_FAULT_INDEX3);
    operands_free(o);
}

/* --- the start of a result ------------------------------------------------------------------ */

static void a_result_starts_from_zero_or_its_bias(void)
{
    static const size_t sizes[] = {1, 2, 15, 16, 17, 32, 33};
    uint64_t state = 5;
    for (size_t i = 0; i < COUNT(sizes); i++)
        for (size_t j = 0; j < COUNT(sizes); j++)
            for (int with_bias = 0; with_bias < 2; with_bias++) {
                const size_t bytes = sizes[j] * sizeof(int32_t);
                int32_t *const bias = allocate(bytes); /* ends where its allocation ends */
                set_sizes(sizes[i], sizes[j], 0, 0);
                for (size_t column = 0; column < the.n; column++)
                    bias[column] = random_start(&state);
                bias[0] = INT32_MIN;
                const struct operands o = lay_out(GARBAGE_RANDOM, FILLS[i % 2]);
                for (size_t row = 0; row < the.m; row++)
                    for (size_t column = 0; column < the.n; column++)
                        guarded_int32(o.wanted)[place_in_c(row, column)] =
                            with_bias ? bias[column] : 0;
                CHECK_EQUAL(cube24_mmad_start(guarded_int32(o.c), the.m, the.n,
                                              with_bias ? bias : NULL),
                            CUBE24_OK);
                CHECK(holds(o.c, o.wanted.data));
                operands_free(o);
                free(bias);
            }
}

/* --- calls that a multiplication refuses ---------------------------------------------------- */

static int8_t BYTES[1024];
static uint8_t INDEX[128];
static int32_t result[256];
static cube24_place result_place;

/* The call gives the status and writes nothing. */
#define WRITES_NOTHING(call, status)                                             \
    do {                                                                         \
        memset(result, FILLS[0], sizeof result);                                 \
        memset(&result_place, FILLS[0], sizeof result_place);                    \
        CHECK_EQUAL(call, status);                                               \
        CHECK(is_filled((const uint8_t *)result, sizeof result, FILLS[0]));      \
        CHECK(is_filled((const uint8_t *)&result_place, sizeof result_place, FILLS[0])); \
    } while (0)

static void sizes_of_zero_do_nothing(void)
{
    for (unsigned set = 0; set < 7; set++) {
        const size_t m = set & 1, n = set >> 1 & 1, k = set >> 2;
        WRITES_NOTHING(cube24_mmad(BYTES, BYTES, m, n, k, 0, result), CUBE24_OK);
        WRITES_NOTHING(cube24_mmad_sparse(BYTES, BYTES, INDEX, m, n, k, 0, result, &result_place),
                       CUBE24_OK);
        if (n == 0 || k == 0)
            WRITES_NOTHING(cube24_find_index3(NULL, n, k, &result_place), CUBE24_OK);
        if (m == 0 || n == 0) {
            WRITES_NOTHING(cube24_mmad_start(result, m, n, result), CUBE24_OK);
            CHECK_EQUAL(cube24_mmad_start(NULL, m, n, NULL), CUBE24_OK);
        }
    }
    /* what holds no elements may be NULL */
    CHECK_EQUAL(cube24_mmad(NULL, NULL, 0, 0, 0, 0, NULL), CUBE24_OK);
    CHECK_EQUAL(cube24_mmad_sparse(NULL, NULL, NULL, 0, 0, 0, 0, NULL, NULL), CUBE24_OK);
    WRITES_NOTHING(cube24_mmad(NULL, NULL, 1, 1, 0, 0, result), CUBE24_OK);
    WRITES_NOTHING(cube24_mmad_sparse(NULL, NULL, NULL, 1, 1, 0, 0, result, NULL), CUBE24_OK);
}

static void null_where_data_is_needed_is_refused(void)
{
    const int status = CUBE24_E_ARGUMENT;
    WRITES_NOTHING(cube24_mmad_start(NULL, 1, 1, NULL), status);
    WRITES_NOTHING(cube24_mmad_start(NULL, 1, 1, result), status);
    WRITES_NOTHING(cube24_find_index3(NULL, 1, 1, &result_place), status);
    WRITES_NOTHING(cube24_mmad(NULL, BYTES, 1, 1, 1, 0, result), status);
    WRITES_NOTHING(cube24_mmad(BYTES, NULL, 1, 1, 1, 0, result), status);
    WRITES_NOTHING(cube24_mmad(BYTES, BYTES, 1, 1, 1, 0, NULL), status);
    WRITES_NOTHING(cube24_mmad_sparse(NULL, BYTES, INDEX, 1, 1, 1, 0, result, &result_place),
                   status);
    WRITES_NOTHING(cube24_mmad_sparse(BYTES, NULL, INDEX, 1, 1, 1, 0, result, &result_place),
                   status);
    WRITES_NOTHING(cube24_mmad_sparse(BYTES, BYTES, NULL, 1, 1, 1, 0, result, &result_place),
                   status);
    WRITES_NOTHING(cube24_mmad_sparse(BYTES, BYTES, INDEX, 1, 1, 1, 0, NULL, &result_place),
                   status);
}

static void flags_without_a_name_are_refused(void)
{
    const uint32_t dense = CUBE24_WRAP | CUBE24_GRAIN_INSTRUCTION;
    const uint32_t sparse = dense | CUBE24_INDEX3_NOTHING | CUBE24_PAIR20_TABLE;
    for (int bit = 8; bit < 32; bit++) { /* below are the paths */
        const uint32_t flag = (uint32_t)1 << bit;
        if (!(flag & dense)) {
            WRITES_NOTHING(cube24_mmad(BYTES, BYTES, 1, 1, 1, flag, result), CUBE24_E_ARGUMENT);
            WRITES_NOTHING(cube24_mmad(BYTES, BYTES, 1, 1, 1, flag | dense, result),
                           CUBE24_E_ARGUMENT);
        }
        if (!(flag & sparse)) {
            WRITES_NOTHING(cube24_mmad_sparse(BYTES, BYTES, INDEX, 1, 1, 1, flag, result,
                                              &result_place),
                           CUBE24_E_ARGUMENT);
            WRITES_NOTHING(cube24_mmad_sparse(BYTES, BYTES, INDEX, 1, 1, 1, flag | sparse, result,
                                              &result_place),
                           CUBE24_E_ARGUMENT);
        }
    }
}

/* Whatever the sizes are, if they are legal. */
static void paths_that_this_machine_cannot_run_are_refused(void)
{
    for (uint32_t path = 0; path < CUBE24_PATH_MASK; path++) {
        const uint32_t flags = path + 1;
        const int status = cube24_path_supported(path) ? CUBE24_OK : CUBE24_E_ARGUMENT;
        for (size_t m = 0; m < 2; m++) {
            int32_t c[256] = {0};
            CHECK_EQUAL(cube24_mmad(BYTES, BYTES, m, 1, 1, flags, c), status);
            CHECK_EQUAL(cube24_mmad_sparse(BYTES, BYTES, INDEX, m, 1, 1, flags, c, NULL), status);
        }
        if (status == CUBE24_OK)
            continue;
        WRITES_NOTHING(cube24_mmad(BYTES, BYTES, 1, 1, 1, flags | CUBE24_WRAP, result), status);
        WRITES_NOTHING(cube24_mmad_sparse(BYTES, BYTES, INDEX, 1, 1, 1, flags | CUBE24_WRAP,
                                          result, &result_place),
                       status);
        WRITES_NOTHING(cube24_mmad(NULL, NULL, SIZE_MAX, 1, 1, flags, NULL), CUBE24_E_SIZE);
        WRITES_NOTHING(cube24_mmad_sparse(NULL, NULL, NULL, SIZE_MAX, 1, 1, flags, NULL,
                                          &result_place),
                       CUBE24_E_SIZE);
    }
}

static void sizes_too_large_are_refused_first(void)
{
    static const size_t large[] = {SIZE_MAX, SIZE_MAX - 15, (size_t)PTRDIFF_MAX, SIZE_MAX / 16};
    const uint32_t unknown = CUBE24_STRICT;
    for (size_t i = 0; i < COUNT(large); i++)
        for (int which = 0; which < 3; which++) {
            const size_t m = which == 0 ? large[i] : 1, n = which == 1 ? large[i] : 1;
            const size_t k = which == 2 ? large[i] : 1;
            WRITES_NOTHING(cube24_mmad(BYTES, BYTES, m, n, k, 0, result), CUBE24_E_SIZE);
            WRITES_NOTHING(cube24_mmad(NULL, NULL, m, n, k, unknown, NULL), CUBE24_E_SIZE);
            WRITES_NOTHING(cube24_mmad_sparse(BYTES, BYTES, INDEX, m, n, k, 0, result,
                                              &result_place),
                           CUBE24_E_SIZE);
            WRITES_NOTHING(cube24_mmad_sparse(NULL, NULL, NULL, m, n, k, unknown, NULL,
                                              &result_place),
                           CUBE24_E_SIZE);
            if (which > 0) {
                WRITES_NOTHING(cube24_find_index3(INDEX, n, k, &result_place), CUBE24_E_SIZE);
                WRITES_NOTHING(cube24_find_index3(NULL, n, k, &result_place), CUBE24_E_SIZE);
            }
            if (which < 2) {
                WRITES_NOTHING(cube24_mmad_start(result, m, n, NULL), CUBE24_E_SIZE);
                WRITES_NOTHING(cube24_mmad_start(NULL, m, n, NULL), CUBE24_E_SIZE);
            }
        }
}

static void multiplications(uint32_t path)
{
    the.path = path;
    products_of_every_size_follow_the_rule();
    every_depth_follows_the_rule();
    the_deepest_instruction_is_exact();
    sums_stop_or_wrap_at_the_very_edge();
    steps_settle_one_after_the_other();
    each_pair_selects_its_elements();
    one_index_of_3_is_refused_where_it_is();
    of_many_the_first_in_the_bytes_is_named();
}

int main(void)
{
    on_every_path(multiplications);
    a_result_starts_from_zero_or_its_bias();
    sizes_of_zero_do_nothing();
    null_where_data_is_needed_is_refused();
    flags_without_a_name_are_refused();
    paths_that_this_machine_cannot_run_are_refused();
    sizes_too_large_are_refused_first();
    return check_report("test_mmad");
}
