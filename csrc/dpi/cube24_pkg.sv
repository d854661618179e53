// SPDX-License-Identifier: Apache-2.0
//
// cube24 for SystemVerilog, by DPI-C: the reference model of the unit inside a test bench. The
// comments of cube24.h are the contract of every function, docs/format.md and docs/unit.md the rules.
//
//   * Arrays are unpacked and have one dimension: a matrix of n x k is an array of n * k elements,
//     rows one after the other. An array may be longer than the sizes say; what is beyond is left
//     alone. All arrays of bytes are `byte`, those of index bytes and of unsigned results too.
//   * Element 0 of the model is the element of the lowest number, for [7:0] as for [0:7].
//   * A function gives 0, or the number of an error: message(status) says which. The content of
//     output arrays is then unspecified; outputs that are no arrays are 0, places -1.
//   * Flags are added: WRAP + INDEX3_NOTHING. 0: saturate, step by step, refuse an index of 3.
package cube24_pkg;

  // verilator lint_off UNUSEDPARAM
  // Why a call ended: enum cube24_status, and two of this package.
  localparam int OK = 0;
  localparam int E_ARGUMENT = 1;
  localparam int E_SIZE = 2;
  localparam int E_VIOLATION = 3;
  localparam int E_REFUSED = 4;
  localparam int E_RANGE = 5;
  localparam int E_ARRAY = 16;  // an array is too short, or has elements of another type
  localparam int E_LAYOUT = 17;  // the simulator does not keep an array as C does

  // What encode and prune do with a group of three or four non-zeros: enum cube24_policy.
  localparam int POLICY_ERROR = 0;
  localparam int POLICY_FIRST_TWO = 1;
  localparam int POLICY_FIRST_LAST = 2;
  localparam int POLICY_MAGNITUDE = 3;

  // What is wrong with a group: enum cube24_fault.
  localparam int FAULT_NONE = 0;
  localparam int FAULT_EXCESS = 1;
  localparam int FAULT_INDEX3 = 2;
  localparam int FAULT_CONFLICT = 3;
  localparam int FAULT_PADDING = 4;
  localparam int FAULT_NONCANONICAL = 5;

  // Flags of select_group, accumulate, mmad and matmul: enum cube24_mmad_flags.
  localparam int unsigned WRAP = 'h200;
  localparam int unsigned INDEX3_NOTHING = 'h400;
  localparam int unsigned PAIR20_TABLE = 'h800;
  localparam int unsigned GRAIN_INSTRUCTION = 'h1000;

  // Flags of words and requantisation: enum cube24_requant_flags.
  localparam int unsigned OFFSET_UNSIGNED = 'h200;
  localparam int unsigned SHIFT_N = 'h400;
  localparam int unsigned RELU = 'h800;
  // verilator lint_on UNUSEDPARAM

  // What a status means, in English.
  import "DPI-C" cube24_dpi_message = function string message(input int status);

  // --- weights to bytes and back ------------------------------------------------------------------

  // k rounded up to a multiple of 8: a row has k_stored / 2 dense and k_stored / 8 index bytes.
  import "DPI-C" cube24_dpi_k_stored = function int k_stored(input int k);

  // One group: weight 4, dense 2, pair is i0 in bits 1:0 and i1 in bits 3:2.
  import "DPI-C" cube24_dpi_encode_group = function int encode_group(
    input byte weight[], input int policy, output byte dense[], output int pair);
  import "DPI-C" cube24_dpi_decode_group = function int decode_group(
    input byte dense[], input int pair, output byte weight[]);

  // An n x k weight to rows of dense and index bytes, and back.
  import "DPI-C" cube24_dpi_encode = function int encode(
    input byte weight[], input int n, input int k, input int policy, output byte dense[],
    output byte index[]);
  import "DPI-C" cube24_dpi_decode = function int decode(
    input byte dense[], input byte index[], input int n, input int k, input bit strict,
    output byte weight[]);

  // How many groups encode and decode refuse, and the first of them; fault: FAULT_...
  import "DPI-C" cube24_dpi_find_excess = function int find_excess(
    input byte weight[], input int n, input int k, output int total, output int row,
    output int group);
  import "DPI-C" cube24_dpi_find_refused = function int find_refused(
    input byte dense[], input byte index[], input int n, input int k, input bit strict,
    output int total, output int row, output int group, output int fault);

  // Make a weight 2:4; dropped: how many weights that cost.
  import "DPI-C" cube24_dpi_prune = function int prune(
    input byte weight[], input int n, input int k, input int policy, output byte pruned[],
    output int dropped);

  // Four 2-bit values a byte, the first in bits 1:0.
  import "DPI-C" cube24_dpi_pack_index = function int pack_index(
    input byte values[], input int count, output byte packed_bytes[]);
  import "DPI-C" cube24_dpi_unpack_index = function int unpack_index(
    input byte packed_bytes[], input int count, output byte values[]);

  // A convolution weight (cout, cin, kh, kw) to the matrix (cout, C1 * kh * kw * 32) to encode.
  import "DPI-C" cube24_dpi_conv_to_matrix = function int conv_to_matrix(
    input byte weight[], input int cout, input int cin, input int kh, input int kw,
    output byte matrix[]);

  // --- layouts ------------------------------------------------------------------------------------

  // Rows to fractals and back. Zn for weights: k0 is 32 for dense, 8 for index, and row_bytes those
  // of a stored row. Zz for activations: k0 is 32.
  import "DPI-C" cube24_dpi_nd_to_zn = function int nd_to_zn(
    input byte nd[], input int n, input int row_bytes, input int k0, output byte zn[]);
  import "DPI-C" cube24_dpi_zn_to_nd = function int zn_to_nd(
    input byte zn[], input int n, input int row_bytes, input int k0, output byte nd[]);
  import "DPI-C" cube24_dpi_nd_to_zz = function int nd_to_zz(
    input byte nd[], input int m, input int row_bytes, input int k0, output byte zz[]);
  import "DPI-C" cube24_dpi_zz_to_nd = function int zz_to_nd(
    input byte zz[], input int m, input int row_bytes, input int k0, output byte nd[]);

  // Nz for results: whole fractals 16 x 32 of bytes, or 16 x 16 of int.
  import "DPI-C" cube24_dpi_nd_to_nz = function int nd_to_nz(
    input byte nd[], input int m, input int n, output byte nz[]);
  import "DPI-C" cube24_dpi_nz_to_nd = function int nz_to_nd(
    input byte nz[], input int m, input int n, output byte nd[]);
  import "DPI-C" cube24_dpi_nd_to_nz_int = function int nd_to_nz_int(
    input int nd[], input int m, input int n, output int nz[]);
  import "DPI-C" cube24_dpi_nz_to_nd_int = function int nz_to_nd_int(
    input int nz[], input int m, input int n, output int nd[]);

  // Images (batch, channels, h, w) to (batch, C1, h, w, 32) and back.
  import "DPI-C" cube24_dpi_nchw_to_nc1hwc0 = function int nchw_to_nc1hwc0(
    input byte nchw[], input int batch, input int channels, input int h, input int w,
    output byte nc1hwc0[]);
  import "DPI-C" cube24_dpi_nc1hwc0_to_nchw = function int nc1hwc0_to_nchw(
    input byte nc1hwc0[], input int batch, input int channels, input int h, input int w,
    output byte nchw[]);

  // --- img2col ------------------------------------------------------------------------------------

  // How many positions a kernel has on an image.
  import "DPI-C" cube24_dpi_image_output = function int image_output(
    input int c1, input int h, input int w, input int kernel_h, input int kernel_w,
    input int stride_h, input int stride_w, input int dilation_h, input int dilation_w,
    input int pad_top, input int pad_left, input int pad_bottom, input int pad_right,
    output int height, output int width);

  // An NC1HWC0 image of one batch to Zz fractals: rows m_start.., columns k_start.. of the matrix.
  import "DPI-C" cube24_dpi_load3d = function int load3d(
    input byte x[], input int c1, input int h, input int w, input int kernel_h, input int kernel_w,
    input int stride_h, input int stride_w, input int dilation_h, input int dilation_w,
    input int pad_top, input int pad_left, input int pad_bottom, input int pad_right,
    input int m_start, input int m, input int k_start, input int k, input int pad,
    output byte zz[]);

  // --- the datapath -------------------------------------------------------------------------------

  // What the two slots of a group take of four activations.
  import "DPI-C" cube24_dpi_select_group = function int select_group(
    input byte a[], input int pair, input int unsigned flags, output byte selected[]);

  // The accumulator: result = c + sum.
  import "DPI-C" cube24_dpi_accumulate = function int accumulate(
    input int c, input int sum, input int unsigned flags, output int result);

  // On fractals, a Zz, b and dense and index Zn, c Nz: one fractal is m = n = 16 and k = 32, or 64
  // for a sparse b. mmad_start sets c, to zero or to a bias; mmad adds to it.
  import "DPI-C" cube24_dpi_mmad_start = function int mmad_start(
    inout int c[], input int m, input int n, input int bias[], input bit with_bias);
  import "DPI-C" cube24_dpi_mmad = function int mmad(
    input byte a[], input byte b[], input int m, input int n, input int k,
    input int unsigned flags, inout int c[]);
  import "DPI-C" cube24_dpi_mmad_sparse = function int mmad_sparse(
    input byte a[], input byte dense[], input byte index[], input int m, input int n, input int k,
    input int unsigned flags, inout int c[]);

  // The first index of 3 in Zn index fractals: its column and group, or -1. E_REFUSED: there is one.
  import "DPI-C" cube24_dpi_find_index3 = function int find_index3(
    input byte index[], input int n, input int k, output int column, output int group);

  // From rows to rows: a m x k, weight n x k or what encode writes, c m x n. An index of 3 that is
  // refused has its row and group of the weight.
  import "DPI-C" cube24_dpi_matmul_dense = function int matmul_dense(
    input byte a[], input byte weight[], input int m, input int n, input int k, input int bias[],
    input bit with_bias, input int unsigned flags, output int c[]);
  import "DPI-C" cube24_dpi_matmul_sparse = function int matmul_sparse(
    input byte a[], input byte dense[], input byte index[], input int m, input int n, input int k,
    input int bias[], input bit with_bias, input int unsigned flags, output int c[],
    output int row, output int group);

  // --- requantisation -----------------------------------------------------------------------------

  // A parameter word: shifts is MCB, shift to the right. The scale is rounded to fp32, and its low
  // 13 mantissa bits are dropped.
  import "DPI-C" cube24_dpi_write_word = function int write_word(
    input real scale, input bit shifts, input int shift, input int offset, input bit is_signed,
    input int unsigned flags, output longint unsigned word);
  import "DPI-C" cube24_dpi_read_word = function int read_word(
    input longint unsigned word, input int unsigned flags, output real scale, output bit shifts,
    output int shift, output int offset, output bit is_signed);

  // Sums (m, n) to bytes by REQ8, or to the bits of fp16 by DEQF16. count: 1 word, or n. alpha: with
  // RELU what a negative sum is multiplied by.
  import "DPI-C" cube24_dpi_requantise = function int requantise(
    input int sums[], input int m, input int n, input longint unsigned words[], input int count,
    input real alpha, input int unsigned flags, output byte bytes[]);
  import "DPI-C" cube24_dpi_dequantise = function int dequantise(
    input int sums[], input int m, input int n, input longint unsigned words[], input int count,
    input real alpha, input int unsigned flags, output shortint unsigned halves[]);

endpackage
