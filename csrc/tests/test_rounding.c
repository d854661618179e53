/* SPDX-License-Identifier: Apache-2.0
 * What requantisation does with sums: beside bits that follow from whole numbers and steps, counted
 * up from the smallest, and not from bits of floating point. */
#include "check.h"
#include "cube24.h"
#include "support.h"

static double size_of(double x)
{
    return x < 0 ? -x : x;
}

/* Bits 0 to 4 of a number that is rounded to a multiple of the step that its size needs: the least
 * one with which it has at most `most` steps. Gives the nearest multiple, too. */
static unsigned rounded(double x, double step, double most, double *nearest)
{
    const double size = size_of(x);
    while (size >= most * step)
        step *= 2;
    const double steps = size / step; /* exact: a power of two */
    double whole = (double)(int64_t)steps;
    const double rest = steps - whole;
    const int up = rest > 0.5 || (rest == 0.5 && (int64_t)steps % 2 == 1);
    whole += up ? 1 : 0;
    *nearest = x < 0 ? -whole * step : whole * step;
    if (rest == 0)
        return 1;
    const int above = up == (x > 0);
    return rest == 0.5 ? (above ? 4 : 2) : (above ? 16 : 8);
}

static uint64_t of_int8(double y, const cube24_word *word)
{
    double result = y < -256 ? -256 : 255;
    uint64_t seen = y < -256 ? 32 : 64;
    if (y >= -256 && y <= 255)
        seen = rounded(y, 1, 1e9, &result);
    const double moved = result + word->offset;
    seen |= moved < (word->is_signed ? -128 : 0) ? 128u : 0u;
    seen |= moved > (word->is_signed ? 127 : 255) ? 256u : 0u;
    return seen << (word->is_signed ? 16 : 32);
}

static uint64_t of_fp16(double y)
{
    const double smallest = 1.0 / 16777216; /* 2^-24 */
    double result = 0;
    if (size_of(y) > 65504)
        return (uint64_t)(y < 0 ? 128 : 256) << 48;
    uint64_t seen = rounded(y, smallest, 2048, &result);
    seen |= result != 0 && size_of(result) < 1024 * smallest ? 512u : 0u;
    seen |= result == 0 && (y < 0 || 1 / y < 0) ? 1024u : 0u;
    return seen << 48;
}

static uint64_t wanted_of(int32_t sum, const cube24_word *word, float alpha, uint32_t flags)
{
    const int halves = (flags & CUBE24_TALLY_HALVES) != 0, relu = (flags & CUBE24_RELU) != 0;
    double x = sum, single = 0;
    uint64_t seen = 0;
    if (!halves && word->shifts) {
        const double whole = (double)((int64_t)1 << word->shift);
        double moved = (double)(int64_t)(x / whole);
        if (moved * whole != x)
            seen |= x < 0 ? 1u << 12 : 1u << 13;
        if (moved * whole > x)
            moved -= 1; /* down, not towards zero */
        seen |= moved < -32768 ? 1u << 14 : moved > 32767 ? 1u << 15 : 0u;
        x = moved < -32768 ? -32768 : moved > 32767 ? 32767 : moved;
    }
    seen |= x < 0 ? 1u << 8 : x > 0 ? 1u << 10 : 1u << 9;
    seen |= rounded(x, 1, 16777216, &single);
    const float y = (float)single * (relu && x < 0 ? alpha : word->scale);
    return seen | (halves ? of_fp16(y) : of_int8(y, word));
}

/* Sums at the ends of everything, and drawn ones of every size. */
static int32_t sum_of(uint64_t *state)
{
    static const int32_t ends[] = {
        0, 1, -1, 2, -2, 127, 128, -128, -129, 254, 255, 256, -256, -257, 511, 32767, 32768,
        -32768, -32769, 65504, 65505, 65519, 65520, -65504, -65505, 16777215, 16777216, 16777217,
        16777218, 16777219, -16777217, -16777219, 33554433, 33554434, 33554435, 33554438,
        INT32_MAX, INT32_MAX - 63, INT32_MAX - 64, INT32_MAX - 65, INT32_MIN, INT32_MIN + 1,
        INT32_MIN + 64, INT32_MIN + 65,
    };
    if (random_below(state, 3) == 0)
        return ends[random_below(state, sizeof ends / sizeof *ends)];
    const int64_t drawn = (int64_t)random_below(state, (uint64_t)1 << (1 + random_below(state, 31)));
    return (int32_t)(random_below(state, 2) ? drawn : -drawn);
}

