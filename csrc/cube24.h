/* SPDX-License-Identifier: Apache-2.0
 *
 * cube24.h - the C core of cube24: 2:4 ("4-select-2") int8 weights to the dense and index bytes
 * that the hardware reads, and back. This header is the contract; docs/format.md is the format.
 *
 * Rules that hold for every function
 *   - The caller owns every buffer. Nothing is allocated, printed, read from the environment or
 *     kept between calls, so every function may be called from any number of threads.
 *   - The result is a cube24_status. On CUBE24_E_ARGUMENT and CUBE24_E_SIZE no buffer was touched.
 *   - Matrices are C order (row-major) and contiguous: element (row, column) of an n x k matrix
 *     is at row * k + column. Sizes count elements; all element types but the counters are one
 *     byte wide, so no buffer of weights or indices needs any alignment.
 *   - Outputs must not overlap inputs, unless the function says that they may be the same.
 *     cube24_encode, cube24_encode_zn and cube24_decode look, and refuse it with
 *     CUBE24_E_ARGUMENT.
 *   - A pointer may be NULL only if its buffer holds no elements or the function says so.
 *   - Sizes are refused with CUBE24_E_SIZE if a buffer, or the matrix it stands for, would be
 *     larger than PTRDIFF_MAX bytes. Sizes are looked at before pointers, policies and flags.
 *   - A flag that a function does not name is refused with CUBE24_E_ARGUMENT.
 *
 * Words
 *   group       4 contiguous elements e0..e3 along k, aligned to a multiple of 4
 *   dense       the two int8 kept of each group: slot 0, slot 1
 *   index pair  (i0, i1), two 2-bit numbers: slot 0 is element i0, slot 1 is element i1 + 1
 *   k_stored    k rounded up to a multiple of 8: two groups share one index byte
 *
 * The part between the two "cffi" lines is also the declaration that the Python binding reads, so
 * it holds plain declarations only.
 */
#ifndef CUBE24_H
#define CUBE24_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* cffi: begin */

/* Why a call ended. */
enum cube24_status {
    CUBE24_OK = 0,
    CUBE24_E_ARGUMENT = 1,  /* NULL where data is needed, unknown policy, flag or path */
    CUBE24_E_SIZE = 2,      /* a size that cannot be, or is too large for a buffer */
    CUBE24_E_VIOLATION = 3, /* a group with three or four non-zeros under CUBE24_POLICY_ERROR */
    CUBE24_E_REFUSED = 4,   /* bytes that stand for no weight, or words that have no meaning */
    CUBE24_E_RANGE = 5      /* a value that does not fit the bits it is to stand in */
};

/* What encode and prune do with a group of three or four non-zeros. */
enum cube24_policy {
    CUBE24_POLICY_ERROR = 0,      /* refuse the matrix */
    CUBE24_POLICY_FIRST_TWO = 1,  /* keep the two non-zeros of lowest position */
    CUBE24_POLICY_FIRST_LAST = 2, /* keep the first of e0..e2 and the last of e1..e3 */
    CUBE24_POLICY_MAGNITUDE = 3   /* keep the two largest |value|, ties: lowest position */
};

/* What is wrong with a group. */
enum cube24_fault {
    CUBE24_FAULT_NONE = 0,
    CUBE24_FAULT_EXCESS = 1,       /* weight: more than two non-zeros */
    CUBE24_FAULT_INDEX3 = 2,       /* bytes: i0 or i1 is 3 */
    CUBE24_FAULT_CONFLICT = 3,     /* bytes: two non-zero weights select one element */
    CUBE24_FAULT_PADDING = 4,      /* bytes, strict: padding that is not zero */
    CUBE24_FAULT_NONCANONICAL = 5, /* bytes, strict: not what cube24_encode writes */
    CUBE24_FAULT_KINDS = 6         /* how many kinds there are, for arrays of counters */
};

/* Flags: the low byte chooses a code path, wherever there are flags; the bits above are options,
 * the one below and those of enum cube24_mmad_flags. 0 chooses the best for this machine, p + 1 is
 * path p of cube24_path_name; one that this machine cannot run is refused with CUBE24_E_ARGUMENT.
 * All paths give the same results. What a path has no code of its own for, path 0 does. */
