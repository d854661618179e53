/* SPDX-License-Identifier: Apache-2.0
 * Bits, fractals and the K order of convolutions (sections 4 to 6), each against its formula with
 * one division per dimension; every output between canaries, every input of its exact size. */
#include "check.h"
#include "cube24.h"
#include "support.h"

static size_t round_up(size_t a, size_t b)
{
    while (a % b != 0)
        a++;
    return a;
}

/* Bytes without a zero, so that data cannot be mistaken for padding. */
static void random_nonzero(uint64_t *state, uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        bytes[i] = (uint8_t)(1 + random_below(state, 255));
}

/* --- bits ----------------------------------------------------------------------------------- */

static void every_byte_unpacks_from_its_low_bits_and_packs_again(void)
{
    for (int byte = 0; byte < 256; byte++) {
        const uint8_t packed = (uint8_t)byte;
        const uint8_t wanted[4] = {(uint8_t)(byte % 4), (uint8_t)(byte / 4 % 4),
                                   (uint8_t)(byte / 16 % 4), (uint8_t)(byte / 64)};
        for (int f = 0; f < 2; f++) {
            const struct guarded values = guarded_bytes(4, FILLS[f]);
            const struct guarded again = guarded_bytes(1, FILLS[f]);
            CHECK_EQUAL(cube24_unpack_index(&packed, 4, values.data), CUBE24_OK);
            CHECK(holds(values, wanted));
            CHECK_EQUAL(cube24_pack_index(wanted, 4, again.data, NULL), CUBE24_OK);
            CHECK(holds(again, &packed));
            guarded_free(values);
            guarded_free(again);
        }
    }
}

/* All the values from 0 to 3 in turn, from a start, so that each place of a byte sees each. */
static void check_values(size_t count, size_t start, int fill)
{
    uint8_t values[9], wanted[3] = {0};
    const size_t scales[4] = {1, 4, 16, 64}, bytes = round_up(count, 4) / 4;
    uint64_t position = 99;
    for (size_t i = 0; i < count; i++) {
        values[i] = (uint8_t)((start + i * (i + 1) / 2) % 4);
        wanted[i / 4] = (uint8_t)(wanted[i / 4] + values[i] * scales[i % 4]);
    }
    const struct exact input = exact_copy(values, count);
    const struct guarded packed = guarded_bytes(bytes, fill);
    CHECK_EQUAL(cube24_pack_index(input.data, count, packed.data, &position), CUBE24_OK);
    CHECK(holds(packed, wanted)); /* the missing values of the last byte are zero */
    CHECK_EQUAL(position, 99);

    /* bits beyond the count are not looked at */
    if (count % 4 != 0)
        wanted[bytes - 1] = (uint8_t)(wanted[bytes - 1] + 3 * scales[3]);
    const struct exact stored = exact_copy(wanted, bytes);
    const struct guarded back = guarded_bytes(count, fill);
    CHECK_EQUAL(cube24_unpack_index(stored.data, count, back.data), CUBE24_OK);
    CHECK(holds(back, values));
    exact_free(input);
    exact_free(stored);
    guarded_free(packed);
    guarded_free(back);
}

static void counts_that_do_not_fill_a_byte(void)
{
    for (size_t count = 0; count <= 9; count++)
        for (size_t start = 0; start < 4; start++)
            for (int f = 0; f < 2; f++)
                check_values(count, start, FILLS[f]);
}

/* The first value above 3 is named; a later one does not matter. */
static void a_value_above_3_is_out_of_range(void)
{
    static const uint8_t ABOVE[4] = {4, 5, 128, 255};
    for (size_t count = 1; count <= 9; count++)
        for (size_t at = 0; at < count; at++)
            for (int a = 0; a < 4; a++) {
                uint8_t values[9] = {3, 2, 1, 0, 3, 2, 1, 0, 3};
                uint64_t position = 99;
                values[count - 1] = 4;
                values[at] = ABOVE[a];
                const struct exact input = exact_copy(values, count);
                const struct guarded packed = guarded_bytes(round_up(count, 4) / 4, FILLS[0]);
                CHECK_EQUAL(cube24_pack_index(input.data, count, packed.data, &position),
                            CUBE24_E_RANGE);
                CHECK_EQUAL(position, at);
                CHECK_EQUAL(cube24_pack_index(input.data, count, packed.data, NULL),
                            CUBE24_E_RANGE);
                CHECK(is_intact(packed));
                exact_free(input);
                guarded_free(packed);
            }
}

