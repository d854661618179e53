/* SPDX-License-Identifier: Apache-2.0
 * What the header says of every call whatever the format: sizes that no buffer can have, NULL with
 * and without elements, unknown policies, flags and paths - and that such a call writes nothing. */
#include <limits.h>

#include "check.h"
#include "cube24.h"
#include "support.h"

/* Every buffer that a call below may be given to write to. */
static struct outputs {
    uint64_t masks[16], rows[4], faults[CUBE24_FAULT_KINDS], total, position;
    cube24_place places[4];
    cube24_changes changes;
    cube24_cost cost;
    int8_t weight[64], dense[64];
    uint8_t index[64], bytes[1024];
} out;

/* A 2 x 8 weight and its bytes; large enough for every other input below. */
static const int8_t WEIGHT[64], DENSE[64];
static const uint8_t INDEX[64], BYTES[1024];

static void outputs_fill(void)
{
    memset(&out, FILLS[0], sizeof out);
}

static int outputs_untouched(void)
{
    return is_filled((const uint8_t *)&out, sizeof out, FILLS[0]);
}

/* The call gives the status and touches no buffer. */
#define REFUSES(call, status)             \
    do {                                  \
        outputs_fill();                   \
        CHECK_EQUAL(call, status);        \
        CHECK(outputs_untouched());       \
    } while (0)

/* --- sizes ---------------------------------------------------------------------------------- */

static const size_t MOST = (size_t)PTRDIFF_MAX;
static const size_t ROOT = (size_t)1 << (sizeof(size_t) * CHAR_BIT / 2); /* its square is 0 */

static void k_stored_rounds_up_or_gives_0(void)
{
    for (size_t k = 0, wanted = 0; k <= 80; k++) {
        if (k > wanted)
            wanted += 8;
        CHECK_EQUAL(cube24_k_stored(k), wanted);
    }
    CHECK(cube24_k_stored(SIZE_MAX - 7) == SIZE_MAX - 7);
    CHECK(cube24_k_stored(SIZE_MAX - 8) == SIZE_MAX - 7);
    for (size_t less = 0; less < 7; less++)
        CHECK_EQUAL(cube24_k_stored(SIZE_MAX - less), 0);
}

static void weights_too_large_are_refused(void)
{
    const size_t sizes[][2] = {{1, SIZE_MAX},        {SIZE_MAX, 1},        {SIZE_MAX, SIZE_MAX},
                               {2, MOST},            {MOST, 2},            {1, MOST + 1},
                               {MOST + 1, 2},        {2, MOST + 1},        {ROOT, ROOT},
                               {SIZE_MAX / 3 + 1, 3}, {1, SIZE_MAX - 3}};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        const size_t n = sizes[s][0], k = sizes[s][1];
        REFUSES(cube24_encode(WEIGHT, n, k, CUBE24_POLICY_ERROR, 0, out.dense, out.index,
                              &out.changes),
                CUBE24_E_SIZE);
        REFUSES(cube24_encode_zn(WEIGHT, n, k, 0, 1, CUBE24_POLICY_ERROR, 0, out.dense, out.index,
                                 &out.changes),
                CUBE24_E_SIZE);
        REFUSES(cube24_decode_zn(DENSE, INDEX, n, k, 0, 1, 0, out.weight, out.faults),
                CUBE24_E_SIZE);
        REFUSES(cube24_check(WEIGHT, n, k, 0, out.masks, NULL), CUBE24_E_SIZE);
        REFUSES(cube24_list_excess(WEIGHT, n, k, out.places, 4, &out.total), CUBE24_E_SIZE);
        REFUSES(cube24_prune(WEIGHT, n, k, CUBE24_POLICY_MAGNITUDE, 0, out.weight, &out.cost),
                CUBE24_E_SIZE);
    }
    /* the weight fits, its dense bytes do not */
    REFUSES(cube24_encode(WEIGHT, MOST, 1, CUBE24_POLICY_ERROR, 0, out.dense, out.index, NULL),
            CUBE24_E_SIZE);
}

static void refuses_stored(size_t n_stored, size_t k_stored, size_t n, size_t k)
{
    REFUSES(cube24_decode(DENSE, INDEX, n_stored, k_stored, n, k, 0, out.weight, out.faults),
            CUBE24_E_SIZE);
    REFUSES(cube24_list_refused(DENSE, INDEX, n_stored, k_stored, n, k, 0, out.places, 4,
                                &out.total),
            CUBE24_E_SIZE);
}

