/* SPDX-License-Identifier: Apache-2.0
 * Random words beside the first ones of the published generator, and groups beside a slow rule. */
#include "check.h"
#include "cube24.h"
#include "support.h"

/* Of seed 1234567, as Rosetta Code lists them. */
static const uint64_t KNOWN[5] = {
    UINT64_C(6457827717110365317),  UINT64_C(3203168211198807973), UINT64_C(9817491932198370423),
    UINT64_C(4593380528125082431), UINT64_C(16408922859458223821),
};

static void words_are_those_of_the_published_generator(void)
{
    /* The second generator is a step ahead of the first. */
    const uint64_t seeds[2] = {1234567, 1234567 + UINT64_C(0x9E3779B97F4A7C15)};
    uint64_t words[9] = {0};
    CHECK_EQUAL(cube24_draw_words(seeds, 2, 4, words), CUBE24_OK);
    for (size_t i = 0; i < 4; i++) {
        CHECK(words[i] == KNOWN[i]);
        CHECK(words[4 + i] == KNOWN[i + 1]);
    }
    CHECK(words[8] == 0);
}

/* The elements of a mask get the bytes of a word one after the other. */
static void masks_take_the_bytes_of_a_word(void)
{
    uint8_t masks[16];
    int8_t values[256], groups[4];
    for (unsigned mask = 0; mask < 16; mask++)
        masks[mask] = (uint8_t)mask;
    for (int byte = 0; byte < 256; byte++)
        values[byte] = (int8_t)(byte % 251 - 125);
    for (size_t choices = 1; choices <= 16; choices++)
        for (uint64_t draw = 0; draw < 4096; draw++) {
            const uint32_t high = (uint32_t)draw << 20 | (uint32_t)(draw * 77);
            const uint8_t byte[4] = {(uint8_t)draw, (uint8_t)(draw * 3 + 1), (uint8_t)(draw >> 4),
                                     (uint8_t)(255 - draw % 256)};
            uint64_t word = high;
            for (int i = 3; i >= 0; i--)
                word = word << 8 | byte[i];
            CHECK_EQUAL(cube24_draw_groups(&word, 1, masks, choices, values, groups), CUBE24_OK);
            const unsigned mask = (unsigned)((uint64_t)high * choices / UINT64_C(4294967296));
            size_t used = 0;
            for (unsigned i = 0; i < 4; i++) {
                const int there = mask / (1u << i) % 2 == 1;
                CHECK_EQUAL(groups[i], there ? values[byte[used]] : 0);
                used += there ? 1 : 0;
            }
        }
}

static void what_cannot_be_is_refused(void)
{
    const uint64_t word = 1;
    uint64_t out = 0;
    const uint8_t mask = 1;
    const int8_t values[256] = {0};
    int8_t group[4];
    const size_t huge = SIZE_MAX / 4;
    CHECK_EQUAL(cube24_draw_words(&word, huge, 8, &out), CUBE24_E_SIZE);
    CHECK_EQUAL(cube24_draw_words(&word, 1, huge, &out), CUBE24_E_SIZE);
    CHECK_EQUAL(cube24_draw_words(NULL, 1, 1, &out), CUBE24_E_ARGUMENT);
    CHECK_EQUAL(cube24_draw_words(&word, 1, 1, NULL), CUBE24_E_ARGUMENT);
    CHECK_EQUAL(cube24_draw_words(NULL, 0, 7, NULL), CUBE24_OK);
    CHECK_EQUAL(cube24_draw_words(NULL, 7, 0, NULL), CUBE24_OK);
    CHECK_EQUAL(cube24_draw_groups(&word, huge, &mask, 1, values, group), CUBE24_E_SIZE);
    CHECK_EQUAL(cube24_draw_groups(&word, 1, &mask, 0, values, group), CUBE24_E_SIZE);
    CHECK_EQUAL(cube24_draw_groups(NULL, 1, &mask, 1, values, group), CUBE24_E_ARGUMENT);
    CHECK_EQUAL(cube24_draw_groups(&word, 1, NULL, 1, values, group), CUBE24_E_ARGUMENT);
    CHECK_EQUAL(cube24_draw_groups(&word, 1, &mask, 1, NULL, group), CUBE24_E_ARGUMENT);
    CHECK_EQUAL(cube24_draw_groups(&word, 1, &mask, 1, values, NULL), CUBE24_E_ARGUMENT);
    CHECK_EQUAL(cube24_draw_groups(NULL, 0, &mask, 1, values, NULL), CUBE24_OK);
}

int main(void)
{
    words_are_those_of_the_published_generator();
    masks_take_the_bytes_of_a_word();
    what_cannot_be_is_refused();
    return check_report("test_draw");
}