enum cube24_flags {
    CUBE24_PATH_MASK = 0xff,
    CUBE24_STRICT = 0x100 /* decode: refuse padding and non-canonical bytes as well */
};

/* One faulty group: row n, group g (elements 4g to 4g+3), and an enum cube24_fault. */
typedef struct cube24_place {
    uint64_t row;
    uint64_t group;
    uint64_t fault;
} cube24_place;

/* What a policy changed. */
typedef struct cube24_changes {
    uint64_t groups;  /* groups that lost a weight */
    uint64_t weights; /* non-zero weights that were dropped */
} cube24_changes;

/* What pruning cost: exact integer norms, so that a share can be computed at any precision. */
typedef struct cube24_cost {
    uint64_t groups;     /* groups that lost a weight */
    uint64_t weights;    /* non-zero weights that were dropped */
    uint64_t l1_removed; /* sum of |w| of the dropped weights */
    uint64_t l1_total;   /* sum of |w| of all weights before */
    uint64_t l2_removed; /* sum of w * w of the dropped weights */
    uint64_t l2_total;   /* sum of w * w of all weights before */
} cube24_cost;

/* What a status means: a static string in English, also for a number that is none. */
const char *cube24_status_text(int status);

/* --- which code runs ------------------------------------------------------------------------ */

/* Number of code paths that were compiled in; path 0 is "scalar", the reference. */
size_t cube24_path_count(void);

/* Name of a path, a static string, or NULL if path >= cube24_path_count(). */
const char *cube24_path_name(size_t path);

/* 1 if this machine can run the path, else 0 (also for a path that does not exist). */
int cube24_path_supported(size_t path);

/* --- weights to bytes ----------------------------------------------------------------------- */

/* k rounded up to a multiple of 8; 0 if that does not fit. A row of a matrix of k elements takes
 * cube24_k_stored(k) / 2 dense bytes and cube24_k_stored(k) / 8 index bytes. */
size_t cube24_k_stored(size_t k);

/* Encode an n x k weight. The elements between k and k_stored count as zeros.
 *   weight   n * k
 *   dense    n * k_stored / 2, written whole
 *   index    n * k_stored / 8, written whole
 *   changes  may be NULL; what the policy changed (under CUBE24_POLICY_ERROR: what is in excess)
 * CUBE24_E_VIOLATION: the policy is CUBE24_POLICY_ERROR and a group has more than two non-zeros;
 * the content of dense and index is then unspecified (call cube24_check first to leave them be). */
int cube24_encode(const int8_t *weight, size_t n, size_t k, int policy, uint32_t flags,
                  int8_t *dense, uint8_t *index, cube24_changes *changes);

/* Encode rows of an n x k weight straight into Zn fractals: the rows of the blocks of 16 from
 * n1_start, n1_count of them, which is how threads share a weight. Outside these blocks nothing is
 * written; padding is written as zero.
 *   weight   n * k, the whole
 *   dense    (K1, N1, 16, 32), the whole: K1 = ceil(k / 64), N1 = ceil(n / 16)
 *   index    (K1, N1, 16, 8), the whole
 *   changes  may be NULL; of these rows, as for cube24_encode
 * CUBE24_E_SIZE also if the blocks go beyond N1. CUBE24_E_VIOLATION as for cube24_encode. */
int cube24_encode_zn(const int8_t *weight, size_t n, size_t k, size_t n1_start, size_t n1_count,
                     int policy, uint32_t flags, int8_t *dense, uint8_t *index,
                     cube24_changes *changes);

/* Encode rows [row_start, row_start + rows) of the matrix that cube24_conv_to_matrix makes of a
 * convolution weight, without making it. Elsewhere nothing is written.
 *   weight   (cout, cin, kh, kw), the whole
 *   zn       0: dense is the whole (cout, columns / 2), index (cout, columns / 8), columns being
 *            C1 * kh * kw * 32. 1: they are the whole Zn arrays of the matrix, as for
 *            cube24_encode_zn; row_start is a multiple of 16, and rows is one or ends at cout
 *   changes  may be NULL; of these rows, as for cube24_encode
 * CUBE24_E_SIZE also if the rows are not such. CUBE24_E_VIOLATION as for cube24_encode. */