static void stored_sizes_that_cannot_be_are_refused(void)
{
    for (size_t k_stored = 1; k_stored < 8; k_stored++) {
        refuses_stored(1, k_stored, 1, 1);
        refuses_stored(1, 8 + k_stored, 1, 1);
    }
    refuses_stored(2, 8, 3, 8);
    refuses_stored(2, 8, 2, 9);
    refuses_stored(0, 8, 1, 8);
    refuses_stored(2, 0, 2, 1);
    refuses_stored(2, 8, SIZE_MAX, SIZE_MAX);
    refuses_stored(SIZE_MAX, 8, 1, 8);
    refuses_stored(4, SIZE_MAX - 7, 1, 8);
    refuses_stored(SIZE_MAX / 8 + 1, 8, 1, 8); /* the product is 0 */
    refuses_stored(ROOT, ROOT, 1, 8);
    refuses_stored(SIZE_MAX, SIZE_MAX - 7, 0, 0);
}

static void fractals_too_large_are_refused(void)
{
    const size_t sizes[][3] = {{1, 1, 0},           {1, SIZE_MAX, 32},    {SIZE_MAX, 1, 32},
                               {ROOT, ROOT, 8},     {2, MOST, 8},         {1, MOST / 8, 32},
                               {MOST, 1, 32},       {SIZE_MAX, SIZE_MAX, 32},
                               {1, 1, SIZE_MAX},    {1, 1, SIZE_MAX / 16 + 1}};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        REFUSES(cube24_nd_to_zn(BYTES, sizes[s][0], sizes[s][1], sizes[s][2], out.bytes),
                CUBE24_E_SIZE);
        REFUSES(cube24_zn_to_nd(BYTES, sizes[s][0], sizes[s][1], sizes[s][2], out.bytes),
                CUBE24_E_SIZE);
        REFUSES(cube24_nd_to_zz(BYTES, sizes[s][0], sizes[s][1], sizes[s][2], out.bytes),
                CUBE24_E_SIZE);
        REFUSES(cube24_zz_to_nd(BYTES, sizes[s][0], sizes[s][1], sizes[s][2], out.bytes),
                CUBE24_E_SIZE);
    }
    const size_t columns[][4] = {{1, 1, 0, 1},        {2, 1, 32, 1},        {1, SIZE_MAX, 32, 1},
                                 {1, 1, 32, SIZE_MAX}, {SIZE_MAX, 1, 32, SIZE_MAX},
                                 {1, 1, SIZE_MAX, 2},  {1, 64, 32, MOST / 63},
                                 {ROOT, ROOT, 8, ROOT}};
    for (size_t s = 0; s < sizeof columns / sizeof columns[0]; s++) {
        const size_t *d = columns[s];
        REFUSES(cube24_nd_to_nz(BYTES, d[0], d[1], d[2], d[3], out.bytes), CUBE24_E_SIZE);
        REFUSES(cube24_nz_to_nd(BYTES, d[0], d[1], d[2], d[3], out.bytes), CUBE24_E_SIZE);
    }
}

static void images_too_large_are_refused(void)
{
    const size_t sizes[][4] = {{SIZE_MAX, 1, 1, 1}, {1, SIZE_MAX, 1, 1},   {1, 1, SIZE_MAX, 1},
                               {1, 1, 1, SIZE_MAX}, {1, 1, ROOT, ROOT},    {1, 1, MOST / 16, 1},
                               {ROOT, 1, ROOT, 1},  {MOST / 16, 1, 1, 1},  {1, 1, ROOT / 2, ROOT}};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        const size_t *d = sizes[s];
        REFUSES(cube24_nchw_to_nc1hwc0(WEIGHT, d[0], d[1], d[2], d[3], 0, out.weight),
                CUBE24_E_SIZE);
        REFUSES(cube24_nc1hwc0_to_nchw(WEIGHT, d[0], d[1], d[2], d[3], 0, out.weight),
                CUBE24_E_SIZE);
    }
}

static void convolutions_too_large_are_refused(void)
{
    const size_t sizes[][4] = {{SIZE_MAX, 1, 1, 1}, {1, SIZE_MAX, 1, 1},
                               {1, 1, SIZE_MAX, 1}, {1, 1, 1, SIZE_MAX},
                               {1, 1, ROOT, ROOT},  {ROOT, 1, ROOT, 1},
                               {1, ROOT, 1, ROOT},  {1, 1, MOST / 16, 1},
                               {MOST / 16, 1, 1, 1}, {SIZE_MAX / 32 + 1, 1, 1, 1}};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        const size_t *d = sizes[s];
        REFUSES(cube24_conv_to_matrix(WEIGHT, d[0], d[1], d[2], d[3], 0, out.weight),
                CUBE24_E_SIZE);
        REFUSES(cube24_matrix_to_conv(WEIGHT, d[0], d[1], d[2], d[3], 0, out.weight, &out.total,
                                      &out.position),
                CUBE24_E_SIZE);
        for (int zn = 0; zn < 2; zn++)
            REFUSES(cube24_encode_conv(WEIGHT, d[0], d[1], d[2], d[3], 0, 0, zn,
                                       CUBE24_POLICY_ERROR, 0, out.dense, out.index,
                                       &out.changes),
                    CUBE24_E_SIZE);
    }
    /* the matrix fits, its fractals do not */
    REFUSES(cube24_encode_conv(NULL, MOST / 32, 1, 1, 1, 0, 0, 1, CUBE24_POLICY_ERROR, 0, NULL,
                               NULL, &out.changes),
            CUBE24_E_SIZE);
}

