/* SPDX-License-Identifier: Apache-2.0
 * The C side of the SystemVerilog imports, with open arrays of our own in the place of a simulator's.
 * Every call is made with arrays of exactly the elements that it needs, of its own memory, so that
 * the address sanitizer sees a step beyond; then with each array too short, of another element size
 * and in another layout, and with each size negative. What the functions compute the bench of
 * examples/dpi checks; here a few numbers show that the arguments arrive where they belong. */
#include "../dpi/cube24_dpi.c"

#include "check.h"
#include "support.h"

/* --- open arrays ---------------------------------------------------------------------------- */

struct open_array {
    struct exact memory;
    int size, element, has_layout;
};

int svSize(const svOpenArrayHandle array, int dimension)
{
    CHECK_EQUAL(dimension, 1);
    return ((const struct open_array *)array)->size;
}

void *svGetArrayPtr(const svOpenArrayHandle array)
{
    const struct open_array *of = (const struct open_array *)array;
    return of->has_layout ? of->memory.data : NULL;
}

int svSizeOfArray(const svOpenArrayHandle array)
{
    const struct open_array *of = (const struct open_array *)array;
    return of->has_layout ? of->size * of->element : 0;
}

/* --- calls ---------------------------------------------------------------------------------- */

enum { MOST_ARRAYS = 5, MOST_SIZES = 20 };

/* A call with sizes and the elements that each array needs for them, by hand from docs/format.md. */
struct call {
    const char *name;
    int (*make)(const int *s, svOpenArrayHandle *a);
    int sizes[MOST_SIZES], size_count;
    struct {
        int count, element;
    } arrays[MOST_ARRAYS];
};

static int a_row, a_group, a_total, a_fault, a_pair, a_height, a_width;

static int encode_group(const int *s, svOpenArrayHandle *a)
{
    (void)s;
    return cube24_dpi_encode_group(a[0], CUBE24_POLICY_ERROR, a[1], &a_pair);
}

static int decode_group(const int *s, svOpenArrayHandle *a)
{
    (void)s;
    return cube24_dpi_decode_group(a[0], 0, a[1]);
}

static int encode(const int *s, svOpenArrayHandle *a)
{
    return cube24_dpi_encode(a[0], s[0], s[1], CUBE24_POLICY_ERROR, a[1], a[2]);
}

static int decode(const int *s, svOpenArrayHandle *a)
{
    return cube24_dpi_decode(a[0], a[1], s[0], s[1], 1, a[2]);
}

static int find_excess(const int *s, svOpenArrayHandle *a)
{
    return cube24_dpi_find_excess(a[0], s[0], s[1], &a_total, &a_row, &a_group);
}

static int find_refused(const int *s, svOpenArrayHandle *a)
{
    return cube24_dpi_find_refused(a[0], a[1], s[0], s[1], 0, &a_total, &a_row, &a_group, &a_fault);
}

static int prune(const int *s, svOpenArrayHandle *a)
{
    return cube24_dpi_prune(a[0], s[0], s[1], CUBE24_POLICY_MAGNITUDE, a[1], &a_total);
}

static int pack_index(const int *s, svOpenArrayHandle *a)
{
    return cube24_dpi_pack_index(a[0], s[0], a[1]);
}

static int unpack_index(const int *s, svOpenArrayHandle *a)
{
    return cube24_dpi_unpack_index(a[0], s[0], a[1]);
}

static int conv_to_matrix(const int *s, svOpenArrayHandle *a)
{
    return cube24_dpi_conv_to_matrix(a[0], s[0], s[1], s[2], s[3], a[1]);
}

static int nd_to_zn(const int *s, svOpenArrayHandle *a)
{
    return cube24_dpi_nd_to_zn(a[0], s[0], s[1], s[2], a[1]);
}

static int zn_to_nd(const int *s, svOpenArrayHandle *a)
{
    return cube24_dpi_zn_to_nd(a[0], s[0], s[1], s[2], a[1]);
}

