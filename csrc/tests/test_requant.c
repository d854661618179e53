/* SPDX-License-Identifier: Apache-2.0
 * Parameter words and requantisation against docs/unit.md in other words: products in double, which
 * holds them exactly, and rounding by looking at both neighbours. `test_requant every` turns every
 * fp32 there is to fp16. */
#include "../requant.h"

#include "check.h"
#include "cube24.h"
#include "support.h"

static float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* --- parameter words ------------------------------------------------------------------------ */

/* Fields by division: a word is the sum of its fields times their places. */
static const uint64_t PLACE_32 = (uint64_t)1 << 32, PLACE_36 = (uint64_t)1 << 36,
                      PLACE_37 = (uint64_t)1 << 37, PLACE_46 = (uint64_t)1 << 46;

/* Every shift, MCB, offset and sign, with a scale whose dropped bits are set. */
static void every_word_reads_and_writes_by_its_fields(void)
{
    static const uint32_t readings[] = {0, CUBE24_OFFSET_UNSIGNED, CUBE24_SHIFT_N,
                                        CUBE24_OFFSET_UNSIGNED | CUBE24_SHIFT_N};
    for (size_t r = 0; r < COUNT(readings); r++)
        for (uint64_t i = 0; i < 16 * 2 * 512 * 2; i++) {
            const uint64_t n = i % 16, mcb = i / 16 % 2, offset = i / 32 % 512, sign = i / 16384;
            const uint64_t kept = 0x3f9d2000, unused = (uint64_t)(i % 7) << 60;
            const uint64_t word = kept + n * PLACE_32 + mcb * PLACE_36 + offset * PLACE_37 +
                                  sign * PLACE_46;
            const uint64_t with_others = word + 0x1fff + unused;
            cube24_word of;
            CHECK_EQUAL(cube24_read_words(&with_others, 1, readings[r], &of), CUBE24_OK);
            CHECK_EQUAL(bits_of(of.scale), kept);
            CHECK_EQUAL(of.shifts, mcb);
            CHECK_EQUAL(of.shift, readings[r] & CUBE24_SHIFT_N ? n : n + 1);
            CHECK_EQUAL(of.offset, readings[r] & CUBE24_OFFSET_UNSIGNED || offset < 256
                                       ? (int)offset
                                       : (int)offset - 512);
            CHECK_EQUAL(of.is_signed, sign);
            uint64_t again = 0, position = 9;
            of.scale = float_of((uint32_t)kept + 0x1fff);
            CHECK_EQUAL(cube24_write_words(&of, 1, readings[r], &again, &position), CUBE24_OK);
            CHECK_EQUAL(again, mcb ? word : word - n * PLACE_32);
            CHECK_EQUAL(position, 9);
        }
}

static void refuses_to_write(int32_t shifts, int32_t shift, int32_t offset, uint32_t flags)
{
    const cube24_word fields[3] = {{1, 0, 0, 0, 1}, {1, shifts, shift, offset, 0}, {1, 1, 99, 0, 0}};
    uint64_t words[3], position = 9;
    CHECK_EQUAL(cube24_write_words(fields, 3, flags, words, &position), CUBE24_E_RANGE);
    CHECK_EQUAL(position, 1);
    CHECK_EQUAL(cube24_write_words(fields, 3, flags, words, NULL), CUBE24_E_RANGE);
}

static void what_does_not_fit_a_word_is_out_of_range(void)
{
    static const int32_t far[] = {INT32_MIN, INT32_MAX, -1000000, 1 << 20, (1 << 30) + 3};
    refuses_to_write(1, 0, 0, 0);
    refuses_to_write(1, 17, 0, 0);
    refuses_to_write(1, -1, 0, CUBE24_SHIFT_N);
    refuses_to_write(1, 16, 0, CUBE24_SHIFT_N);
    refuses_to_write(0, 0, -257, 0);
    refuses_to_write(0, 0, 256, 0);
    refuses_to_write(0, 0, -1, CUBE24_OFFSET_UNSIGNED);
    refuses_to_write(0, 0, 512, CUBE24_OFFSET_UNSIGNED);
    for (size_t i = 0; i < COUNT(far); i++) {
        refuses_to_write(1, far[i], 0, 0);
        refuses_to_write(1, far[i], 0, CUBE24_SHIFT_N);
        refuses_to_write(0, far[i], far[i], 0);
        refuses_to_write(0, far[i], far[i], CUBE24_OFFSET_UNSIGNED);
    }
    /* a shift that is not done is not looked at */
    const cube24_word unused = {1, 0, 99, 0, 0};
    uint64_t word = 1;
    CHECK_EQUAL(cube24_write_words(&unused, 1, 0, &word, NULL), CUBE24_OK);
    CHECK_EQUAL(word, 0x3f800000);
}