/* Blocks of rows that there are not. */
static void refuses_blocks(size_t n, size_t k, size_t start, size_t count)
{
    REFUSES(cube24_encode_zn(WEIGHT, n, k, start, count, CUBE24_POLICY_ERROR, 0, out.dense,
                             out.index, &out.changes),
            CUBE24_E_SIZE);
    REFUSES(cube24_decode_zn(DENSE, INDEX, n, k, start, count, 0, out.weight, out.faults),
            CUBE24_E_SIZE);
}

static void refuses_conv_rows(size_t cout, size_t start, size_t rows, int zn)
{
    REFUSES(cube24_encode_conv(WEIGHT, cout, 1, 1, 1, start, rows, zn, CUBE24_POLICY_ERROR, 0,
                               out.dense, out.index, &out.changes),
            CUBE24_E_SIZE);
}

static void rows_that_there_are_not_are_refused(void)
{
    refuses_blocks(0, 8, 0, 1);
    refuses_blocks(16, 2, 0, 2);
    refuses_blocks(16, 2, 1, 1);
    refuses_blocks(16, 2, 2, 0);
    refuses_blocks(17, 2, 1, 2);
    refuses_blocks(16, 2, 1, SIZE_MAX);
    refuses_blocks(16, 2, SIZE_MAX, 1);
    for (int zn = 0; zn < 2; zn++) {
        refuses_conv_rows(2, 0, 3, zn);
        refuses_conv_rows(2, 3, 0, zn);
        refuses_conv_rows(2, 1, 2, zn);
        refuses_conv_rows(2, 1, SIZE_MAX, zn);
    }
    refuses_conv_rows(20, 1, 19, 1); /* Zn: not the start of a block of 16 */
    refuses_conv_rows(20, 0, 15, 1); /* nor its end */
    refuses_conv_rows(20, 16, 3, 1);
}

/* A value of 4 ends the call where the size does not. */
static void index_values_too_many_are_refused(void)
{
    static const uint8_t FOUR = 4;
    REFUSES(cube24_pack_index(&FOUR, SIZE_MAX, out.bytes, &out.position), CUBE24_E_SIZE);
    REFUSES(cube24_pack_index(&FOUR, MOST + 1, out.bytes, &out.position), CUBE24_E_SIZE);
    /* with NULL, since the call would not come back if it did not look at the size */
    REFUSES(cube24_unpack_index(NULL, SIZE_MAX, NULL), CUBE24_E_SIZE);
    REFUSES(cube24_unpack_index(NULL, MOST + 1, NULL), CUBE24_E_SIZE);
}

/* row_excess takes 8 bytes a row, even of rows that hold nothing; masks NULL as above. */
static void row_counters_too_many_are_refused(void)
{
    REFUSES(cube24_check(NULL, SIZE_MAX, 0, 0, NULL, out.rows), CUBE24_E_SIZE);
    REFUSES(cube24_check(NULL, MOST / 8 + 1, 0, 0, NULL, out.rows), CUBE24_E_SIZE);
    REFUSES(cube24_check(WEIGHT, MOST, 1, 0, NULL, out.rows), CUBE24_E_SIZE);
}

/* --- NULL ----------------------------------------------------------------------------------- */