/* --- Zn fractals ---------------------------------------------------------------------------- */

/* Section 5: pad, reshape (N1, 16, K1, k0), transpose to (K1, N1, 16, k0). */
static void zn_by_formula(const uint8_t *nd, size_t n, size_t row_bytes, size_t k0, uint8_t *zn)
{
    const size_t n1 = round_up(n, 16) / 16, k1 = round_up(row_bytes, k0) / k0;
    for (size_t i = 0; i < k1 * n1 * 16 * k0; i++) {
        const size_t column = i % k0 + i / (k0 * 16 * n1) * k0;
        const size_t row = i / k0 % 16 + i / (k0 * 16) % n1 * 16;
        zn[i] = row < n && column < row_bytes ? nd[row * row_bytes + column] : 0;
    }
}

static void check_zn(size_t n, size_t row_bytes, size_t k0, int fill, uint64_t *state)
{
    const size_t nd_size = n * row_bytes;
    const size_t zn_size = nd_size ? round_up(n, 16) * round_up(row_bytes, k0) : 0;
    uint8_t *nd = allocate(nd_size + 1), *wanted = allocate(zn_size + 1);
    random_nonzero(state, nd, nd_size);
    zn_by_formula(nd, n, row_bytes, k0, wanted);
    const struct exact input = exact_copy(nd, nd_size);
    const struct guarded zn = guarded_bytes(zn_size, fill);
    CHECK_EQUAL(cube24_nd_to_zn(input.data, n, row_bytes, k0, zn.data), CUBE24_OK);
    CHECK(holds(zn, wanted));

    /* what lies in the padding does not come back */
    for (size_t i = 0; i < zn_size; i++)
        wanted[i] = wanted[i] == 0 ? 0xee : wanted[i];
    const struct exact stored = exact_copy(wanted, zn_size);
    const struct guarded back = guarded_bytes(nd_size, fill);
    CHECK_EQUAL(cube24_zn_to_nd(stored.data, n, row_bytes, k0, back.data), CUBE24_OK);
    CHECK(holds(back, nd));
    exact_free(input);
    exact_free(stored);
    guarded_free(zn);
    guarded_free(back);
    free(nd);
    free(wanted);
}

static void zn_is_the_formula_of_section_5_and_back(void)
{
    static const size_t ROWS[] = {0, 1, 2, 15, 16, 17, 31, 32, 33, 48};
    static const size_t K0[] = {8, 32};
    uint64_t state = 3;
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++)
        for (size_t row_bytes = 0; row_bytes <= 97; row_bytes++)
            for (int k = 0; k < 2; k++)
                for (int f = 0; f < 2; f++)
                    check_zn(ROWS[i], row_bytes, K0[k], FILLS[f], &state);
}

/* --- convolutions --------------------------------------------------------------------------- */

struct shape {
    size_t cout, cin, kh, kw;
};

static size_t conv_columns(const struct shape *s)
{
    return round_up(s->cin, 32) * s->kh * s->kw;
}

/* Section 6: the columns are (C1, kh, kw, C0); gives the place in the weight of place `at` of the
 * matrix, or -1 if the channel is missing. */
static long long conv_place(const struct shape *s, size_t at)
{
    const size_t columns = conv_columns(s), n = at / columns, column = at % columns;
    const size_t c0 = column % 32, x = column / 32 % s->kw, y = column / 32 / s->kw % s->kh;
    const size_t channel = column / 32 / s->kw / s->kh * 32 + c0;
    if (channel >= s->cin)
        return -1;
    return (long long)(((n * s->cin + channel) * s->kh + y) * s->kw + x);
}

