// A select-and-multiply unit for 2:4 sparse weights: C = A x B, B 2:4, as docs/unit.md defines it.
//
// One step multiplies a block of A, ROWS x K_STEP, by a block of kept weights, and adds the products
// to ROWS x COLS accumulators. With the defaults a step is one fractal: its ports hold the 512 bytes
// of a dense fractal, the 128 bytes of its index fractal and 16 rows of 64 activations, byte 0 in the
// low bits. Byte n * 2 * GROUPS + 2 * g + s of `dense` is slot s of group g in column n; nibble
// n * GROUPS + g of `index` is its index pair; byte r * K_STEP + k of `activations` is A[r, k].
//
// Steps. A step is taken in each cycle with step_valid, one after the other without a gap. An
// instruction is the steps from one with step_first to one with step_last (both, if it has only
// one); step_start of its first step says what its accumulators start from: START_ZERO, START_KEEP
// (what they hold) or START_BIAS (`bias`, one int32 a column). step_k is how many elements of K take
// part in this step, K_STEP but for a tail. The accumulators hold the result when `busy` has fallen;
// S steps in a row keep it up for S + 1 cycles.
//
// Static inputs, which do not change while `busy`: wrap (an accumulator that int32 cannot hold wraps,
// else it saturates), grain_instruction (the products of a whole instruction are summed exactly
// before they are added, else those of each step) and pair20_table (slot 1 of the index pair (2, 0)
// selects element 2, else element 1). pair20_table may be left open, and is 0 then.
//
// illegal, and illegal_columns, tell of an index of 3 in a step of the instruction, padding included;
// they stand until the first step of the next one. Its slot adds nothing.
//
// Results. In each cycle with read_valid, row read_row of the accumulators passes requantisation
// and stands in `result` one cycle later, with result_valid: 32 bits a column, int32 in MODE_INT32,
// a byte in the low 8 bits in MODE_REQ8, an fp16 in the low 16 bits in MODE_DEQF16. words has a
// parameter word a column; relu, alpha, shift_n and offset_unsigned are those of cube24_requant.
// result_bad tells of a word whose scale is infinite or no number.
module cube24_unit #(
    parameter int ROWS = 16,
    parameter int COLS = 16,
    parameter int GROUPS = 16,
    localparam int K_STEP = 4 * GROUPS,
    localparam int K_BITS = $clog2(K_STEP + 1),
    localparam int ROW_BITS = (ROWS > 1) ? $clog2(ROWS) : 1
) (
    input logic clock,
    input logic reset,

    input logic wrap,
    input logic grain_instruction,
    input logic pair20_table,

    input  logic                       step_valid,
    input  logic                       step_first,
    input  logic                       step_last,
    input  logic [                1:0] step_start,
    input  logic [         K_BITS-1:0] step_k,
    input  logic [  8*ROWS*K_STEP-1:0] activations,
    input  logic [ 16*COLS*GROUPS-1:0] dense,
    input  logic [  4*COLS*GROUPS-1:0] index,
    input  logic [        32*COLS-1:0] bias,
    output logic                       busy,
    output logic                       illegal,
    output logic [           COLS-1:0] illegal_columns,

    input  logic                read_valid,
    input  logic [ROW_BITS-1:0] read_row,
    input  logic [         1:0] mode,
    input  logic [ 64*COLS-1:0] words,
    input  logic [         1:0] relu,
    input  logic [        31:0] alpha,
    input  logic                shift_n,
    input  logic                offset_unsigned,
    output logic                result_valid,
    output logic                result_bad,
    output logic [ 32*COLS-1:0] result
);

  localparam logic [1:0] START_KEEP = 2'd1;
  localparam logic [1:0] START_BIAS = 2'd2;
  localparam logic [1:0] MODE_INT32 = 2'd0;
  localparam logic [1:0] MODE_DEQF16 = 2'd2;

  // An open input is z in a simulator that knows z, and would make selected elements x.
  logic table_reading;
  assign table_reading = pair20_table === 1'b1;

  // --- the second cycle of a step ---------------------------------------------------------------

  logic add_valid, add_first, add_last;
  logic [1:0] add_start;
  logic [32*COLS-1:0] add_bias;

  always_ff @(posedge clock) begin
    add_valid <= step_valid && !reset;
    if (step_valid) begin
      add_first <= step_first;
      add_last  <= step_last;
      add_start <= step_start;
      if (step_first) add_bias <= bias;
    end
  end

  assign busy = step_valid || add_valid;

  // --- the cells --------------------------------------------------------------------------------

  logic [8*ROWS*K_STEP-1:0] masked;
  logic [32*ROWS*COLS-1:0] accumulators;
  logic [ROWS*COLS-1:0] illegals;

  generate
    for (genvar r = 0; r < ROWS; r++) begin : g_row
      cube24_mask #(
          .GROUPS(GROUPS)
      ) mask (
          .activations(activations[8*K_STEP*r+:8*K_STEP]),
          .k(step_k),
          .masked(masked[8*K_STEP*r+:8*K_STEP])
      );
      for (genvar c = 0; c < COLS; c++) begin : g_column
        cube24_cell #(
            .GROUPS(GROUPS)
        ) element (
            .clock(clock),
            .step_valid(step_valid),
            .activations(masked[8*K_STEP*r+:8*K_STEP]),
            .dense(dense[16*GROUPS*c+:16*GROUPS]),
            .index(index[4*GROUPS*c+:4*GROUPS]),
            .pair20_table(table_reading),
            .illegal(illegals[COLS*r+c]),
            .add_valid(add_valid),
            .add_first(add_first),
            .add_last(add_last),
            .wrap(wrap),
            .grain_instruction(grain_instruction),
            .keep(add_start == START_KEEP),
            .start((add_start == START_BIAS) ? add_bias[32*c+:32] : 32'd0),
            .accumulator(accumulators[32*(COLS*r+c)+:32])
        );
      end
    end
  endgenerate

  logic [COLS-1:0] illegal_now;
  always_comb begin
    illegal_now = '0;
    for (int r = 0; r < ROWS; r++) illegal_now = illegal_now | illegals[COLS*r+:COLS];
  end

  always_ff @(posedge clock) begin
    if (reset) illegal_columns <= '0;
    else if (step_valid) illegal_columns <= illegal_now | (step_first ? '0 : illegal_columns);
  end

  assign illegal = |illegal_columns;

  // --- results ----------------------------------------------------------------------------------

  logic [32*COLS-1:0] row, to_requantise, requantised;
  logic [COLS-1:0] bad;

  assign row = accumulators[32*COLS*read_row+:32*COLS];
  // Nothing moves in the requantisation while no row is read through it.
  assign to_requantise = (read_valid && mode != MODE_INT32) ? row : '0;

  generate
    for (genvar c = 0; c < COLS; c++) begin : g_requant
      logic [15:0] half;
      cube24_requant requant (
          .accumulator(to_requantise[32*c+:32]),
          .word(words[64*c+:64]),
          .dequantise(mode == MODE_DEQF16),
          .relu(relu),
          .alpha(alpha),
          .shift_n(shift_n),
          .offset_unsigned(offset_unsigned),
          .result(half),
          .bad_word(bad[c])
      );
      assign requantised[32*c+:32] = {16'd0, half};
    end
  endgenerate

  always_ff @(posedge clock) begin
    result_valid <= read_valid && !reset;
    if (read_valid) begin
      result <= (mode == MODE_INT32) ? row : requantised;
      result_bad <= mode != MODE_INT32 && |bad;
    end
  end

endmodule