static void null_where_weights_are_needed_is_refused(void)
{
    const int error = CUBE24_POLICY_ERROR, prune = CUBE24_POLICY_MAGNITUDE;
    const int status = CUBE24_E_ARGUMENT;
    REFUSES(cube24_encode(NULL, 2, 8, error, 0, out.dense, out.index, &out.changes), status);
    REFUSES(cube24_encode(WEIGHT, 2, 8, error, 0, NULL, out.index, &out.changes), status);
    REFUSES(cube24_encode(WEIGHT, 2, 8, error, 0, out.dense, NULL, &out.changes), status);
    REFUSES(cube24_check(NULL, 2, 8, 0, out.masks, out.rows), status);
    REFUSES(cube24_check(WEIGHT, 2, 8, 0, NULL, out.rows), status);
    REFUSES(cube24_list_excess(NULL, 2, 8, out.places, 4, &out.total), status);
    REFUSES(cube24_list_excess(WEIGHT, 2, 8, NULL, 4, &out.total), status);
    REFUSES(cube24_list_excess(WEIGHT, 2, 8, out.places, 4, NULL), status);
    REFUSES(cube24_encode_zn(NULL, 2, 8, 0, 1, error, 0, out.dense, out.index, &out.changes),
            status);
    REFUSES(cube24_encode_zn(WEIGHT, 2, 8, 0, 1, error, 0, NULL, out.index, &out.changes), status);
    REFUSES(cube24_encode_zn(WEIGHT, 2, 8, 0, 1, error, 0, out.dense, NULL, &out.changes), status);
    for (int zn = 0; zn < 2; zn++) {
        REFUSES(cube24_encode_conv(NULL, 2, 1, 1, 1, 0, 2, zn, error, 0, out.dense, out.index,
                                   &out.changes),
                status);
        REFUSES(cube24_encode_conv(WEIGHT, 2, 1, 1, 1, 0, 2, zn, error, 0, NULL, out.index,
                                   &out.changes),
                status);
        REFUSES(cube24_encode_conv(WEIGHT, 2, 1, 1, 1, 0, 2, zn, error, 0, out.dense, NULL,
                                   &out.changes),
                status);
    }
    /* neither ND nor Zn */
    REFUSES(cube24_encode_conv(WEIGHT, 2, 1, 1, 1, 0, 2, 2, error, 0, out.dense, out.index,
                               &out.changes),
            CUBE24_E_ARGUMENT);
    REFUSES(cube24_encode_conv(WEIGHT, 2, 1, 1, 1, 0, 2, -1, error, 0, out.dense, out.index,
                               &out.changes),
            CUBE24_E_ARGUMENT);
    REFUSES(cube24_prune(NULL, 2, 8, prune, 0, out.weight, &out.cost), status);
    REFUSES(cube24_prune(WEIGHT, 2, 8, prune, 0, NULL, &out.cost), status);
}

static void null_where_bytes_are_needed_is_refused(void)
{
    const int status = CUBE24_E_ARGUMENT;
    REFUSES(cube24_decode(NULL, INDEX, 2, 8, 2, 8, 0, out.weight, out.faults), status);
    REFUSES(cube24_decode(DENSE, NULL, 2, 8, 2, 8, 0, out.weight, out.faults), status);
    REFUSES(cube24_decode(DENSE, INDEX, 2, 8, 2, 8, 0, NULL, out.faults), status);
    REFUSES(cube24_decode(NULL, INDEX, 2, 8, 0, 0, 0, out.weight, out.faults), status);
    REFUSES(cube24_decode_zn(NULL, INDEX, 2, 8, 0, 1, 0, out.weight, out.faults), status);
    REFUSES(cube24_decode_zn(DENSE, NULL, 2, 8, 0, 1, 0, out.weight, out.faults), status);
    REFUSES(cube24_decode_zn(DENSE, INDEX, 2, 8, 0, 1, 0, NULL, out.faults), status);
    REFUSES(cube24_list_refused(NULL, INDEX, 2, 8, 2, 8, 0, out.places, 4, &out.total), status);
    REFUSES(cube24_list_refused(DENSE, NULL, 2, 8, 2, 8, 0, out.places, 4, &out.total), status);
    REFUSES(cube24_list_refused(DENSE, INDEX, 2, 8, 2, 8, 0, NULL, 4, &out.total), status);
    REFUSES(cube24_list_refused(DENSE, INDEX, 2, 8, 2, 8, 0, out.places, 4, NULL), status);
    REFUSES(cube24_pack_index(NULL, 1, out.bytes, &out.position), status);
    REFUSES(cube24_pack_index(BYTES, 1, NULL, &out.position), status);
    REFUSES(cube24_unpack_index(NULL, 1, out.bytes), status);
    REFUSES(cube24_unpack_index(BYTES, 1, NULL), status);
    REFUSES(cube24_nd_to_zn(NULL, 1, 1, 32, out.bytes), status);
    REFUSES(cube24_nd_to_zn(BYTES, 1, 1, 32, NULL), status);
    REFUSES(cube24_zn_to_nd(NULL, 1, 1, 32, out.bytes), status);
    REFUSES(cube24_zn_to_nd(BYTES, 1, 1, 32, NULL), status);
    REFUSES(cube24_nd_to_zz(NULL, 1, 1, 32, out.bytes), status);
    REFUSES(cube24_nd_to_zz(BYTES, 1, 1, 32, NULL), status);
    REFUSES(cube24_zz_to_nd(NULL, 1, 1, 32, out.bytes), status);
    REFUSES(cube24_zz_to_nd(BYTES, 1, 1, 32, NULL), status);
    REFUSES(cube24_nd_to_nz(NULL, 1, 1, 32, 1, out.bytes), status);
    REFUSES(cube24_nd_to_nz(BYTES, 1, 1, 32, 1, NULL), status);
    REFUSES(cube24_nd_to_nz(NULL, 0, 1, 32, 1, NULL), status); /* there is padding to write */
    REFUSES(cube24_nz_to_nd(NULL, 1, 1, 32, 1, out.bytes), status);
    REFUSES(cube24_nz_to_nd(BYTES, 1, 1, 32, 1, NULL), status);
    REFUSES(cube24_nchw_to_nc1hwc0(NULL, 1, 1, 1, 1, 0, out.weight), status);
    REFUSES(cube24_nchw_to_nc1hwc0(WEIGHT, 1, 1, 1, 1, 0, NULL), status);
    REFUSES(cube24_nc1hwc0_to_nchw(NULL, 1, 1, 1, 1, 0, out.weight), status);
    REFUSES(cube24_nc1hwc0_to_nchw(WEIGHT, 1, 1, 1, 1, 0, NULL), status);
    REFUSES(cube24_conv_to_matrix(NULL, 1, 1, 1, 1, 0, out.weight), status);
    REFUSES(cube24_conv_to_matrix(WEIGHT, 1, 1, 1, 1, 0, NULL), status);
    REFUSES(cube24_matrix_to_conv(NULL, 1, 1, 1, 1, 0, out.weight, &out.total, &out.position),
            status);
    REFUSES(cube24_matrix_to_conv(WEIGHT, 1, 1, 1, 1, 0, NULL, &out.total, &out.position), status);
}