static int nd_to_zz(const int *s, svOpenArrayHandle *a)
{
    return cube24_dpi_nd_to_zz(a[0], s[0], s[1], s[2], a[1]);
}

static int zz_to_nd(const int *s, svOpenArrayHandle *a)
{
    return cube24_dpi_zz_to_nd(a[0], s[0], s[1], s[2], a[1]);
}

static int nd_to_nz_bytes(const int *s, svOpenArrayHandle *a)
{
    return cube24_dpi_nd_to_nz(a[0], s[0], s[1], a[1]);
}

static int nz_to_nd_bytes(const int *s, svOpenArrayHandle *a)
{
    return cube24_dpi_nz_to_nd(a[0], s[0], s[1], a[1]);
}

static int nd_to_nz_ints(const int *s, svOpenArrayHandle *a)
{
    return cube24_dpi_nd_to_nz_int(a[0], s[0], s[1], a[1]);
}

static int nz_to_nd_ints(const int *s, svOpenArrayHandle *a)
{
    return cube24_dpi_nz_to_nd_int(a[0], s[0], s[1], a[1]);
}

static int nchw(const int *s, svOpenArrayHandle *a)
{
    return cube24_dpi_nchw_to_nc1hwc0(a[0], s[0], s[1], s[2], s[3], a[1]);
}

static int nc1hwc0(const int *s, svOpenArrayHandle *a)
{
    return cube24_dpi_nc1hwc0_to_nchw(a[0], s[0], s[1], s[2], s[3], a[1]);
}

static int image_output(const int *s, svOpenArrayHandle *a)
{
    (void)a;
    return cube24_dpi_image_output(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7], s[8], s[9],
                                   s[10], s[11], s[12], &a_height, &a_width);
}

static int load3d(const int *s, svOpenArrayHandle *a)
{
    return cube24_dpi_load3d(a[0], s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7], s[8], s[9],
                             s[10], s[11], s[12], s[13], s[14], s[15], s[16], -1, a[1]);
}

static int select_group(const int *s, svOpenArrayHandle *a)
{
    (void)s;
    return cube24_dpi_select_group(a[0], 9, 0, a[1]);
}

static int mmad_start(const int *s, svOpenArrayHandle *a)
{
    return cube24_dpi_mmad_start(a[0], s[0], s[1], a[1], 1);
}

static int mmad_start_at_zero(const int *s, svOpenArrayHandle *a)
{
    return cube24_dpi_mmad_start(a[0], s[0], s[1], NULL, 0);
}

static int mmad(const int *s, svOpenArrayHandle *a)
{
    return cube24_dpi_mmad(a[0], a[1], s[0], s[1], s[2], CUBE24_WRAP, a[2]);
}

static int mmad_sparse(const int *s, svOpenArrayHandle *a)
{
    return cube24_dpi_mmad_sparse(a[0], a[1], a[2], s[0], s[1], s[2], CUBE24_WRAP, a[3]);
}

static int find_index3(const int *s, svOpenArrayHandle *a)
{
    return cube24_dpi_find_index3(a[0], s[0], s[1], &a_row, &a_group);
}

static int matmul_dense(const int *s, svOpenArrayHandle *a)
{
    return cube24_dpi_matmul_dense(a[0], a[1], s[0], s[1], s[2], a[2], 1, 0, a[3]);
}

static int matmul_sparse(const int *s, svOpenArrayHandle *a)
{
    return cube24_dpi_matmul_sparse(a[0], a[1], a[2], s[0], s[1], s[2], a[3], 1, 0, a[4], &a_row,
                                    &a_group);
}

static int requantise(const int *s, svOpenArrayHandle *a)
{
    return cube24_dpi_requantise(a[0], s[0], s[1], a[1], s[2], 0.5, CUBE24_RELU, a[2]);
}

static int dequantise(const int *s, svOpenArrayHandle *a)
{
    return cube24_dpi_dequantise(a[0], s[0], s[1], a[1], s[2], 0.5, CUBE24_RELU, a[2]);
}