static float scale_of(uint64_t *state)
{
    static const float some[] = {0.0F,   -0.0F, 1.0F,  -1.0F,      0.5F,    0.25F,    -0.25F,
                                 0.125F, 2.0F,  0.75F, 0.0009765F, 1e-5F,   3e-8F,    6e-8F,
                                 1e-38F, 1e38F, -1e38F, 3e38F,     1e-44F,  -3e-8F,   1.5F,
                                 1.0F / 33554432, -3.0F / 67108864}; /* 2^-25: ties of subnormals */
    if (random_below(state, 2))
        return some[random_below(state, sizeof some / sizeof *some)];
    return (float)random_below(state, 1u << 24) / (float)((uint64_t)1 << random_below(state, 50));
}

static uint64_t every_bit;

static void bits_are_those_of_a_slow_rule(void)
{
    uint64_t state = 24;
    for (int round = 0; round < 300000; round++) {
        const uint32_t flags = (round % 2 ? CUBE24_TALLY_HALVES : 0u) |
                               (random_below(&state, 2) ? CUBE24_RELU : 0u);
        const cube24_word word = {
            scale_of(&state), (int32_t)random_below(&state, 2), (int32_t)random_below(&state, 17),
            (int32_t)random_below(&state, 768) - 256, (int32_t)random_below(&state, 2),
        };
        const float alpha = random_below(&state, 3) ? scale_of(&state) : 0.0F;
        const int32_t sum = sum_of(&state);
        uint64_t seen = 0;
        CHECK_EQUAL(cube24_tally_requant(&sum, 1, 1, &word, 1, alpha, flags, &seen), CUBE24_OK);
        const uint64_t wanted = wanted_of(sum, &word, alpha, flags);
        if (!CHECK(seen == wanted))
            fprintf(stderr, "%ld scale %a shift %d/%d alpha %a flags %x: %llx, not %llx\n",
                    (long)sum, (double)word.scale, (int)word.shifts, (int)word.shift, (double)alpha,
                    (unsigned)flags, (unsigned long long)seen, (unsigned long long)wanted);
        every_bit |= seen;
    }
    /* 0 to 4, 8 to 10, 12 to 15; 16 to 24 and 32 to 40; 48 to 58 but for the two of clamping. */
    CHECK(every_bit == (UINT64_C(0xF71F) | UINT64_C(0x1FF) << 16 | UINT64_C(0x1FF) << 32 |
                        UINT64_C(0x79F) << 48));
}

/* Of a matrix the bits of all its sums, each with the word of its column. */
static void a_matrix_has_the_bits_of_its_sums(void)
{
    uint64_t state = 7;
    for (size_t rows = 0; rows < 5; rows++)
        for (size_t columns = 0; columns < 5; columns++)
            for (int one = 0; one < 2; one++) {
                int32_t sums[25];
                cube24_word words[5];
                memset(words, 0, sizeof words);
                for (size_t i = 0; i < 25; i++)
                    sums[i] = sum_of(&state);
                for (size_t i = 0; i < 5; i++) {
                    words[i].scale = scale_of(&state);
                    words[i].is_signed = (int32_t)(i % 2);
                }
                uint64_t wanted = 0, seen = 1;
                for (size_t i = 0; i < rows * columns; i++)
                    wanted |= wanted_of(sums[i], words + (one ? 0 : i % columns), 0, 0);
                const size_t count = one ? 1 : columns;
                CHECK_EQUAL(cube24_tally_requant(sums, rows, columns, words, count, 0, 0, &seen),
                            CUBE24_OK);
                CHECK(seen == wanted);
            }
}

static void what_cannot_be_is_refused(void)
{
    static const int32_t sums[4];
    static const cube24_word words[2];
    uint64_t seen = 5;
    const size_t huge = SIZE_MAX / 4;
#define REFUSES(call, status) CHECK_EQUAL(call, status), CHECK(seen == 5)
#define TALLY(s, m, n, w, count, flags, out) cube24_tally_requant(s, m, n, w, count, 0, flags, out)
    REFUSES(TALLY(sums, 1, huge, words, 1, 0, &seen), CUBE24_E_SIZE);
    REFUSES(TALLY(sums, huge, 2, words, 1, 0, &seen), CUBE24_E_SIZE);
    REFUSES(TALLY(sums, 1, 3, words, 2, 0, &seen), CUBE24_E_SIZE);
    REFUSES(TALLY(sums, 1, 3, words, 0, 0, &seen), CUBE24_E_SIZE);
    REFUSES(TALLY(sums, 2, 2, words, 2, CUBE24_OFFSET_UNSIGNED, &seen), CUBE24_E_ARGUMENT);
    REFUSES(TALLY(NULL, 2, 2, words, 2, 0, &seen), CUBE24_E_ARGUMENT);
    REFUSES(TALLY(sums, 2, 2, NULL, 2, 0, &seen), CUBE24_E_ARGUMENT);
    REFUSES(TALLY(sums, 2, 2, words, 2, 0, NULL), CUBE24_E_ARGUMENT);
}

int main(void)
{
    bits_are_those_of_a_slow_rule();
    a_matrix_has_the_bits_of_its_sums();
    what_cannot_be_is_refused();
    return check_report("test_rounding");
}