/* A weight of no elements: everything may be NULL that may, and the counters are set. */
static void empty_weight(size_t n, size_t k)
{
    outputs_fill();
    CHECK_EQUAL(cube24_encode(NULL, n, k, CUBE24_POLICY_ERROR, 0, NULL, NULL, &out.changes),
                CUBE24_OK);
    CHECK(out.changes.groups == 0 && out.changes.weights == 0);
    CHECK_EQUAL(cube24_encode(NULL, n, k, CUBE24_POLICY_ERROR, 0, NULL, NULL, NULL), CUBE24_OK);
    CHECK_EQUAL(cube24_encode_zn(NULL, n, k, 0, (n + 15) / 16, CUBE24_POLICY_ERROR, 0, NULL, NULL,
                                 &out.changes),
                CUBE24_OK);
    CHECK(out.changes.groups == 0 && out.changes.weights == 0);
    CHECK_EQUAL(cube24_encode_zn(NULL, n, 8, 0, 0, CUBE24_POLICY_ERROR, 0, NULL, NULL, NULL),
                CUBE24_OK);
    CHECK_EQUAL(cube24_decode_zn(NULL, NULL, n, k, 0, (n + 15) / 16, 0, NULL, out.faults),
                CUBE24_OK);
    CHECK(is_filled((const uint8_t *)out.faults, sizeof out.faults, 0));
    CHECK_EQUAL(cube24_decode_zn(NULL, NULL, n, 8, 0, 0, CUBE24_STRICT, NULL, NULL), CUBE24_OK);
    CHECK_EQUAL(cube24_check(NULL, n, k, 0, out.masks, n ? out.rows : NULL), CUBE24_OK);
    CHECK(is_filled((const uint8_t *)out.masks, sizeof out.masks, 0));
    CHECK(is_filled((const uint8_t *)out.rows, n * sizeof out.rows[0], 0));
    CHECK_EQUAL(cube24_list_excess(NULL, n, k, NULL, 0, &out.total), CUBE24_OK);
    CHECK_EQUAL(out.total, 0);
    CHECK_EQUAL(cube24_prune(NULL, n, k, CUBE24_POLICY_MAGNITUDE, 0, NULL, &out.cost), CUBE24_OK);
    CHECK(is_filled((const uint8_t *)&out.cost, sizeof out.cost, 0));
    CHECK_EQUAL(cube24_prune(NULL, n, k, CUBE24_POLICY_MAGNITUDE, 0, NULL, NULL), CUBE24_OK);
}

static void empty_bytes(size_t n_stored, size_t k_stored, uint32_t flags)
{
    outputs_fill();
    CHECK_EQUAL(cube24_decode(NULL, NULL, n_stored, k_stored, n_stored, k_stored, flags, NULL,
                              out.faults),
                CUBE24_OK);
    CHECK(is_filled((const uint8_t *)out.faults, sizeof out.faults, 0));
    CHECK_EQUAL(cube24_list_refused(NULL, NULL, n_stored, k_stored, n_stored, k_stored, flags,
                                    NULL, 0, &out.total),
                CUBE24_OK);
    CHECK_EQUAL(out.total, 0);
}