/* The matrix back to the weight, with `spoil` of the missing channels not zero. */
static void check_conv_back(const struct shape *s, const uint8_t *matrix, const uint8_t *weight,
                            size_t spoil, int fill, uint32_t flags)
{
    const size_t size = s->cout * s->cin * s->kh * s->kw, stored = s->cout * conv_columns(s);
    const struct exact input = exact_copy(matrix, stored);
    uint64_t padding = 99, first = 99, wanted_padding = 0, wanted_first = 99;
    for (size_t at = stored; at-- > 0 && wanted_padding < spoil;)
        if (conv_place(s, at) < 0) {
            input.data[at] = 0x80;
            wanted_first = at;
            wanted_padding++;
        }
    const struct guarded back = guarded_bytes(size, fill), again = guarded_bytes(size, fill);
    CHECK_EQUAL(cube24_matrix_to_conv(exact_int8(input), s->cout, s->cin, s->kh, s->kw, flags,
                                      guarded_int8(back), &padding, &first),
                CUBE24_OK);
    CHECK(holds(back, weight));
    CHECK_EQUAL(padding, wanted_padding);
    CHECK_EQUAL(first, wanted_first); /* left alone if there is none */
    CHECK_EQUAL(cube24_matrix_to_conv(exact_int8(input), s->cout, s->cin, s->kh, s->kw, flags,
                                      guarded_int8(again), NULL, NULL),
                CUBE24_OK);
    CHECK(holds(again, weight));
    guarded_free(back);
    guarded_free(again);
    exact_free(input);
}

static void check_conv(const struct shape *s, int fill, uint64_t *state, uint32_t flags)
{
    const size_t size = s->cout * s->cin * s->kh * s->kw, stored = s->cout * conv_columns(s);
    uint8_t *weight = allocate(size + 1), *wanted = allocate(stored + 1);
    random_nonzero(state, weight, size);
    for (size_t at = 0; at < stored; at++)
        wanted[at] = conv_place(s, at) < 0 ? 0 : weight[conv_place(s, at)];
    const struct exact input = exact_copy(weight, size);
    const struct guarded matrix = guarded_bytes(stored, fill);
    CHECK_EQUAL(cube24_conv_to_matrix(exact_int8(input), s->cout, s->cin, s->kh, s->kw, flags,
                                      guarded_int8(matrix)),
                CUBE24_OK);
    CHECK(holds(matrix, wanted));
    for (size_t spoil = 0; spoil < 3; spoil++)
        check_conv_back(s, wanted, weight, spoil, fill, flags);
    check_conv_back(s, wanted, weight, stored, fill, flags); /* every missing channel */
    exact_free(input);
    guarded_free(matrix);
    free(weight);
    free(wanted);
}

static void conv_order_is_that_of_section_6_and_back(uint32_t flags)
{
    static const size_t CIN[] = {0, 1, 3, 4, 31, 32, 33, 64};
    static const size_t KERNELS[][2] = {{1, 1}, {3, 3}, {1, 5}, {5, 1}, {2, 3},
                                        {0, 3}, {8, 8}, {5, 13}};
    uint64_t state = 6;
    for (size_t cout = 0; cout <= 3; cout++)
        for (size_t c = 0; c < sizeof CIN / sizeof CIN[0]; c++)
            for (size_t k = 0; k < sizeof KERNELS / sizeof KERNELS[0]; k++)
                for (int f = 0; f < 2; f++) {
                    const struct shape s = {cout, CIN[c], KERNELS[k][0], KERNELS[k][1]};
                    check_conv(&s, FILLS[f], &state, flags);
                }
}

/* --- Zz and Nz ------------------------------------------------------------------------------ */

/* Byte `byte` of row `row`: fractals of 16 rows of k0 bytes, those of a row of fractals one after
 * the other (Zz), or those of a column, `stored` rows high (Nz). */
static size_t zz_place(size_t row, size_t byte, size_t k0, size_t across)
{
    return ((row / 16 * across + byte / k0) * 16 + row % 16) * k0 + byte % k0;
}

static size_t nz_place(size_t row, size_t byte, size_t n0, size_t stored)
{
    return (byte / n0 * stored + row) * n0 + byte % n0;
}