int cube24_encode_conv(const int8_t *weight, size_t cout, size_t cin, size_t kh, size_t kw,
                       size_t row_start, size_t rows, int zn, int policy, uint32_t flags,
                       int8_t *dense, uint8_t *index, cube24_changes *changes);

/* Count the groups of an n x k weight by their non-zero mask (bit p set: element p is not zero).
 *   masks       16 counters, set (not added to); groups wholly beyond k are not counted
 *   row_excess  n counters, set: groups of that row with more than two non-zeros; may be NULL */
int cube24_check(const int8_t *weight, size_t n, size_t k, uint32_t flags, uint64_t *masks,
                 uint64_t *row_excess);

/* List the groups with more than two non-zeros, in order of row and group.
 *   places    the first min(capacity, *total) of them; may be NULL if capacity is 0
 *   total     how many there are */
int cube24_list_excess(const int8_t *weight, size_t n, size_t k, cube24_place *places,
                       size_t capacity, uint64_t *total);

/* Make an n x k weight 2:4 by a policy other than CUBE24_POLICY_ERROR.
 *   out   n * k; may be the same buffer as weight
 *   cost  may be NULL */
int cube24_prune(const int8_t *weight, size_t n, size_t k, int policy, uint32_t flags, int8_t *out,
                 cube24_cost *cost);

/* --- bytes to weights ----------------------------------------------------------------------- */

/* Decode an n x k weight that is stored in the first rows and columns of an n_stored x k_stored
 * matrix (n_stored >= n; k_stored >= k, a multiple of 8); the rest is padding.
 *   dense    n_stored * k_stored / 2
 *   index    n_stored * k_stored / 8
 *   weight   n * k, written whole
 *   faults   CUBE24_FAULT_KINDS counters, set; a group counts once, for the first fault of the
 *            order of enum cube24_fault; the counter of CUBE24_FAULT_NONE is 0; may be NULL
 * CUBE24_E_REFUSED: an index of 3 or a conflict anywhere, padding included; with CUBE24_STRICT
 * also padding that is not zero and bytes that cube24_encode would not have written. The content
 * of weight is then unspecified. Without CUBE24_STRICT, what the padding holds is ignored. */
int cube24_decode(const int8_t *dense, const uint8_t *index, size_t n_stored, size_t k_stored,
                  size_t n, size_t k, uint32_t flags, int8_t *weight, uint64_t *faults);

/* Decode rows of an n x k weight straight from Zn fractals: the rows of the blocks of 16 from
 * n1_start, n1_count of them. Beyond n and k the blocks hold padding, for which and for `faults`
 * and the status the same holds as for cube24_decode.
 *   dense    (K1, N1, 16, 32), the whole: K1 = ceil(k / 64), N1 = ceil(n / 16)
 *   index    (K1, N1, 16, 8), the whole
 *   weight   n * k, the whole, of which these rows are written
 *   faults   CUBE24_FAULT_KINDS counters, set, of these blocks; may be NULL
 * CUBE24_E_SIZE also if the blocks go beyond N1. */
int cube24_decode_zn(const int8_t *dense, const uint8_t *index, size_t n, size_t k,
                     size_t n1_start, size_t n1_count, uint32_t flags, int8_t *weight,
                     uint64_t *faults);

/* List the groups for which cube24_decode with the same arguments refuses, in order of row and
 * group; places, capacity and total as for cube24_list_excess. */
int cube24_list_refused(const int8_t *dense, const uint8_t *index, size_t n_stored,
                        size_t k_stored, size_t n, size_t k, uint32_t flags,
                        cube24_place *places, size_t capacity, uint64_t *total);

/* --- bits ----------------------------------------------------------------------------------- */

/* Four 2-bit values to a byte, the first in bits 1:0. count values give (count + 3) / 4 bytes;
 * missing values of the last byte are zero. CUBE24_E_RANGE: a value above 3; *position (may be
 * NULL) is the first such value, and the content of packed is unspecified. */