static void null_is_fine_where_there_are_no_elements(void)
{
    empty_weight(0, 0);
    empty_weight(0, 9);
    empty_weight(4, 0);
    for (uint32_t strict = 0; strict <= CUBE24_STRICT; strict += CUBE24_STRICT) {
        empty_bytes(0, 0, strict);
        empty_bytes(0, 16, strict);
        empty_bytes(4, 0, strict);
        /* bytes, but no weight in them */
        CHECK_EQUAL(cube24_decode(DENSE, INDEX, 2, 8, 0, 8, strict, NULL, NULL), CUBE24_OK);
        CHECK_EQUAL(cube24_decode(DENSE, INDEX, 2, 8, 2, 0, strict, NULL, NULL), CUBE24_OK);
    }
    CHECK_EQUAL(cube24_pack_index(NULL, 0, NULL, NULL), CUBE24_OK);
    CHECK_EQUAL(cube24_unpack_index(NULL, 0, NULL), CUBE24_OK);
    CHECK_EQUAL(cube24_nd_to_zn(NULL, 0, 5, 32, NULL), CUBE24_OK);
    CHECK_EQUAL(cube24_nd_to_zn(NULL, 5, 0, 32, NULL), CUBE24_OK);
    CHECK_EQUAL(cube24_zn_to_nd(NULL, 0, 5, 8, NULL), CUBE24_OK);
    CHECK_EQUAL(cube24_zn_to_nd(NULL, 5, 0, 8, NULL), CUBE24_OK);
    CHECK_EQUAL(cube24_nd_to_zz(NULL, 0, 5, 32, NULL), CUBE24_OK);
    CHECK_EQUAL(cube24_nd_to_zz(NULL, 5, 0, 32, NULL), CUBE24_OK);
    CHECK_EQUAL(cube24_zz_to_nd(NULL, 0, 5, 8, NULL), CUBE24_OK);
    CHECK_EQUAL(cube24_zz_to_nd(NULL, 5, 0, 8, NULL), CUBE24_OK);
    CHECK_EQUAL(cube24_nd_to_nz(NULL, 0, 5, 32, 0, NULL), CUBE24_OK);
    CHECK_EQUAL(cube24_nd_to_nz(NULL, 5, 0, 32, 16, NULL), CUBE24_OK);
    CHECK_EQUAL(cube24_nz_to_nd(NULL, 0, 5, 32, 16, NULL), CUBE24_OK);
    CHECK_EQUAL(cube24_nz_to_nd(NULL, 5, 0, 32, 16, NULL), CUBE24_OK);
    for (size_t none = 0; none < 4; none++) {
        const size_t d[4] = {none != 0, none != 1, none != 2, none != 3};
        CHECK_EQUAL(cube24_nchw_to_nc1hwc0(NULL, d[0], d[1], d[2], d[3], 0, NULL), CUBE24_OK);
        CHECK_EQUAL(cube24_nc1hwc0_to_nchw(NULL, d[0], d[1], d[2], d[3], 0, NULL), CUBE24_OK);
    }
    for (size_t zero = 0; zero < 4; zero++) {
        const size_t d[4] = {zero != 0, zero != 1, zero != 2, zero != 3};
        CHECK_EQUAL(cube24_conv_to_matrix(NULL, d[0], d[1], d[2], d[3], 0, NULL), CUBE24_OK);
        CHECK_EQUAL(cube24_matrix_to_conv(NULL, d[0], d[1], d[2], d[3], 0, NULL, &out.total, NULL),
                    CUBE24_OK);
        CHECK_EQUAL(out.total, 0);
        for (int zn = 0; zn < 2; zn++) {
            outputs_fill();
            CHECK_EQUAL(cube24_encode_conv(NULL, d[0], d[1], d[2], d[3], 0, d[0], zn,
                                           CUBE24_POLICY_ERROR, 0, NULL, NULL, &out.changes),
                        CUBE24_OK);
            CHECK(out.changes.groups == 0 && out.changes.weights == 0);
        }
    }
    CHECK_EQUAL(cube24_encode_conv(NULL, 2, 1, 1, 1, 2, 0, 0, CUBE24_POLICY_ERROR, 0, NULL, NULL,
                                   NULL),
                CUBE24_OK);
}

/* --- policies, flags, paths ----------------------------------------------------------------- */

static void unknown_policies_are_refused(void)
{
    static const int UNKNOWN[] = {-1, CUBE24_POLICY_MAGNITUDE + 1, 256, INT_MAX, INT_MIN};
    for (size_t u = 0; u < sizeof UNKNOWN / sizeof UNKNOWN[0]; u++) {
        REFUSES(cube24_encode(WEIGHT, 2, 8, UNKNOWN[u], 0, out.dense, out.index, &out.changes),
                CUBE24_E_ARGUMENT);
        REFUSES(cube24_encode_zn(WEIGHT, 2, 8, 0, 1, UNKNOWN[u], 0, out.dense, out.index,
                                 &out.changes),
                CUBE24_E_ARGUMENT);
        REFUSES(cube24_encode_conv(WEIGHT, 2, 1, 1, 1, 0, 2, 0, UNKNOWN[u], 0, out.dense,
                                   out.index, &out.changes),
                CUBE24_E_ARGUMENT);
        REFUSES(cube24_prune(WEIGHT, 2, 8, UNKNOWN[u], 0, out.weight, &out.cost),
                CUBE24_E_ARGUMENT);
    }
    /* pruning is not refusing */
    REFUSES(cube24_prune(WEIGHT, 2, 8, CUBE24_POLICY_ERROR, 0, out.weight, &out.cost),
            CUBE24_E_ARGUMENT);
}

