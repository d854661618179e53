/* SPDX-License-Identifier: Apache-2.0
 * The pieces of the datapath by themselves, and whole multiplications from rows to rows: element by
 * element from the rule of docs/format.md, with a sum in 64 bits at each step. */
#include "check.h"
#include "cube24.h"
#include "support.h"

/* --- pieces --------------------------------------------------------------------------------- */

/* Every index pair under both options: slot 0 is element i0, slot 1 element i1 + 1. */
static void every_pair_selects_by_the_rule(void)
{
    static const int8_t a[4] = {11, -22, 33, -44};
    static const uint32_t options[4] = {0, CUBE24_INDEX3_NOTHING, CUBE24_PAIR20_TABLE,
                                        CUBE24_INDEX3_NOTHING | CUBE24_PAIR20_TABLE};
    for (size_t o = 0; o < COUNT(options); o++)
        for (uint32_t pair = 0; pair < 16; pair++) {
            const uint32_t i0 = pair % 4, i1 = pair / 4;
            int8_t wanted[2] = {i0 < 3 ? a[i0] : (int8_t)0, i1 < 3 ? a[i1 + 1] : (int8_t)0};
            if (i0 == 2 && i1 == 0 && options[o] & CUBE24_PAIR20_TABLE)
                wanted[1] = a[2];
            const int refused = (i0 == 3 || i1 == 3) && !(options[o] & CUBE24_INDEX3_NOTHING);
            const struct guarded got = guarded_bytes(2, FILLS[o % 2]);
            CHECK_EQUAL(cube24_select(a, pair, options[o], guarded_int8(got)),
                        refused ? CUBE24_E_REFUSED : CUBE24_OK);
            CHECK(refused ? is_untouched(got, FILLS[o % 2]) : holds(got, wanted));
            guarded_free(got);
        }
    int8_t selected[2] = {5, 5};
    CHECK_EQUAL(cube24_select(a, 16, 0, selected), CUBE24_E_RANGE);
    CHECK_EQUAL(cube24_select(a, UINT32_MAX, 0, selected), CUBE24_E_RANGE);
    CHECK_EQUAL(cube24_select(a, 0, CUBE24_WRAP, selected), CUBE24_E_ARGUMENT);
    CHECK_EQUAL(cube24_select(NULL, 0, 0, selected), CUBE24_E_ARGUMENT);
    CHECK_EQUAL(cube24_select(a, 0, 0, NULL), CUBE24_E_ARGUMENT);
    CHECK(selected[0] == 5 && selected[1] == 5);
}

static int32_t limited(int64_t sum, uint32_t flags)
{
    if (flags & CUBE24_WRAP) {
        const int64_t all = (int64_t)1 << 32;
        while (sum > INT32_MAX)
            sum -= all;
        while (sum < INT32_MIN)
            sum += all;
    }
    return (int32_t)(sum > INT32_MAX ? INT32_MAX : sum < INT32_MIN ? INT32_MIN : sum);
}

static void accumulators_saturate_or_wrap(void)
{
    static const int32_t edges[] = {INT32_MIN, INT32_MIN + 1, -65536, -1, 0, 1, 4096, INT32_MAX - 1,
                                    INT32_MAX};
    for (size_t i = 0; i < COUNT(edges); i++)
        for (size_t j = 0; j < COUNT(edges); j++)
            for (uint32_t flags = 0; flags <= CUBE24_WRAP; flags += CUBE24_WRAP) {
                int32_t got = 24;
                CHECK_EQUAL(cube24_accumulate(edges[i], edges[j], flags, &got), CUBE24_OK);
                CHECK_EQUAL(got, limited((int64_t)edges[i] + edges[j], flags));
            }
    int32_t result = 5;
    CHECK_EQUAL(cube24_accumulate(1, 2, CUBE24_GRAIN_INSTRUCTION, &result), CUBE24_E_ARGUMENT);
    CHECK_EQUAL(cube24_accumulate(1, 2, 0, NULL), CUBE24_E_ARGUMENT);
    CHECK_EQUAL(result, 5);
}

/* --- whole multiplications ------------------------------------------------------------------ */

/* What slot `slot` of group `group` of a row of index bytes selects, or k for nothing. */
static size_t selected_k(const uint8_t *row, size_t group, size_t slot, size_t k, uint32_t flags)
{
    const int half = row[group / 2] / (group % 2 ? 16 : 1) % 16, i0 = half % 4, i1 = half / 4;
    if ((slot == 0 ? i0 : i1) == 3)
        return k;
    if (slot == 1 && i0 == 2 && i1 == 0 && flags & CUBE24_PAIR20_TABLE)
        return 4 * group + 2;
    return 4 * group + (size_t)(slot == 0 ? i0 : i1 + 1);
}