/* n = 17 rows are 32 with padding; k = 70 are 72 stored, 96 in dense and 128 in sparse fractals. */
static const struct call CALLS[] = {
    {"encode_group", encode_group, {0}, 0, {{4, 1}, {2, 1}}},
    {"decode_group", decode_group, {0}, 0, {{2, 1}, {4, 1}}},
    {"encode", encode, {17, 70}, 2, {{17 * 70, 1}, {17 * 36, 1}, {17 * 9, 1}}},
    {"decode", decode, {17, 70}, 2, {{17 * 36, 1}, {17 * 9, 1}, {17 * 70, 1}}},
    {"find_excess", find_excess, {17, 70}, 2, {{17 * 70, 1}}},
    {"find_refused", find_refused, {17, 70}, 2, {{17 * 36, 1}, {17 * 9, 1}}},
    {"prune", prune, {17, 70}, 2, {{17 * 70, 1}, {17 * 70, 1}}},
    {"pack_index", pack_index, {9}, 1, {{9, 1}, {3, 1}}},
    {"unpack_index", unpack_index, {9}, 1, {{3, 1}, {9, 1}}},
    {"conv_to_matrix", conv_to_matrix, {3, 33, 2, 5}, 4, {{3 * 33 * 10, 1}, {3 * 64 * 10, 1}}},
    {"nd_to_zn", nd_to_zn, {17, 36, 32}, 3, {{17 * 36, 1}, {32 * 64, 1}}},
    {"zn_to_nd", zn_to_nd, {17, 9, 8}, 3, {{32 * 16, 1}, {17 * 9, 1}}},
    {"nd_to_zz", nd_to_zz, {17, 70, 32}, 3, {{17 * 70, 1}, {32 * 96, 1}}},
    {"zz_to_nd", zz_to_nd, {17, 70, 32}, 3, {{32 * 96, 1}, {17 * 70, 1}}},
    {"nd_to_nz", nd_to_nz_bytes, {17, 33}, 2, {{17 * 33, 1}, {32 * 64, 1}}},
    {"nz_to_nd", nz_to_nd_bytes, {17, 33}, 2, {{32 * 64, 1}, {17 * 33, 1}}},
    {"nd_to_nz_int", nd_to_nz_ints, {17, 33}, 2, {{17 * 33, 4}, {32 * 48, 4}}},
    {"nz_to_nd_int", nz_to_nd_ints, {17, 33}, 2, {{32 * 48, 4}, {17 * 33, 4}}},
    {"nchw_to_nc1hwc0", nchw, {2, 33, 3, 5}, 4, {{2 * 33 * 15, 1}, {2 * 64 * 15, 1}}},
    {"nc1hwc0_to_nchw", nc1hwc0, {2, 33, 3, 5}, 4, {{2 * 64 * 15, 1}, {2 * 33 * 15, 1}}},
    {"image_output", image_output, {2, 5, 7, 3, 2, 1, 1, 1, 1, 1, 0, 1, 0}, 13, {{0, 0}}},
    /* 5 x 6 positions of a 3 x 2 kernel: 30 rows of 2 * 6 * 32 columns; rows 4 to 20, 96 columns */
    {"load3d", load3d, {2, 5, 7, 3, 2, 1, 1, 1, 1, 1, 0, 1, 0, 4, 17, 32, 96}, 17,
     {{2 * 35 * 32, 1}, {32 * 96, 1}}},
    {"select_group", select_group, {0}, 0, {{4, 1}, {2, 1}}},
    {"mmad_start", mmad_start, {17, 33}, 2, {{32 * 48, 4}, {33, 4}}},
    {"mmad_start, no bias", mmad_start_at_zero, {17, 33}, 2, {{32 * 48, 4}}},
    {"mmad", mmad, {17, 33, 70}, 3, {{32 * 96, 1}, {48 * 96, 1}, {32 * 48, 4}}},
    {"mmad_sparse", mmad_sparse, {17, 33, 70}, 3,
     {{32 * 128, 1}, {48 * 64, 1}, {48 * 16, 1}, {32 * 48, 4}}},
    {"find_index3", find_index3, {33, 70}, 2, {{48 * 16, 1}}},
    {"matmul_dense", matmul_dense, {17, 33, 70}, 3,
     {{17 * 70, 1}, {33 * 70, 1}, {33, 4}, {17 * 33, 4}}},
    {"matmul_sparse", matmul_sparse, {17, 33, 70}, 3,
     {{17 * 70, 1}, {33 * 36, 1}, {33 * 9, 1}, {33, 4}, {17 * 33, 4}}},
    {"requantise", requantise, {3, 5, 5}, 3, {{15, 4}, {5, 8}, {15, 1}}},
    {"dequantise", dequantise, {3, 5, 1}, 3, {{15, 4}, {1, 8}, {15, 2}}},
};