static void refuses_flags(uint32_t flags)
{
    REFUSES(cube24_encode(WEIGHT, 2, 8, CUBE24_POLICY_ERROR, flags, out.dense, out.index,
                          &out.changes),
            CUBE24_E_ARGUMENT);
    REFUSES(cube24_check(WEIGHT, 2, 8, flags, out.masks, out.rows), CUBE24_E_ARGUMENT);
    REFUSES(cube24_decode(DENSE, INDEX, 2, 8, 2, 8, flags, out.weight, out.faults),
            CUBE24_E_ARGUMENT);
    REFUSES(cube24_decode_zn(DENSE, INDEX, 2, 8, 0, 1, flags, out.weight, out.faults),
            CUBE24_E_ARGUMENT);
    REFUSES(cube24_list_refused(DENSE, INDEX, 2, 8, 2, 8, flags, out.places, 4, &out.total),
            CUBE24_E_ARGUMENT);
}

/* Of functions that know no option. */
static void refuses_options(uint32_t flags)
{
    REFUSES(cube24_encode_zn(WEIGHT, 2, 8, 0, 1, CUBE24_POLICY_ERROR, flags, out.dense, out.index,
                             &out.changes),
            CUBE24_E_ARGUMENT);
    REFUSES(cube24_encode_conv(WEIGHT, 2, 1, 1, 1, 0, 2, 0, CUBE24_POLICY_ERROR, flags, out.dense,
                               out.index, &out.changes),
            CUBE24_E_ARGUMENT);
    REFUSES(cube24_prune(WEIGHT, 2, 8, CUBE24_POLICY_MAGNITUDE, flags, out.weight, &out.cost),
            CUBE24_E_ARGUMENT);
    REFUSES(cube24_conv_to_matrix(WEIGHT, 1, 1, 1, 1, flags, out.weight), CUBE24_E_ARGUMENT);
    REFUSES(cube24_matrix_to_conv(WEIGHT, 1, 1, 1, 1, flags, out.weight, &out.total,
                                  &out.position),
            CUBE24_E_ARGUMENT);
}

static void unknown_flags_and_paths_are_refused(void)
{
    for (uint32_t flag = CUBE24_STRICT << 1; flag != 0; flag <<= 1) {
        refuses_flags(flag);
        refuses_options(flag);
    }
    refuses_options(CUBE24_STRICT);
    for (uint32_t path = 0; path < CUBE24_PATH_MASK; path++)
        if (!cube24_path_supported(path)) {
            refuses_flags(path + 1);
            refuses_options(path + 1);
        }
}

static void path_0_is_scalar_and_every_path_has_a_name(void)
{
    const size_t count = cube24_path_count();
    CHECK(count >= 1 && count <= CUBE24_PATH_MASK);
    CHECK(cube24_path_name(0) && strcmp(cube24_path_name(0), "scalar") == 0);
    CHECK_EQUAL(cube24_path_supported(0), 1);
    for (size_t path = 0; path < count; path++) {
        CHECK(cube24_path_name(path) && cube24_path_name(path)[0] != '\0');
        CHECK(cube24_path_supported(path) == 0 || cube24_path_supported(path) == 1);
        for (size_t other = 0; other < path; other++)
            CHECK(strcmp(cube24_path_name(path), cube24_path_name(other)) != 0);
    }
    for (size_t beyond = count; beyond < count + 300; beyond++) {
        CHECK(cube24_path_name(beyond) == NULL);
        CHECK_EQUAL(cube24_path_supported(beyond), 0);
    }
    CHECK(cube24_path_name(SIZE_MAX) == NULL);
    CHECK_EQUAL(cube24_path_supported(SIZE_MAX), 0);
}

/* --- time ----------------------------------------------------------------------------------- */

/* A shape from a file may claim any number of rows that hold nothing. Last in this program: what
 * does not hold here does not come back, and the test times out. */