/* One element of c. Beyond k there is nothing to select. */
static int32_t element(const int8_t *a, const int8_t *weight, const uint8_t *index, size_t k,
                       int32_t bias, uint32_t flags)
{
    const size_t wide = index ? 64 : 32;
    int64_t c = bias, all = 0;
    for (size_t start = 0; start < k; start += wide) {
        int64_t sum = 0;
        for (size_t i = start; i < k && i < start + wide; i++)
            if (!index)
                sum += a[i] * weight[i];
            else if (i % 4 == 0)
                for (size_t slot = 0; slot < 2; slot++) {
                    const size_t at = selected_k(index, i / 4, slot, k, flags);
                    if (at < k)
                        sum += a[at] * weight[i / 2 + slot];
                }
        all += sum;
        if (!(flags & CUBE24_GRAIN_INSTRUCTION))
            c = limited(c + sum, flags);
    }
    return limited(flags & CUBE24_GRAIN_INSTRUCTION ? c + all : c, flags);
}

/* Extremes as often as anything, so that sums reach the limits from a bias near them. */
static void random_bytes(uint64_t *state, int8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const uint32_t bits = random_bits(state);
        bytes[i] = bits % 3 ? (int8_t)(bits / 4 % 256 - 128) : (int8_t)(bits % 2 ? -128 : 127);
    }
}

static void check_matmul(size_t m, size_t n, size_t k, int sparse, int with_bias, uint32_t flags,
                         uint64_t *state)
{
    const size_t stored = (k + 7) / 8 * 8, row = sparse ? stored / 2 : k;
    int8_t *const numbers = allocate(m * k + n * row + 1);
    uint8_t *const bytes = allocate(n * stored / 8 + 1);
    int32_t *const bias = allocate((n + 1) * sizeof *bias);
    int32_t *const wanted = allocate((m * n + 1) * sizeof *wanted);
    random_bytes(state, numbers, m * k + n * row);
    for (size_t i = 0; i < n * stored / 8; i++) {
        bytes[i] = (uint8_t)random_bits(state);
        if (!(flags & CUBE24_INDEX3_NOTHING)) /* no 3 */
            bytes[i] = (uint8_t)(bytes[i] & ~(bytes[i] >> 1 & 0x55));
    }
    for (size_t i = 0; i < n; i++)
        bias[i] = random_bits(state) % 2 ? INT32_MAX - (int32_t)(random_bits(state) % 200000)
                                         : INT32_MIN + (int32_t)(random_bits(state) % 200000);
    const struct exact a = exact_copy(numbers, m * k);
    const struct exact weight = exact_copy(numbers + m * k, n * row);
    const struct exact index = exact_copy(bytes, n * stored / 8);
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++)
            wanted[i * n + j] =
                element(numbers + i * k, numbers + m * k + j * row,
                        sparse ? bytes + j * (stored / 8) : NULL, k, with_bias ? bias[j] : 0, flags);
    for (int f = 0; f < 2; f++) {
        const struct guarded c = guarded_words(m * n * sizeof *wanted, FILLS[f]);
        CHECK_EQUAL(cube24_matmul(exact_int8(a), exact_int8(weight), sparse ? index.data : NULL, m,
                                  n, k, with_bias ? bias : NULL, flags, (int32_t *)(void *)c.data,
                                  NULL),
                    CUBE24_OK);
        CHECK(holds(c, wanted));
        guarded_free(c);
    }
    exact_free(a);
    exact_free(weight);
    exact_free(index);
    free(numbers);
    free(bytes);
    free(bias);
    free(wanted);
}

static void matrices_of_every_tail(uint32_t path)
{
    static const size_t sides[] = {1, 15, 16, 17, 33}, depths[] = {1, 3, 8, 31, 32, 33, 64, 65, 130, 200};
    static const uint32_t options[] = {0, CUBE24_WRAP, CUBE24_GRAIN_INSTRUCTION,
                                       CUBE24_WRAP | CUBE24_GRAIN_INSTRUCTION};
    uint64_t state = 5;
    for (size_t i = 0; i < COUNT(sides); i++)
        for (size_t d = 0; d < COUNT(depths); d++)
            for (size_t o = 0; o < COUNT(options); o++)
                for (int sparse = 0; sparse < 2; sparse++) {
                    const size_t n = sides[(i + d + o) % COUNT(sides)];
                    const uint32_t more = !sparse       ? 0
                                          : (d + o) % 3 ? (uint32_t)CUBE24_INDEX3_NOTHING
                                                        : (uint32_t)CUBE24_PAIR20_TABLE;
                    check_matmul(sides[i], n, depths[d], sparse, (d + i) % 3 != 0,
                                 options[o] | more | path, &state);
                }
    check_matmul(3, 5, 0, 0, 1, path, &state);
}