int cube24_pack_index(const uint8_t *values, size_t count, uint8_t *packed, uint64_t *position);

/* The inverse: count 2-bit values from (count + 3) / 4 bytes. */
int cube24_unpack_index(const uint8_t *packed, size_t count, uint8_t *values);

/* --- layouts -------------------------------------------------------------------------------- */

/* ND rows to the Zn fractal layout: n rows of row_bytes bytes become (K1, N1, 16, k0) bytes with
 * K1 = ceil(row_bytes / k0), N1 = ceil(n / 16); k0 is 32 for dense and 8 for index. Padding is
 * written as zero. */
int cube24_nd_to_zn(const uint8_t *nd, size_t n, size_t row_bytes, size_t k0, uint8_t *zn);

/* The inverse; what lies beyond n and row_bytes is not read. */
int cube24_zn_to_nd(const uint8_t *zn, size_t n, size_t row_bytes, size_t k0, uint8_t *nd);

/* ND rows to Zz fractals, as the unit reads activations: m rows of row_bytes bytes become (M1, K1,
 * 16, k0) bytes, M1 = ceil(m / 16), K1 = ceil(row_bytes / k0); k0 is 32 for int8. Padding is
 * written as zero. */
int cube24_nd_to_zz(const uint8_t *nd, size_t m, size_t row_bytes, size_t k0, uint8_t *zz);

/* The inverse; what lies beyond m and row_bytes is not read. */
int cube24_zz_to_nd(const uint8_t *zz, size_t m, size_t row_bytes, size_t k0, uint8_t *nd);

/* ND rows to Nz, as the unit writes results: m rows of row_bytes bytes become (N1, stored, n0)
 * bytes, N1 = ceil(row_bytes / n0); n0 is 64 for int32, that is 16 columns, and 32 for int8. stored
 * is the rows of a column of fractals, m or more; 16 * ceil(m / 16) for whole fractals. Padding is
 * written as zero. */
int cube24_nd_to_nz(const uint8_t *nd, size_t m, size_t row_bytes, size_t n0, size_t stored,
                    uint8_t *nz);

/* The inverse; what lies beyond m and row_bytes is not read. */
int cube24_nz_to_nd(const uint8_t *nz, size_t m, size_t row_bytes, size_t n0, size_t stored,
                    uint8_t *nd);

/* Images (batch, channels, h, w) to NC1HWC0 (batch, C1, h, w, 32), C1 = ceil(channels / 32); missing
 * channels are written as zero. */
int cube24_nchw_to_nc1hwc0(const int8_t *nchw, size_t batch, size_t channels, size_t h, size_t w,
                           uint32_t flags, int8_t *nc1hwc0);

/* The inverse; missing channels are not read. */
int cube24_nc1hwc0_to_nchw(const int8_t *nc1hwc0, size_t batch, size_t channels, size_t h,
                           size_t w, uint32_t flags, int8_t *nchw);

/* Channels of one C0 block of a convolution weight. */
size_t cube24_c0(void);

/* Convolution weight (cout, cin, kh, kw) to the matrix (cout, C1 * kh * kw * 32) whose columns are
 * in the order (C1, kh, kw, C0), C1 = ceil(cin / 32); missing channels are written as zero. */
int cube24_conv_to_matrix(const int8_t *weight, size_t cout, size_t cin, size_t kh, size_t kw,
                          uint32_t flags, int8_t *matrix);

/* The inverse. padding (may be NULL): non-zeros in the missing channels, which are dropped;
 * first (may be NULL): place of the first of them in the matrix, untouched if there is none. */
int cube24_matrix_to_conv(const int8_t *matrix, size_t cout, size_t cin, size_t kh, size_t kw,
                          uint32_t flags, int8_t *weight, uint64_t *padding, uint64_t *first);

/* --- the datapath of the unit --------------------------------------------------------------- */

/* What the public documents leave open, as flags of cube24_mmad (CUBE24_WRAP and
 * CUBE24_GRAIN_INSTRUCTION) and cube24_mmad_sparse (all); without them: saturate, step by step,
 * refuse an index of 3, follow the selection rule. */