/* stored is 0 for Zz. */
static void check_fractals(size_t m, size_t row_bytes, size_t k0, size_t stored, int fill,
                           uint64_t *state)
{
    const size_t across = ceil_of(row_bytes, k0), rows = stored ? stored : round_up(m, 16);
    const size_t size = rows * across * k0;
    uint8_t *const nd = allocate(m * row_bytes + 1), *const wanted = allocate(size + 1);
    random_nonzero(state, nd, m * row_bytes);
    memset(wanted, 0, size);
    for (size_t row = 0; row < m; row++)
        for (size_t byte = 0; byte < row_bytes; byte++)
            wanted[stored ? nz_place(row, byte, k0, stored) : zz_place(row, byte, k0, across)] =
                nd[row * row_bytes + byte];
    const struct exact rows_in = exact_copy(nd, m * row_bytes);
    const struct guarded fractals = guarded_bytes(size, fill);
    CHECK_EQUAL(stored ? cube24_nd_to_nz(rows_in.data, m, row_bytes, k0, stored, fractals.data)
                       : cube24_nd_to_zz(rows_in.data, m, row_bytes, k0, fractals.data),
                CUBE24_OK);
    CHECK(holds(fractals, wanted));

    /* and back, whatever the padding holds */
    for (size_t i = 0; i < size; i++)
        wanted[i] = wanted[i] ? wanted[i] : (uint8_t)fill;
    const struct exact fractals_in = exact_copy(wanted, size);
    const struct guarded back = guarded_bytes(m * row_bytes, fill);
    CHECK_EQUAL(stored ? cube24_nz_to_nd(fractals_in.data, m, row_bytes, k0, stored, back.data)
                       : cube24_zz_to_nd(fractals_in.data, m, row_bytes, k0, back.data),
                CUBE24_OK);
    CHECK(holds(back, nd));
    exact_free(rows_in);
    exact_free(fractals_in);
    guarded_free(fractals);
    guarded_free(back);
    free(nd);
    free(wanted);
}

static void zz_and_nz_are_their_formulas_and_back(void)
{
    static const size_t rows[] = {1, 2, 15, 16, 17, 31, 32, 33, 48, 50};
    static const size_t widths[] = {1, 4, 31, 32, 33, 60, 64, 68, 96, 128, 130};
    static const size_t pieces[] = {32, 64, 8, 5};
    uint64_t state = 3;
    for (size_t r = 0; r < COUNT(rows); r++)
        for (size_t w = 0; w < COUNT(widths); w++)
            for (size_t p = 0; p < COUNT(pieces); p++) {
                const size_t stored[] = {0, rows[r], round_up(rows[r], 16), rows[r] + 3,
                                         round_up(rows[r], 16) + 32};
                for (size_t s = 0; s < COUNT(stored); s++)
                    check_fractals(rows[r], widths[w], pieces[p], stored[s], FILLS[(r + w) % 2],
                                   &state);
            }
    check_fractals(0, 70, 32, 16, FILLS[0], &state); /* padding alone */
}

/* --- NC1HWC0 -------------------------------------------------------------------------------- */

static void check_image(size_t batch, size_t channels, size_t h, size_t w, uint32_t flags,
                        int fill, uint64_t *state)
{
    const size_t c1 = ceil_of(channels, 32), size = batch * c1 * h * w * 32;
    const size_t given = batch * channels * h * w;
    uint8_t *const nchw = allocate(given), *const wanted = allocate(size);
    random_nonzero(state, nchw, given);
    memset(wanted, 0, size);
    for (size_t i = 0; i < given; i++) {
        const size_t x = i % w, y = i / w % h, c = i / w / h % channels, b = i / w / h / channels;
        wanted[(((b * c1 + c / 32) * h + y) * w + x) * 32 + c % 32] = nchw[i];
    }
    const struct exact image = exact_copy(nchw, given);
    const struct guarded blocks = guarded_bytes(size, fill);
    CHECK_EQUAL(cube24_nchw_to_nc1hwc0(exact_int8(image), batch, channels, h, w, flags,
                                       guarded_int8(blocks)),
                CUBE24_OK);
    CHECK(holds(blocks, wanted));
    for (size_t i = 0; i < size; i++)
        wanted[i] = wanted[i] ? wanted[i] : (uint8_t)fill;
    const struct exact blocks_in = exact_copy(wanted, size);
    const struct guarded back = guarded_bytes(given, fill);
    CHECK_EQUAL(cube24_nc1hwc0_to_nchw(exact_int8(blocks_in), batch, channels, h, w, flags,
                                       guarded_int8(back)),
                CUBE24_OK);
    CHECK(holds(back, nchw));
    exact_free(image);
    exact_free(blocks_in);
    guarded_free(blocks);
    guarded_free(back);
    free(nchw);
    free(wanted);
}