/* --- REQ8 ----------------------------------------------------------------------------------- */

/* The whole number nearest to y, of a tie the even one. */
static int64_t nearest(double y)
{
    int64_t below = (int64_t)y;
    if ((double)below > y)
        below--;
    const double over = y - (double)below;
    return over < 0.5 || (over == 0.5 && below % 2 == 0) ? below : below + 1;
}

/* By division, which for a shift goes down. */
static int64_t shifted(int64_t sum, int shift)
{
    const int64_t unit = (int64_t)1 << shift;
    int64_t x = sum / unit;
    if (x * unit > sum)
        x--;
    return x < -32768 ? -32768 : x > 32767 ? 32767 : x;
}

/* A product of two fp32 is exact in double, so this rounds once. */
static float product(int64_t x, float factor)
{
    return (float)((double)(float)x * (double)factor);
}

static uint8_t wanted_byte(int32_t sum, const cube24_word *word, int relu, float alpha)
{
    const int64_t x = word->shifts ? shifted(sum, word->shift) : sum;
    double y = (double)product(x, relu && x < 0 ? alpha : word->scale);
    y = y < -256 ? -256 : y > 255 ? 255 : y;
    const int64_t moved = nearest(y) + word->offset;
    const int64_t low = word->is_signed ? -128 : 0, high = low + 255;
    return (uint8_t)(moved < low ? low : moved > high ? high : moved);
}

enum { ROWS = 7, COLUMNS = 150 }; /* more than two blocks of columns, the last one not full */

/* Sums of all magnitudes, ties and limits, one word a column or one for all. */
static void check_matrix(const cube24_word *fields, size_t count, int relu, float alpha,
                         uint32_t flags, uint64_t *state)
{
    static int32_t sums[ROWS * COLUMNS];
    static uint8_t wanted[ROWS * COLUMNS];
    uint64_t words[COLUMNS], position = 9;
    cube24_word read[COLUMNS];
    CHECK_EQUAL(cube24_write_words(fields, count, flags & ~(uint32_t)CUBE24_RELU, words, NULL),
                CUBE24_OK);
    CHECK_EQUAL(cube24_read_words(words, count, flags & ~(uint32_t)CUBE24_RELU, read), CUBE24_OK);
    for (size_t i = 0; i < ROWS * COLUMNS; i++) {
        sums[i] = (int32_t)random_bits(state) >> random_below(state, 32);
        wanted[i] = wanted_byte(sums[i], read + (count == 1 ? 0 : i % COLUMNS), relu, alpha);
    }
    sums[3] = INT32_MIN;
    wanted[3] = wanted_byte(INT32_MIN, read + (count == 1 ? 0 : 3), relu, alpha);
    for (int f = 0; f < 2; f++) {
        const struct guarded out = guarded_bytes(ROWS * COLUMNS, FILLS[f]);
        CHECK_EQUAL(cube24_requantise(sums, ROWS, COLUMNS, words, count, alpha, flags, out.data,
                                      &position),
                    CUBE24_OK);
        CHECK(holds(out, wanted));
        CHECK_EQUAL(position, 9);
        guarded_free(out);
    }
}