/* Arrays of zeros, of exactly their elements. */
static int make_arrays(const struct call *call, struct open_array *arrays,
                       svOpenArrayHandle *handles)
{
    int count = 0;
    for (; count < MOST_ARRAYS && call->arrays[count].count != 0; count++) {
        const size_t size = (size_t)(call->arrays[count].count * call->arrays[count].element);
        /* aligned, as a simulator has it, and up to the end of the allocation */
        uint8_t *const zeros = allocate(size);
        memset(zeros, 0, size);
        arrays[count].memory.base = arrays[count].memory.data = zeros;
        arrays[count].size = call->arrays[count].count;
        arrays[count].element = call->arrays[count].element;
        arrays[count].has_layout = 1;
        handles[count] = &arrays[count];
    }
    return count;
}

static void gives(const struct call *call, const int *sizes, svOpenArrayHandle *handles,
                  int status)
{
    const int got = call->make(sizes, handles);
    if (!CHECK_EQUAL(got, status))
        fprintf(stderr, "    in %s\n", call->name);
}

static void every_array_and_size_is_looked_at(void)
{
    for (size_t c = 0; c < COUNT(CALLS); c++) {
        const struct call *call = &CALLS[c];
        struct open_array arrays[MOST_ARRAYS];
        svOpenArrayHandle handles[MOST_ARRAYS] = {NULL};
        const int count = make_arrays(call, arrays, handles);
        gives(call, call->sizes, handles, CUBE24_OK);
        for (int i = 0; i < count; i++) {
            arrays[i].size--;
            gives(call, call->sizes, handles, CUBE24_DPI_E_ARRAY);
            arrays[i].size++;
            arrays[i].element *= 2;
            gives(call, call->sizes, handles, CUBE24_DPI_E_ARRAY);
            arrays[i].element /= 2;
            arrays[i].has_layout = 0;
            gives(call, call->sizes, handles, CUBE24_DPI_E_LAYOUT);
            arrays[i].has_layout = 1;
        }
        for (int s = 0; s < call->size_count; s++) {
            int sizes[MOST_SIZES];
            memcpy(sizes, call->sizes, sizeof sizes);
            sizes[s] = -1;
            gives(call, sizes, handles, CUBE24_E_SIZE);
            sizes[s] = INT32_MIN;
            gives(call, sizes, handles, CUBE24_E_SIZE);
        }
        gives(call, call->sizes, handles, CUBE24_OK);
        for (int i = 0; i < count; i++)
            free(arrays[i].memory.base);
    }
}

/* --- arguments arrive ----------------------------------------------------------------------- */

static struct open_array over(void *data, int size, int element)
{
    const struct open_array array = {{NULL, (uint8_t *)data}, size, element, 1};
    return array;
}