enum cube24_mmad_flags {
    CUBE24_WRAP = 0x200,           /* wrap modulo 2^32 instead of saturating */
    CUBE24_INDEX3_NOTHING = 0x400, /* a slot with index 3 selects nothing, and is not refused */
    CUBE24_PAIR20_TABLE = 0x800,   /* slot 1 of the pair (2, 0) selects element 2, not 1 */
    CUBE24_GRAIN_INSTRUCTION = 0x1000 /* all products of the call are summed exactly first */
};

/* cube24_mmad_start, cube24_mmad, cube24_find_index3 and cube24_mmad_sparse take m, n and k below
 * 2^16 (an instruction has 4095), else CUBE24_E_SIZE; where one of them is zero nothing is done,
 * whatever the pointers are. Flags are looked at in any case. */

/* Start an m x n result: zero, or the bias of its column. Only these elements are written.
 *   c      Nz fractals (N1, M1, 16, 16), N1 = ceil(n / 16), M1 = ceil(m / 16)
 *   bias   n, or NULL for zero */
int cube24_mmad_start(int32_t *c, size_t m, size_t n, const int32_t *bias);

/* c += a x b, dense. One step of the hardware takes 32 of k: their products are summed exactly and
 * the sum is added to c, saturating; the steps go from low to high k. Elements of a and b beyond m,
 * n and k take no part, whatever they are.
 *   a      Zz fractals (M1, K1, 16, 32), K1 = ceil(k / 32)
 *   b      Zn fractals (K1, N1, 16, 32)
 *   c      Nz fractals (N1, M1, 16, 16); only the m x n elements are read and written */
int cube24_mmad(const int8_t *a, const int8_t *b, size_t m, size_t n, size_t k, uint32_t flags,
                int32_t *c);

/* Look for an index of 3 in the first n columns and the groups of k of Zn index fractals (K1, N1,
 * 16, 8), K1 = ceil(k / 64).
 *   place   may be NULL; on CUBE24_E_REFUSED the first, in the order of the bytes: row is the
 *           column n, group counts from the start of k
 * CUBE24_E_REFUSED: there is one. */
int cube24_find_index3(const uint8_t *index, size_t n, size_t k, cube24_place *place);

/* c += a x b, b being 2:4. One step takes 64 of k, that is 16 groups: slot 0 of group g takes
 * element 4g + i0 of a, slot 1 element 4g + i1 + 1, whatever the weights are. The rest as above; k
 * counts elements of a.
 *   a       Zz fractals (M1, 2 * K1, 16, 32), K1 = ceil(k / 64)
 *   dense   Zn fractals (K1, N1, 16, 32)
 *   index   Zn fractals (K1, N1, 16, 8)
 *   place   may be NULL; as for cube24_find_index3
 * CUBE24_E_REFUSED: cube24_find_index3 finds one; c is untouched. */
int cube24_mmad_sparse(const int8_t *a, const int8_t *dense, const uint8_t *index, size_t m,
                       size_t n, size_t k, uint32_t flags, int32_t *c, cube24_place *place);

/* What the two slots of a group select: of four activations, by an index pair (i0 in bits 1:0, i1
 * in bits 3:2). The options are CUBE24_INDEX3_NOTHING and CUBE24_PAIR20_TABLE.
 *   a         4
 *   selected  2; 0 where a slot selects nothing
 * CUBE24_E_RANGE: pair is above 15. CUBE24_E_REFUSED: an index of 3. */
int cube24_select(const int8_t *a, uint32_t pair, uint32_t flags, int8_t *selected);

/* The accumulator: *result = c + sum, saturating, or with CUBE24_WRAP modulo 2^32. */
int cube24_accumulate(int32_t c, int32_t sum, uint32_t flags, int32_t *result);

/* A whole multiplication, from rows to rows: c = bias + a x the transpose of the weight, in steps as
 * cube24_mmad and cube24_mmad_sparse take them, 32 or 64 of k; k is below 2^16. With
 * CUBE24_GRAIN_INSTRUCTION all of k is one instruction. Any option of cube24_mmad_sparse.
 *   a       m x k
 *   weight  index NULL: n x k, dense, and the flags are those of cube24_mmad. Else the dense bytes
 *           that cube24_encode writes, n * k_stored / 2
 *   index   n * k_stored / 8, or NULL
 *   bias    n, or NULL for zero
 *   c       m x n
 *   place   may be NULL; on CUBE24_E_REFUSED an index of 3: its row and group of the weight
 * CUBE24_E_REFUSED: there is one; the content of c is then unspecified. */