static void images_are_blocks_of_32_channels_and_back(uint32_t flags)
{
    static const size_t channels[] = {1, 3, 4, 8, 16, 31, 32, 33, 64, 70};
    static const size_t sides[] = {1, 2, 3, 5, 8, 13};
    uint64_t state = 8;
    for (size_t c = 0; c < COUNT(channels); c++)
        for (size_t y = 0; y < COUNT(sides); y++)
            for (size_t x = 0; x < COUNT(sides); x++)
                check_image(1 + (x + y) % 2, channels[c], sides[y], sides[x], flags,
                            FILLS[(c + x) % 2], &state);
}

/* One worked place of each, so that the formulas are not only compared with themselves. */
static void worked_places_of_zz_nz_and_nc1hwc0(void)
{
    static uint8_t nd[18 * 70], zz[2 * 3 * 16 * 32], nz[3 * 32 * 32];
    nd[17 * 70 + 40] = 42; /* row 1 of the lower fractals, byte 8 of the second */
    CHECK_EQUAL(cube24_nd_to_zz(nd, 18, 70, 32, zz), CUBE24_OK);
    CHECK_EQUAL(zz[(3 + 1) * 512 + 1 * 32 + 8], 42);
    CHECK_EQUAL(cube24_nd_to_nz(nd, 18, 70, 32, 32, nz), CUBE24_OK);
    CHECK_EQUAL(nz[(2 + 1) * 512 + 1 * 32 + 8], 42);
    static int8_t image[33 * 2 * 3], blocks[2 * 6 * 32];
    image[32 * 6 + 4] = 24; /* channel 32, the fifth pixel */
    CHECK_EQUAL(cube24_nchw_to_nc1hwc0(image, 1, 33, 2, 3, 0, blocks), CUBE24_OK);
    CHECK_EQUAL(blocks[6 * 32 + 4 * 32 + 0], 24);
}

/* --- the K order ---------------------------------------------------------------------------- */

/* One worked place, so that the formula above is not only compared with itself: cout 1, cin 33,
 * 3x3; channel 32 at tap (1, 2) stands in block 1, tap 5, lane 0. */
static void a_worked_place_of_the_conv_order(void)
{
    static int8_t weight[33 * 9], matrix[2 * 9 * 32];
    weight[32 * 9 + 1 * 3 + 2] = 42;
    CHECK_EQUAL(cube24_conv_to_matrix(weight, 1, 33, 3, 3, 0, matrix), CUBE24_OK);
    CHECK_EQUAL(matrix[1 * 9 * 32 + 5 * 32 + 0], 42);
}

static void a_block_has_32_channels(void)
{
    CHECK_EQUAL(cube24_c0(), 32);
}

int main(void)
{
    every_byte_unpacks_from_its_low_bits_and_packs_again();
    counts_that_do_not_fill_a_byte();
    a_value_above_3_is_out_of_range();
    zn_is_the_formula_of_section_5_and_back();
    zz_and_nz_are_their_formulas_and_back();
    on_every_path(images_are_blocks_of_32_channels_and_back);
    worked_places_of_zz_nz_and_nc1hwc0();
    on_every_path(conv_order_is_that_of_section_6_and_back);
    a_worked_place_of_the_conv_order();
    a_block_has_32_channels();
    return check_report("test_layout");
}