static void matrices_are_the_rule_on_every_element(void)
{
    static const float scales[] = {0.5F, 1, 0, -1.5F, 1e-3F, 1e-7F, 3e38F, 1e-40F, -0.0F};
    uint64_t state = 24;
    for (int round = 0; round < 400; round++) {
        cube24_word fields[COLUMNS];
        const uint32_t reading = (uint32_t)(round % 4) * CUBE24_OFFSET_UNSIGNED;
        for (size_t i = 0; i < COLUMNS; i++) {
            fields[i].scale = scales[random_below(&state, COUNT(scales))];
            fields[i].shifts = (int32_t)random_below(&state, 2);
            fields[i].shift =
                (int32_t)random_below(&state, 16) + (reading & CUBE24_SHIFT_N ? 0 : 1);
            fields[i].offset = (int32_t)random_below(&state, 512) -
                               (reading & CUBE24_OFFSET_UNSIGNED ? 0 : 256);
            fields[i].is_signed = (int32_t)random_below(&state, 2);
        }
        const int relu = round / 4 % 3;
        check_matrix(fields, round % 5 == 0 ? 1 : COLUMNS, relu, relu == 2 ? -0.75F : 0,
                     reading | (relu ? (uint32_t)CUBE24_RELU : 0), &state);
    }
}

/* Every sum whose scaled value has nine bits behind the point, from clamp to clamp. */
static void every_fraction_is_rounded_to_the_nearest(void)
{
    cube24_word word = {1.0F / 512, 0, 0, 0, 1};
    for (word.is_signed = 0; word.is_signed < 2; word.is_signed++)
        for (word.offset = -256; word.offset < 256; word.offset += 37) {
            uint64_t bits;
            CHECK_EQUAL(cube24_write_words(&word, 1, 0, &bits, NULL), CUBE24_OK);
            for (int32_t sum = -257 * 512; sum <= 256 * 512; sum++) {
                uint8_t got;
                if (cube24_requantise(&sum, 1, 1, &bits, 1, 0, 0, &got, NULL) != CUBE24_OK ||
                    got != wanted_byte(sum, &word, 0, 0)) {
                    CHECK_EQUAL(got, wanted_byte(sum, &word, 0, 0));
                    return;
                }
            }
        }
    CHECK(1);
}

/* --- DEQF16 --------------------------------------------------------------------------------- */

/* The number that bits of fp16 mean, as ten bits and an exponent. */
static double half_value(uint32_t half)
{
    const uint32_t exponent = half / 1024 % 32;
    double value = half % 1024 + (exponent ? 1024.0 : 0);
    for (uint32_t e = exponent ? exponent : 1; e < 25; e++)
        value /= 2;
    for (uint32_t e = 25; e < exponent; e++)
        value *= 2;
    return half < 0x8000 ? value : -value;
}

/* Around the middle between each two halves that are neighbours, and at each half. */
static void halves_are_nearest_at_every_boundary(void)
{
    for (uint32_t half = 0; half < 0x7bff; half++) {
        const float value = (float)half_value(half);
        const float middle = (float)((half_value(half) + half_value(half + 1)) / 2);
        const uint32_t at = bits_of(middle);
        for (uint32_t sign = 0; sign < 2; sign++) {
            const uint32_t minus = sign << 31, half_minus = sign << 15;
            CHECK_EQUAL(half_bits(float_of(bits_of(value) | minus)), half | half_minus);
            CHECK_EQUAL(half_bits(float_of((at - 1) | minus)), half | half_minus);
            CHECK_EQUAL(half_bits(float_of(at | minus)), (half + half % 2) | half_minus);
            CHECK_EQUAL(half_bits(float_of((at + 1) | minus)), (half + 1) | half_minus);
        }
    }
    CHECK_EQUAL(half_bits(65504), 0x7bff);
    CHECK_EQUAL(half_bits(65536), 0x7bff);
    CHECK_EQUAL(half_bits(float_of(0x7f800000)), 0x7bff);
    CHECK_EQUAL(half_bits(float_of(0xff800000)), 0xfbff);
    CHECK_EQUAL(half_bits(float_of(0x80000000)), 0x8000);
}