/* The place of a 3 is that of the weight, wherever its block stands. */
static void an_index_of_3_is_refused_with_its_place(void)
{
    enum { N = 35, K = 200 };
    static int8_t a[2 * K], dense[N * K / 2];
    static uint8_t index[N * K / 8];
    int32_t c[2 * N];
    for (size_t row = 0; row < N; row += 17)
        for (size_t group = 0; group < K / 4; group += 7)
            for (size_t slot = 0; slot < 2; slot++) {
                cube24_place place = {99, 99, 99};
                const size_t at = row * (K / 8) + group / 2;
                index[at] = (uint8_t)(3 << (4 * (group % 2) + 2 * slot));
                CHECK_EQUAL(cube24_matmul(a, dense, index, 2, N, K, NULL, 0, c, &place),
                            CUBE24_E_REFUSED);
                CHECK(place.row == row && place.group == group &&
                      place.fault == CUBE24_FAULT_INDEX3);
                CHECK_EQUAL(cube24_matmul(a, dense, index, 2, N, K, NULL, 0, c, NULL),
                            CUBE24_E_REFUSED);
                CHECK_EQUAL(cube24_matmul(a, dense, index, 2, N, K, NULL, CUBE24_INDEX3_NOTHING, c,
                                          &place),
                            CUBE24_OK);
                index[at] = 0;
            }
}

static void calls_that_cannot_be_are_refused(void)
{
    static const int8_t a[64], weight[64];
    static const uint8_t index[8];
    int32_t c[4] = {7, 7, 7, 7};
    CHECK_EQUAL(cube24_matmul(a, weight, NULL, 2, 2, 1 << 16, NULL, 0, c, NULL), CUBE24_E_SIZE);
    CHECK_EQUAL(cube24_matmul(a, weight, NULL, SIZE_MAX / 2, 2, 4, NULL, 0, c, NULL),
                CUBE24_E_SIZE);
    CHECK_EQUAL(cube24_matmul(a, weight, NULL, SIZE_MAX / 8, 8, 0, NULL, 0, c, NULL),
                CUBE24_E_SIZE);
    CHECK_EQUAL(cube24_matmul(a, weight, NULL, 2, SIZE_MAX / 2, 4, NULL, 0, c, NULL),
                CUBE24_E_SIZE);
    CHECK_EQUAL(cube24_matmul(NULL, weight, NULL, 2, 2, 4, NULL, 0, c, NULL), CUBE24_E_ARGUMENT);
    CHECK_EQUAL(cube24_matmul(a, NULL, index, 2, 2, 4, NULL, 0, c, NULL), CUBE24_E_ARGUMENT);
    CHECK_EQUAL(cube24_matmul(a, weight, NULL, 2, 2, 4, NULL, 0, NULL, NULL), CUBE24_E_ARGUMENT);
    CHECK_EQUAL(cube24_matmul(a, weight, index, 2, 2, 4, NULL, 0x10000, c, NULL),
                CUBE24_E_ARGUMENT);
    /* an option of what the index says, of a weight that has none */
    CHECK_EQUAL(cube24_matmul(a, weight, NULL, 2, 2, 4, NULL, CUBE24_INDEX3_NOTHING, c, NULL),
                CUBE24_E_ARGUMENT);
    CHECK_EQUAL(cube24_matmul(a, weight, NULL, 2, 2, 4, NULL, CUBE24_PAIR20_TABLE, c, NULL),
                CUBE24_E_ARGUMENT);
    CHECK(c[0] == 7 && c[1] == 7 && c[2] == 7 && c[3] == 7);
    CHECK_EQUAL(cube24_matmul(NULL, NULL, NULL, 0, 2, 4, NULL, 0, NULL, NULL), CUBE24_OK);
    CHECK_EQUAL(cube24_matmul(NULL, NULL, NULL, 2, 2, 0, NULL, 0, c, NULL), CUBE24_OK);
    CHECK(c[0] == 0 && c[1] == 0 && c[2] == 0 && c[3] == 0);
}

/* --- statuses ------------------------------------------------------------------------------- */

static void every_status_has_a_text_of_its_own(void)
{
    for (int i = -1; i <= CUBE24_E_RANGE + 1; i++) {
        CHECK(cube24_status_text(i) && *cube24_status_text(i));
        for (int j = 0; j < i; j++)
            CHECK(strcmp(cube24_status_text(i), cube24_status_text(j)) != 0);
    }
    CHECK(strcmp(cube24_status_text(-1), cube24_status_text(1000)) == 0);
}

int main(void)
{
    every_pair_selects_by_the_rule();
    accumulators_saturate_or_wrap();
    on_every_path(matrices_of_every_tail);
    an_index_of_3_is_refused_with_its_place();
    calls_that_cannot_be_are_refused();
    every_status_has_a_text_of_its_own();
    return check_report("test_matmul");
}