int cube24_matmul(const int8_t *a, const int8_t *weight, const uint8_t *index, size_t m, size_t n,
                  size_t k, const int32_t *bias, uint32_t flags, int32_t *c, cube24_place *place);

/* The geometry of an img2col: an image of c1 blocks of 32 channels and a kernel on it. */
typedef struct cube24_image {
    size_t c1, h, w;
    size_t kernel_h, kernel_w;
    size_t stride_h, stride_w;
    size_t dilation_h, dilation_w;
    size_t pad_top, pad_left, pad_bottom, pad_right;
} cube24_image;

/* Output height and width of an image; CUBE24_E_SIZE if a size is zero where it must not be, the
 * kernel does not fit, or a number is beyond 32767. */
int cube24_image_output(const cube24_image *image, size_t *height, size_t *width);

/* img2col: rows m_start.. of the output positions (row-major), columns k_start.. of the K order
 * (C1, Kh, Kw, 32), as Zz fractals (ceil(m / 16), k / 32, 16, 32). k_start and k are multiples of
 * 32. Rows beyond m in the last fractals are written as zero; positions in the padding of the image
 * hold `pad`.
 *   x   NC1HWC0 image of one batch, (c1, h, w, 32) */
int cube24_load3d(const cube24_image *image, const int8_t *x, size_t m_start, size_t m,
                  size_t k_start, size_t k, int pad, int8_t *out);

/* --- requantisation ------------------------------------------------------------------------- */

/* How parameter words are read, where the public documents leave it open, and ReLU. */
enum cube24_requant_flags {
    CUBE24_OFFSET_UNSIGNED = 0x200, /* an offset is 0 to 511, not -256 to 255 */
    CUBE24_SHIFT_N = 0x400,         /* field N is a shift by N, not by N + 1 */
    CUBE24_RELU = 0x800             /* what is negative is multiplied by alpha, not by the scale */
};

/* What a parameter word says. */
typedef struct cube24_word {
    float scale;       /* its low 13 mantissa bits are not in the word, and read as zero */
    int32_t shifts;    /* 1 (MCB): a sum is shifted and saturates to int16; 0: it is not */
    int32_t shift;     /* to the right: 1 to 16, or with CUBE24_SHIFT_N 0 to 15 */
    int32_t offset;    /* nine bits */
    int32_t is_signed; /* 1: int8; 0: uint8 */
} cube24_word;

/* Read parameter words. The options are CUBE24_OFFSET_UNSIGNED and CUBE24_SHIFT_N. */
int cube24_read_words(const uint64_t *words, size_t count, uint32_t flags, cube24_word *fields);

/* Write them. A shift that is not done is not looked at, and N is then 0.
 *   position  may be NULL; on CUBE24_E_RANGE the first word with a shift or offset that does not
 *             fit; the content of words is then unspecified */
int cube24_write_words(const cube24_word *fields, size_t count, uint32_t flags, uint64_t *words,
                       uint64_t *position);

/* REQ8 and VREQ8: a matrix of sums to bytes, int8 or uint8 as each word says. Any option of enum
 * cube24_requant_flags.
 *   words     count: 1 for all columns, or one a column
 *   alpha     with CUBE24_RELU, finite: 0, or the slope of a leaky ReLU; else not looked at
 *   position  may be NULL; on CUBE24_E_REFUSED the first word that has no finite scale; out is
 *             then untouched */
int cube24_requantise(const int32_t *sums, size_t rows, size_t columns, const uint64_t *words,
                      size_t count, float alpha, uint32_t flags, uint8_t *out,
                      uint64_t *position);

/* DEQF16 and VDEQF16: a matrix of sums to the bits of fp16. The option is CUBE24_RELU; of a word only
 * the scale counts. The rest as above. */