static void groups_are_encoded_selected_and_decoded(void)
{
    int8_t weight[4] = {0, 5, 0, -7}, dense[2] = {9, 9}, back[4], a[4] = {1, 2, 3, 4}, picked[2];
    struct open_array w = over(weight, 4, 1), d = over(dense, 2, 1), b = over(back, 4, 1);
    struct open_array acts = over(a, 4, 1), out = over(picked, 2, 1);
    int pair = -1;
    CHECK_EQUAL(cube24_dpi_encode_group(&w, CUBE24_POLICY_ERROR, &d, &pair), CUBE24_OK);
    CHECK(dense[0] == 5 && dense[1] == -7 && pair == 1 + 4 * 2);
    CHECK_EQUAL(cube24_dpi_decode_group(&d, pair, &b), CUBE24_OK);
    CHECK(same_bytes(back, weight, 4));
    CHECK_EQUAL(cube24_dpi_select_group(&acts, pair, 0, &out), CUBE24_OK);
    CHECK(picked[0] == 2 && picked[1] == 4);
    CHECK_EQUAL(cube24_dpi_select_group(&acts, 3, 0, &out), CUBE24_E_REFUSED);
    CHECK_EQUAL(cube24_dpi_select_group(&acts, 3, CUBE24_INDEX3_NOTHING, &out), CUBE24_OK);
    CHECK(picked[0] == 0 && picked[1] == 2);
    CHECK_EQUAL(cube24_dpi_select_group(&acts, -1, 0, &out), CUBE24_E_RANGE);
    CHECK_EQUAL(cube24_dpi_decode_group(&d, 16, &b), CUBE24_E_RANGE);
    CHECK_EQUAL(cube24_dpi_decode_group(&d, -1, &b), CUBE24_E_RANGE);
    CHECK_EQUAL(cube24_dpi_decode_group(&d, 3, &b), CUBE24_E_REFUSED);
    weight[0] = 1;
    CHECK_EQUAL(cube24_dpi_encode_group(&w, CUBE24_POLICY_ERROR, &d, &pair), CUBE24_E_VIOLATION);
    CHECK_EQUAL(pair, 0);
    CHECK_EQUAL(cube24_dpi_encode_group(&w, CUBE24_POLICY_MAGNITUDE, &d, &pair), CUBE24_OK);
    CHECK(dense[0] == 5 && dense[1] == -7 && pair == 1 + 4 * 2);
}

static void places_of_faults_are_told(void)
{
    int8_t weight[2 * 12] = {0}, dense[2 * 8] = {0};
    uint8_t index[2 * 2] = {0};
    struct open_array w = over(weight, 24, 1), d = over(dense, 16, 1), i = over(index, 4, 1);
    int total, row, group, fault;
    CHECK_EQUAL(cube24_dpi_find_excess(&w, 2, 12, &total, &row, &group), CUBE24_OK);
    CHECK(total == 0 && row == -1 && group == -1);
    weight[20] = weight[21] = weight[22] = 1;
    weight[16] = weight[17] = weight[18] = weight[19] = 1;
    CHECK_EQUAL(cube24_dpi_find_excess(&w, 2, 12, &total, &row, &group), CUBE24_OK);
    CHECK(total == 2 && row == 1 && group == 1);
    CHECK_EQUAL(cube24_dpi_find_refused(&d, &i, 2, 12, 0, &total, &row, &group, &fault), CUBE24_OK);
    CHECK(total == 0 && row == -1 && group == -1 && fault == CUBE24_FAULT_NONE);
    index[3] = 0xc; /* group 2 of row 1: i1 is 3 */
    CHECK_EQUAL(cube24_dpi_find_refused(&d, &i, 2, 12, 0, &total, &row, &group, &fault), CUBE24_OK);
    CHECK(total == 1 && row == 1 && group == 2 && fault == CUBE24_FAULT_INDEX3);
    index[3] = 0;
    dense[15] = 1; /* padding: strict alone minds */
    CHECK_EQUAL(cube24_dpi_find_refused(&d, &i, 2, 12, 0, &total, &row, &group, &fault), CUBE24_OK);
    CHECK_EQUAL(total, 0);
    CHECK_EQUAL(cube24_dpi_find_refused(&d, &i, 2, 12, 1, &total, &row, &group, &fault), CUBE24_OK);
    CHECK(total == 1 && row == 1 && group == 3 && fault == CUBE24_FAULT_PADDING);
    CHECK_EQUAL(cube24_dpi_decode(&d, &i, 2, 12, 0, &w), CUBE24_OK);
    CHECK_EQUAL(cube24_dpi_decode(&d, &i, 2, 12, 1, &w), CUBE24_E_REFUSED);
}