/* All fp32 from zero to infinity: the half goes up by one where the middle is passed. */
static void every_fp32_becomes_the_nearest_half(void)
{
    uint32_t half = 0;
    double next = half_value(1) / 2; /* where the next one begins */
    for (uint32_t bits = 0; bits <= 0x7f800000; bits++) {
        const double x = (double)float_of(bits);
        while (half < 0x7bff && (half % 2 ? x >= next : x > next)) {
            half++;
            next = (half_value(half) + half_value(half + 1)) / 2;
        }
        if (half_bits(float_of(bits)) != half ||
            half_bits(float_of(bits | 0x80000000)) != (half | 0x8000)) {
            CHECK_EQUAL(half_bits(float_of(bits)), half);
            return;
        }
    }
    CHECK_EQUAL(half, 0x7bff);
}

static void sums_become_the_half_of_their_product(void)
{
    static const float scales[] = {1, 0, -0.0F, 0.5F, -3, 1e-8F, 1e30F, 6.103515625e-05F};
    uint64_t state = 16;
    for (size_t round = 0; round < 64; round++) {
        const int relu = (int)round % 3, one = round % 4 == 3;
        const float alpha = relu == 2 ? 0.125F : 0;
        int32_t sums[ROWS * COLUMNS];
        uint16_t wanted[ROWS * COLUMNS];
        uint64_t words[COLUMNS];
        for (size_t i = 0; i < COLUMNS; i++) /* MCB, a shift and an offset, which do not count */
            words[i] = (bits_of(scales[random_below(&state, COUNT(scales))]) & 0xffffe000) |
                       (uint64_t)random_bits(&state) << 32;
        for (size_t i = 0; i < ROWS * COLUMNS; i++) {
            sums[i] = (int32_t)random_bits(&state) >> random_below(&state, 32);
            const float scale = float_of((uint32_t)words[one ? 0 : i % COLUMNS]);
            wanted[i] = half_bits(product(sums[i], relu && sums[i] < 0 ? alpha : scale));
        }
        const struct guarded out = guarded_words(sizeof wanted, FILLS[round % 2]);
        CHECK_EQUAL(cube24_dequantise(sums, ROWS, COLUMNS, words, one ? 1 : COLUMNS, alpha,
                                      relu ? (uint32_t)CUBE24_RELU : 0,
                                      (uint16_t *)(void *)out.data, NULL),
                    CUBE24_OK);
        CHECK(holds(out, wanted));
        guarded_free(out);
    }
}

/* --- what is refused ------------------------------------------------------------------------ */

static void scales_that_are_not_finite_are_refused(void)
{
    static const int32_t sums[4] = {1, 2, 3, 4};
    static const uint64_t bad[] = {0x7f800000, 0xff800000, 0x7fc00000, 0xffffe000, 0x7f802000};
    for (size_t i = 0; i < COUNT(bad); i++) {
        const uint64_t words[4] = {0x3f800000, 0x7f7fe000, bad[i], bad[i]};
        uint64_t position = 9;
        const struct guarded out = guarded_words(8, FILLS[0]);
        uint16_t *halves = (uint16_t *)(void *)out.data;
        CHECK_EQUAL(cube24_requantise(sums, 1, 4, words, 4, 0, 0, out.data, &position),
                    CUBE24_E_REFUSED);
        CHECK_EQUAL(position, 2);
        position = 9;
        CHECK_EQUAL(cube24_dequantise(sums, 1, 4, words, 4, 0, 0, halves, &position),
                    CUBE24_E_REFUSED);
        CHECK_EQUAL(position, 2);
        CHECK_EQUAL(cube24_requantise(sums, 1, 4, words, 4, 0, 0, out.data, NULL),
                    CUBE24_E_REFUSED);
        CHECK(is_untouched(out, FILLS[0]));
        guarded_free(out);
    }
}

static void refuses(int status, const int32_t *sums, size_t rows, size_t columns,
                    const uint64_t *words, size_t count, float alpha, uint32_t flags, int output)
{
    const struct guarded out = guarded_words(64, FILLS[1]);
    uint8_t *bytes = output ? out.data : NULL;
    CHECK_EQUAL(cube24_requantise(sums, rows, columns, words, count, alpha, flags, bytes, NULL),
                status);
    CHECK_EQUAL(cube24_dequantise(sums, rows, columns, words, count, alpha, flags,
                                  (uint16_t *)(void *)bytes, NULL),
                status);
    CHECK(is_untouched(out, FILLS[1]));
    guarded_free(out);
}