int cube24_dequantise(const int32_t *sums, size_t rows, size_t columns, const uint64_t *words,
                      size_t count, float alpha, uint32_t flags, uint16_t *out,
                      uint64_t *position);

/* --- whole layers --------------------------------------------------------------------------- */

/* Where the activations and the results of a layer stand. */
enum cube24_form {
    CUBE24_ROWS = 0, /* a matrix multiplication: rows (m, k) and (m, n) */
    CUBE24_NCHW = 1, /* a convolution: (batch, channels, h, w) and (batch, n, ho, wo) */
    CUBE24_NHWC = 2  /* a convolution: (batch, h, w, channels) and (batch, ho, wo, n) */
};

/* A layer: activations, a weight and what becomes of the sums. Sizes are of the whole layer. */
typedef struct cube24_layer {
    int form;           /* enum cube24_form */
    size_t batch;       /* images; 1 for CUBE24_ROWS */
    size_t m, n, k;     /* of one image; a convolution has m = ho * wo and k = c1 * kh * kw * 32 */
    size_t channels;    /* of the image, at most 32 * c1; the rest of CUBE24_ROWS is not read */
    int pad;            /* what the padding of the image holds, int8 */
    cube24_image image; /* as for cube24_load3d */
    const int8_t *x;
    const int8_t *weight; /* index NULL: n x k, dense. Else what cube24_encode or cube24_nd_to_zn */
    const uint8_t *index; /* writes for an n x k weight: dense bytes, and index bytes */
    int zn;               /* 2:4: the bytes stand as Zn fractals, not as rows */
    const int32_t *bias;  /* n, or NULL for zero */
    size_t words;         /* requantisation: 0 none, 1 for all columns, or n, one a column */
    const float *scale;   /* words */
    const int32_t *offset; /* words; -256 to 511 */
    int shift;             /* 0 none, or 1 to 16 to the right, saturating to int16 */
    int is_signed;         /* int8, not uint8 */
    int relu;              /* a negative sum is multiplied by alpha in place of the scale */
    float alpha;
    void *out; /* int32, or with words one byte each */
} cube24_layer;

/* Bytes of scratch memory that a call of cube24_layer_part for this layer needs, on any path and
 * for any part; CUBE24_E_SIZE and CUBE24_E_ARGUMENT as there. No pointer of the layer is looked
 * at. */
int cube24_layer_scratch(const cube24_layer *layer, size_t *bytes);

/* Compute a part of a layer: rows row_start.. of the batch * m rows of results, columns
 * column_start... Parts that do not overlap may be computed at one time. What the datapath computes
 * step by step, wherever no step saturates: sums are taken modulo 2^32. The options are
 * CUBE24_INDEX3_NOTHING and CUBE24_PAIR20_TABLE. Results that are requantised follow docs/unit.md,
 * "Requantisation"; scales must be finite.
 *   column_start  a multiple of 64
 *   scratch       as many bytes as cube24_layer_scratch says; of each call its own
 * CUBE24_E_REFUSED: an index of 3 in these columns, without CUBE24_INDEX3_NOTHING; the part of out
 * is then unspecified. */
int cube24_layer_part(const cube24_layer *layer, size_t row_start, size_t rows,
                      size_t column_start, size_t columns, uint32_t flags, uint8_t *scratch);

/* Threads that compute layers together, one layer after the other, and need not be woken for each.
 * All bytes are zero at first; after that they are the library's. */
typedef struct cube24_team {
    uint64_t word[16];
} cube24_team;

/* Compute all of a layer, together with the threads that are in cube24_team_help at the time: at
 * most `seats` threads, this one among them. One call of a team at a time. Results, options and
 * status as of cube24_layer_part, in whatever parts.
 *   scratch   seats times what cube24_layer_scratch says
 * CUBE24_E_ARGUMENT also if seats is zero. */
int cube24_team_layer(cube24_team *team, const cube24_layer *layer, size_t seats, uint32_t flags,
                      uint8_t *scratch);

/* Help to compute the layers of a team, until there was none for some tenths of a millisecond. */
int cube24_team_help(cube24_team *team);