static void rows_without_columns_take_no_time(void)
{
    empty_bytes(SIZE_MAX, 0, 0);
    empty_bytes(SIZE_MAX, 0, CUBE24_STRICT);
    CHECK_EQUAL(cube24_encode(NULL, SIZE_MAX, 0, CUBE24_POLICY_ERROR, 0, NULL, NULL, NULL),
                CUBE24_OK);
    const size_t n = MOST / 64 / 16 * 16; /* rows of as many fractals as there can be */
    CHECK_EQUAL(cube24_encode_zn(NULL, n, 0, 0, n / 16, CUBE24_POLICY_ERROR, 0, NULL, NULL, NULL),
                CUBE24_OK);
    CHECK_EQUAL(cube24_decode_zn(NULL, NULL, n, 0, 0, n / 16, 0, NULL, NULL), CUBE24_OK);
    for (int zn = 0; zn < 2; zn++)
        CHECK_EQUAL(cube24_encode_conv(NULL, n, 0, 1, 1, 0, n, zn, CUBE24_POLICY_ERROR, 0, NULL,
                                       NULL, NULL),
                    CUBE24_OK);
    CHECK_EQUAL(cube24_list_excess(NULL, SIZE_MAX, 0, NULL, 0, &out.total), CUBE24_OK);
    CHECK_EQUAL(cube24_prune(NULL, SIZE_MAX, 0, CUBE24_POLICY_MAGNITUDE, 0, NULL, NULL), CUBE24_OK);
    CHECK_EQUAL(cube24_check(NULL, SIZE_MAX, 0, 0, out.masks, NULL), CUBE24_OK);
}

/* The same of fractals: one of 512 and 128 bytes, of a weight of 4 x 16. */
static void fractals_that_overlap_are_refused(void)
{
    enum { OF_WEIGHT = 64, OF_DENSE = 512, OF_INDEX = 128, SIZE = OF_WEIGHT + OF_DENSE + OF_INDEX };
    static int8_t memory[2 * SIZE];
    for (size_t weight = 0; weight <= SIZE; weight += 7)
        for (size_t dense = 0; dense <= SIZE; dense += 8)
            for (size_t index = 0; index <= SIZE; index += 8) {
                const int shared =
                    (weight < dense + OF_DENSE && dense < weight + OF_WEIGHT) ||
                    (weight < index + OF_INDEX && index < weight + OF_WEIGHT) ||
                    (dense < index + OF_INDEX && index < dense + OF_DENSE);
                memset(memory, 0, sizeof memory);
                CHECK_EQUAL(cube24_encode_zn(memory + weight, 4, 16, 0, 1, CUBE24_POLICY_ERROR, 0,
                                             memory + dense, (uint8_t *)memory + index, NULL),
                            shared ? CUBE24_E_ARGUMENT : CUBE24_OK);
            }
}

/* A weight of 2 x 16, 16 dense and 4 index bytes, each at any place of a memory: refused if two of
 * what must be apart share a byte, and nothing is written then. */
static void buffers_that_overlap_are_refused(void)
{
    enum { OF_WEIGHT = 32, OF_DENSE = 16, OF_INDEX = 4, SIZE = 80 };
    int8_t memory[SIZE];
    for (size_t weight = 0; weight + OF_WEIGHT <= SIZE; weight += 3)
        for (size_t dense = 0; dense + OF_DENSE <= SIZE; dense++)
            for (size_t index = 0; index + OF_INDEX <= SIZE; index++) {
                char of[SIZE] = {0};
                int shared = 0, weight_shared = 0;
                for (size_t i = 0; i < OF_WEIGHT; i++)
                    of[weight + i] = 'w';
                for (size_t i = 0; i < OF_DENSE; i++) {
                    weight_shared |= of[dense + i] == 'w';
                    of[dense + i] = 'd';
                }
                for (size_t i = 0; i < OF_INDEX; i++) {
                    shared |= of[index + i] == 'd';
                    weight_shared |= index + i - weight < OF_WEIGHT;
                }
                memset(memory, 0, sizeof memory);
                int8_t *const w = memory + weight, *const d = memory + dense;
                uint8_t *const x = (uint8_t *)memory + index;
                CHECK_EQUAL(cube24_encode(w, 2, 16, CUBE24_POLICY_ERROR, 0, d, x, NULL),
                            shared || weight_shared ? CUBE24_E_ARGUMENT : CUBE24_OK);
                CHECK_EQUAL(cube24_decode(d, x, 2, 16, 2, 16, 0, w, NULL),
                            weight_shared ? CUBE24_E_ARGUMENT : CUBE24_OK);
            }
}

int main(void)
{
    k_stored_rounds_up_or_gives_0();
    weights_too_large_are_refused();
    stored_sizes_that_cannot_be_are_refused();
    fractals_too_large_are_refused();
    convolutions_too_large_are_refused();
    images_too_large_are_refused();
    rows_that_there_are_not_are_refused();
    index_values_too_many_are_refused();
    row_counters_too_many_are_refused();
    null_where_weights_are_needed_is_refused();
    null_where_bytes_are_needed_is_refused();
    null_is_fine_where_there_are_no_elements();
    unknown_policies_are_refused();
    unknown_flags_and_paths_are_refused();
    path_0_is_scalar_and_every_path_has_a_name();
    rows_without_columns_take_no_time();
    buffers_that_overlap_are_refused();
    fractals_that_overlap_are_refused();
    return check_report("test_limits");
}