static void calls_that_cannot_be_are_refused(void)
{
    static const int32_t sums[8];
    static const uint64_t words[8];
    const float infinite = float_of(0x7f800000), none = float_of(0x7fc00000);
    refuses(CUBE24_E_SIZE, sums, 2, 4, words, 2, 0, 0, 1);
    refuses(CUBE24_E_SIZE, sums, 2, 4, words, 0, 0, 0, 1);
    refuses(CUBE24_E_SIZE, sums, 2, 4, words, 5, 0, 0, 1);
    refuses(CUBE24_E_SIZE, sums, SIZE_MAX, 4, words, 4, 0, 0, 1);
    refuses(CUBE24_E_SIZE, sums, 1, SIZE_MAX / 4, words, 1, 0, 0, 1);
    refuses(CUBE24_E_ARGUMENT, NULL, 2, 4, words, 4, 0, 0, 1);
    refuses(CUBE24_E_ARGUMENT, sums, 2, 4, NULL, 4, 0, 0, 1);
    refuses(CUBE24_E_ARGUMENT, sums, 2, 4, words, 4, 0, 0, 0);
    refuses(CUBE24_E_ARGUMENT, sums, 2, 4, words, 4, 0, 0x10000, 1);
    refuses(CUBE24_E_ARGUMENT, sums, 2, 4, words, 4, 0, 0xff, 1);
    refuses(CUBE24_E_ARGUMENT, sums, 2, 4, words, 4, infinite, CUBE24_RELU, 1);
    refuses(CUBE24_E_ARGUMENT, sums, 2, 4, words, 4, none, CUBE24_RELU, 1);
    refuses(CUBE24_OK, NULL, 0, 4, words, 4, none, 0, 0);
    refuses(CUBE24_OK, NULL, 4, 0, NULL, 0, 0, 0, 0);
    cube24_word field;
    uint64_t word = 0;
    memset(&field, 0, sizeof field);
    CHECK_EQUAL(cube24_read_words(NULL, 1, 0, &field), CUBE24_E_ARGUMENT);
    CHECK_EQUAL(cube24_read_words(&word, 1, 0, NULL), CUBE24_E_ARGUMENT);
    CHECK_EQUAL(cube24_read_words(&word, 1, CUBE24_RELU, &field), CUBE24_E_ARGUMENT);
    CHECK_EQUAL(cube24_read_words(&word, SIZE_MAX / 8, 0, &field), CUBE24_E_SIZE);
    CHECK_EQUAL(cube24_read_words(NULL, 0, 0, NULL), CUBE24_OK);
    CHECK_EQUAL(cube24_write_words(NULL, 1, 0, &word, NULL), CUBE24_E_ARGUMENT);
    CHECK_EQUAL(cube24_write_words(&field, 1, 0, NULL, NULL), CUBE24_E_ARGUMENT);
    CHECK_EQUAL(cube24_write_words(&field, 1, CUBE24_RELU, &word, NULL), CUBE24_E_ARGUMENT);
    CHECK_EQUAL(cube24_write_words(&field, SIZE_MAX / 8, 0, &word, NULL), CUBE24_E_SIZE);
    CHECK_EQUAL(cube24_write_words(NULL, 0, 0, NULL, NULL), CUBE24_OK);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "every") == 0) {
        every_fp32_becomes_the_nearest_half();
        return check_report("test_requant every");
    }
    every_word_reads_and_writes_by_its_fields();
    what_does_not_fit_a_word_is_out_of_range();
    matrices_are_the_rule_on_every_element();
    every_fraction_is_rounded_to_the_nearest();
    halves_are_nearest_at_every_boundary();
    sums_become_the_half_of_their_product();
    scales_that_are_not_finite_are_refused();
    calls_that_cannot_be_are_refused();
    return check_report("test_requant");
}