static void words_and_numbers_pass(void)
{
    uint64_t word = 1;
    double scale = 0;
    unsigned char shifts = 9, is_signed = 9;
    int shift = -1, offset = -1, result = 0;
    CHECK_EQUAL(cube24_dpi_write_word(0.5, 1, 3, -2, 1, 0, &word), CUBE24_OK);
    CHECK(word == (0x3f000000 | (uint64_t)2 << 32 | (uint64_t)1 << 36 | (uint64_t)0x1fe << 37 |
                   (uint64_t)1 << 46));
    CHECK_EQUAL(cube24_dpi_read_word(word, 0, &scale, &shifts, &shift, &offset, &is_signed),
                CUBE24_OK);
    CHECK(scale >= 0.5 && scale <= 0.5 && shifts == 1 && shift == 3 && offset == -2 &&
          is_signed == 1);
    CHECK_EQUAL(cube24_dpi_write_word(1, 1, 17, 0, 0, 0, &word), CUBE24_E_RANGE);
    CHECK_EQUAL(cube24_dpi_accumulate(INT32_MAX, 1, 0, &result), CUBE24_OK);
    CHECK_EQUAL(result, INT32_MAX);
    CHECK_EQUAL(cube24_dpi_accumulate(INT32_MAX, 1, CUBE24_WRAP, &result), CUBE24_OK);
    CHECK_EQUAL(result, INT32_MIN);
    CHECK_EQUAL(cube24_dpi_k_stored(9), 16);
    CHECK_EQUAL(cube24_dpi_k_stored(-1), 0);
    CHECK_EQUAL(cube24_dpi_k_stored(INT32_MAX), 0); /* it does not fit an int */
    CHECK_EQUAL(cube24_dpi_k_stored(INT32_MAX - 7), INT32_MAX - 7);
}

/* Nothing is asked of an array that holds nothing. */
static void sizes_of_zero_need_no_arrays(void)
{
    int row, group;
    CHECK_EQUAL(cube24_dpi_encode(NULL, 0, 70, CUBE24_POLICY_ERROR, NULL, NULL), CUBE24_OK);
    CHECK_EQUAL(cube24_dpi_matmul_sparse(NULL, NULL, NULL, 0, 0, 0, NULL, 1, 0, NULL, &row, &group),
                CUBE24_OK);
    CHECK_EQUAL(cube24_dpi_encode(NULL, 0, -1, CUBE24_POLICY_ERROR, NULL, NULL), CUBE24_E_SIZE);
    CHECK_EQUAL(cube24_dpi_encode(NULL, -1, 0, CUBE24_POLICY_ERROR, NULL, NULL), CUBE24_E_SIZE);
    CHECK_EQUAL(cube24_dpi_nchw_to_nc1hwc0(NULL, INT32_MAX, INT32_MAX, INT32_MAX, INT32_MAX, NULL),
                CUBE24_E_SIZE);
}

static void messages_are_of_all_statuses(void)
{
    static const int statuses[] = {0, 1, 2, 3, 4, 5, CUBE24_DPI_E_ARRAY, CUBE24_DPI_E_LAYOUT, 99};
    for (size_t i = 0; i < COUNT(statuses); i++)
        for (size_t j = 0; j < i; j++)
            CHECK(strcmp(cube24_dpi_message(statuses[i]), cube24_dpi_message(statuses[j])) != 0);
    for (int status = 0; status <= CUBE24_E_RANGE; status++)
        CHECK(strcmp(cube24_dpi_message(status), cube24_status_text(status)) == 0);
}

int main(void)
{
    every_array_and_size_is_looked_at();
    groups_are_encoded_selected_and_decoded();
    places_of_faults_are_told();
    words_and_numbers_pass();
    sizes_of_zero_need_no_arrays();
    messages_are_of_all_statuses();
    return check_report("test_dpi");
}