/* What the groups of a weight hold, for coverage. A group is one of 64 kinds: 16 i0 + 4 i1, plus 2
 * if slot 0 is not zero, plus 1 if slot 1 is not. */
typedef struct cube24_tally {
    uint16_t places[64];   /* bit p: a group g of the kind with g mod 16 = p */
    uint16_t columns[64];  /* bit c: one in a row r of the matrix with r mod 16 = c */
    uint8_t slots[64][2];  /* the bits of the classes of the slots of this kind */
} cube24_tally;

/* Tally n rows of k_stored / 4 groups.
 *   counted   a byte a group of a row: 0 if it is padding, which is passed over
 *   classes   256 bytes: the bit of the class of an int8, by its byte
 *   flags     CUBE24_PAIR20_TABLE
 *   tally     is written
 *   weights   k_stored bytes, are written: of each k the classes of the slots that select it */
int cube24_tally_groups(const int8_t *dense, const uint8_t *index, size_t n, size_t k_stored,
                        const uint8_t *counted, const uint8_t *classes, uint32_t flags,
                        cube24_tally *tally, uint8_t *weights);

/* The weight that n rows of k_stored / 4 groups stand for, whoever wrote them: slots that select one
 * element are added, and those with an index of 3 select none.
 *   flags    CUBE24_PAIR20_TABLE
 *   matrix   (n, k_stored), is written */
int cube24_spread_groups(const int8_t *dense, const uint8_t *index, size_t n, size_t k_stored,
                         uint32_t flags, int16_t *matrix);

/* Tally m rows of k activations, each of which meets what selects it; behind k there are zeros.
 *   weights   k_stored bytes of cube24_tally_groups, k_stored k or more
 *   held      k_stored bytes, are written: of each k the classes of its activations
 *   products  8 bytes, are written: of each class of an activation, by the number of its bit, the
 *             bits of the classes of weights that it meets */
int cube24_tally_products(const int8_t *activations, size_t m, size_t k, const uint8_t *weights,
                          size_t k_stored, const uint8_t *classes, uint8_t *held,
                          uint8_t *products);

enum cube24_tally_flags {
    CUBE24_TALLY_HALVES = 0x1000 /* DEQF16, of which a word's scale alone counts; else REQ8 */
};

/* Tally what requantisation does with a matrix of sums, for coverage.
 *   words   what words say, with finite scales: count 1 for all columns, or one a column
 *   alpha   with CUBE24_RELU, as for cube24_requantise
 *   flags   CUBE24_RELU and enum cube24_tally_flags
 *   seen    is written: a bit for each thing that is done with one sum or more
 *             0 to 4    a sum, shifted, as fp32: exact, tie down, tie up, below, above
 *             8 to 10   the same: negative, zero, positive
 *             12 to 15  the shift: drops bits of a negative sum, of a positive one; saturates low,
 *                       high
 *             16 to 24  the result as int8: exact, tie down, tie up, below, above; clamped low,
 *                       clamped high, which are not rounded; saturated low, saturated high
 *             32 to 40  the same as uint8
 *             48 to 58  the same as fp16, never clamped, and where it is saturated not rounded;
 *                       subnormal, negative zero */
int cube24_tally_requant(const int32_t *sums, size_t rows, size_t columns, const cube24_word *words,
                         size_t count, float alpha, uint32_t flags, uint64_t *seen);

/* Words of SplitMix64, (generators, count): word i of each, from 0, is the mix of
 * seed + (i + 1) * 0x9e3779b97f4a7c15. */
int cube24_draw_words(const uint64_t *seeds, size_t generators, size_t count, uint64_t *words);

/* Fill groups of 4 int8, one a word. Its bits 63:32 choose a mask, and its bytes, the least
 * significant first, are the numbers of the values of the elements that the mask has, from element 0.
 *   masks    choices bytes, below 2^32 of them: bit i of each is element i
 *   values   256 int8
 *   groups   4 * count int8, are written */
int cube24_draw_groups(const uint64_t *words, size_t count, const uint8_t *masks, size_t choices,
                       const int8_t *values, int8_t *groups);

/* cffi: end */

#ifdef __cplusplus
}
#endif

#endif
