// SPDX-License-Identifier: Apache-2.0
//
// A live scoreboard: the unit of examples/rtl under random stimulus, with the model of cube24 beside
// it. Each round draws a multiplication of up to ROWS x COLS x 300 of k, cuts it into instructions,
// drives the unit with gaps between the steps, and compares every accumulator, every requantised
// result and the flag for an index of 3. Prints PASS, or FAIL with the first differences.
//
//     SIMULATION [+seed=N] [+rounds=N]
module tb_scoreboard #(
    parameter int ROWS = 2,
    parameter int COLS = 4
);

  import cube24_pkg::*;

  localparam int GROUPS = 16;
  localparam int K_STEP = 4 * GROUPS;
  localparam int K_BITS = $clog2(K_STEP + 1);
  localparam int ROW_BITS = (ROWS > 1) ? $clog2(ROWS) : 1;
  localparam int K_MOST = 320;  // whole steps

  // --- the unit -----------------------------------------------------------------------------------

  logic clock = 1'b0, reset = 1'b1;
  logic wrap = 1'b0, grain_instruction = 1'b0, pair20_table = 1'b0;
  logic step_valid = 1'b0, step_first = 1'b0, step_last = 1'b0, busy, illegal;
  logic [1:0] step_start = 2'd0, mode = 2'd0, relu = 2'd0;
  logic [K_BITS-1:0] step_k = '0;
  logic [8*ROWS*K_STEP-1:0] activations = '0;
  logic [16*COLS*GROUPS-1:0] dense = '0;
  logic [4*COLS*GROUPS-1:0] index = '0;
  logic [32*COLS-1:0] bias = '0, result;
  logic [COLS-1:0] illegal_columns;
  logic read_valid = 1'b0, shift_n = 1'b0, offset_unsigned = 1'b0, result_valid, result_bad;
  logic [ROW_BITS-1:0] read_row = '0;
  logic [64*COLS-1:0] words = '0;
  logic [31:0] alpha = '0;

  cube24_unit #(
      .ROWS(ROWS),
      .COLS(COLS),
      .GROUPS(GROUPS)
  ) dut (
      .*
  );

  initial forever #1 clock = !clock;

  // --- the model's side ---------------------------------------------------------------------------

  byte a_rows[ROWS*K_MOST], weight[COLS*K_MOST], dense_rows[COLS*K_MOST], index_rows[COLS*K_MOST];
  byte a_zz[16*K_MOST], dense_zn[16*K_MOST], index_zn[16*K_MOST];
  byte a_part[16*K_MOST], dense_part[16*K_MOST], index_part[16*K_MOST];
  int bias_values[COLS], c_nz[256], c_rows[ROWS*COLS], c_whole[ROWS*COLS];
  longint unsigned word_values[COLS];
  byte bytes[ROWS*COLS];
  shortint unsigned halves[ROWS*COLS];

  int checks = 0, failed = 0, round = 0;

  function automatic void check(input bit holds, input string what, input int row, input int column,
                                input int got, input int wanted);
    checks++;
    if (!holds) begin
      failed++;
      if (failed <= 10)
        $display("round %0d, %s at (%0d, %0d): got %0d, wanted %0d", round, what, row, column, got,
                 wanted);
    end
  endfunction

  // The model refuses nothing that this bench asks.
  function automatic void good(input int status);
    if (status != OK) $fatal(1, "FAIL: the model says: %s", message(status));
  endfunction

  function automatic int below(input int bound);
    return int'($urandom() % 32'(bound));
  endfunction

  function automatic byte any_byte();
    int draw = below(6);
    return (draw == 0) ? -8'sd128 : (draw == 1) ? 8'sd127 : byte'($urandom());
  endfunction

  // --- stimulus -----------------------------------------------------------------------------------

  int m, n, k, steps;
  int unsigned flags;
  bit threes;

  // A weight that was encoded, or bytes that no encoder writes: any index, non-zeros anywhere.
  function automatic void draw_operands();
    int stored, dropped;
    m = 1 + below(ROWS);
    n = 1 + below(COLS);
    k = 1 + below(300);
    if (below(2) == 1) k = (k + 7) / 8 * 8;
    stored = k_stored(k);
    steps = (k + K_STEP - 1) / K_STEP;
    for (int i = 0; i < m * k; i++) a_rows[i] = any_byte();
    if (below(2) == 1) begin
      for (int i = 0; i < n * k; i++) weight[i] = any_byte();
      good(prune(weight, n, k, POLICY_MAGNITUDE, weight, dropped));
      good(encode(weight, n, k, POLICY_ERROR, dense_rows, index_rows));
    end else begin
      bit rare = below(2) == 1;  // no 3, or one here and there
      for (int i = 0; i < n * stored / 2; i++) dense_rows[i] = any_byte();
      for (int i = 0; i < n * stored / 8; i++) begin
        index_rows[i] = byte'($urandom());
        if (rare && below(40) != 0) index_rows[i] &= ~((index_rows[i] >> 1) & 8'h55);
        // The unit looks at groups of padding too, the model at those of the weight.
        if (8 * (i % (stored / 8)) + 4 >= k) index_rows[i] &= 8'h0f;
      end
    end
    for (int i = 0; i < n; i++)
      bias_values[i] = (below(3) == 0) ? below(2000) - 1000 : (below(3) == 0) ? int'($urandom()) :
          (below(2) == 1) ? 2147483647 - below(400000) : -2147483647 + below(400000);
    flags = (below(2) == 1 ? WRAP : 0) + (below(2) == 1 ? GRAIN_INSTRUCTION : 0) +
        (below(2) == 1 ? PAIR20_TABLE : 0) + INDEX3_NOTHING;
    good(nd_to_zz(a_rows, m, k, 32, a_zz));
    good(nd_to_zn(dense_rows, n, stored / 2, 32, dense_zn));
    good(nd_to_zn(index_rows, n, stored / 8, 8, index_zn));
  endfunction

  // Step `s` on the ports. What is beyond m, n and k holds anything. Ports are written whole: Verilator
  // 5.006 does not see that one changed of which a process with delays writes parts.
  task automatic drive_step(input int s, input bit first, input bit last, input bit from_bias);
    logic [8*ROWS*K_STEP-1:0] some_activations;
    logic [16*COLS*GROUPS-1:0] some_dense;
    logic [4*COLS*GROUPS-1:0] some_index;
    logic [32*COLS-1:0] some_bias;
    for (int r = 0; r < ROWS; r++)
      for (int i = 0; i < K_STEP; i++)
        some_activations[8*(K_STEP*r+i)+:8] = (r < m && K_STEP * s + i < k) ?
            a_zz[(s*2+i/32)*512+r*32+i%32] : 8'($urandom());
    for (int c = 0; c < COLS; c++) begin
      for (int i = 0; i < 32; i++)
        some_dense[8*(32*c+i)+:8] = (c < n) ? dense_zn[s*512+c*32+i] : 8'($urandom());
      for (int i = 0; i < 8; i++)
        some_index[8*(8*c+i)+:8] = (c < n) ? index_zn[s*128+c*8+i] : 8'd0;
      some_bias[32*c+:32] = (c < n && from_bias) ? bias_values[c] : $urandom();
    end
    activations = some_activations;
    dense = some_dense;
    index = some_index;
    bias = some_bias;
    step_valid = 1'b1;
    step_first = first;
    step_last = last;
    step_start = !first ? 2'($urandom()) : from_bias ? 2'd2 : (s == 0) ? 2'd0 : 2'd1;
    step_k = (k - K_STEP * s < K_STEP) ? K_BITS'(k - K_STEP * s) : K_BITS'(K_STEP);
    @(negedge clock);
    step_valid = 1'b0;
    step_first = 1'($urandom());
    step_last = 1'($urandom());
    threes |= illegal;
    if (below(3) == 0) repeat (1 + below(3)) @(negedge clock);
  endtask

  // What the model adds for the steps from `first` to `last`, as one instruction.
  function automatic void model_instruction(input int first, input int last);
    int wide = (last == steps - 1) ? k - K_STEP * first : K_STEP * (last - first + 1);
    for (int i = 0; i < (last - first + 1) * 1024; i++) a_part[i] = a_zz_at(first * 1024 + i);
    for (int i = 0; i < (last - first + 1) * 512; i++) dense_part[i] = dense_zn[first*512+i];
    for (int i = 0; i < (last - first + 1) * 128; i++) index_part[i] = index_zn[first*128+i];
    good(mmad_sparse(a_part, dense_part, index_part, m, n, wide, flags, c_nz));
  endfunction

  // Zz of k has an odd number of fractals if the last step is a short one; there is nothing behind.
  function automatic byte a_zz_at(input int at);
    return (at < (k + 31) / 32 * 512) ? a_zz[at] : 0;
  endfunction

  task automatic multiply();
    int row, group, start = 0, instructions = 0, status;
    bit from_bias = below(2) == 1;
    wrap = (flags & WRAP) != 0;
    grain_instruction = (flags & GRAIN_INSTRUCTION) != 0;
    pair20_table = (flags & PAIR20_TABLE) != 0;
    threes = 1'b0;
    good(mmad_start(c_nz, m, n, bias_values, from_bias));
    while (start < steps) begin
      int last = start + below(steps - start);
      for (int s = start; s <= last; s++)
        drive_step(s, s == start, s == last, start == 0 && from_bias);
      model_instruction(start, last);
      start = last + 1;
      instructions++;
    end
    while (busy) @(negedge clock);
    good(nz_to_nd_int(c_nz, m, n, c_rows));

    // The model by its other way, from rows, and whether it sees a 3.
    status = matmul_sparse(a_rows, dense_rows, index_rows, m, n, k, bias_values, from_bias,
                           flags - INDEX3_NOTHING, c_whole, row, group);
    check(threes == (status == E_REFUSED), "flag for an index of 3", row, group, int'(threes),
          status);
    good(matmul_sparse(a_rows, dense_rows, index_rows, m, n, k, bias_values, from_bias, flags,
                       c_whole, row, group));
    if (!grain_instruction || instructions == 1)
      for (int i = 0; i < m * n; i++)
        check(c_rows[i] == c_whole[i], "model", i / n, i % n, c_rows[i], c_whole[i]);
  endtask

  // Rows of results as int32, bytes and fp16, with words of all kinds.
  task automatic read_results();
    int unsigned how, reading;
    real slope;
    bit per_column = below(2) == 1;
    logic [64*COLS-1:0] some_words;
    case (below(3))
      0: slope = -0.375;
      1: slope = 0.125;
      default: slope = 1.5;
    endcase
    alpha = (slope == -0.375) ? 32'hbec00000 : (slope == 0.125) ? 32'h3e000000 : 32'h3fc00000;
    relu = 2'(below(3));
    if (relu == 2'd1) slope = 0.0;
    shift_n = below(2) == 1;
    offset_unsigned = below(2) == 1;
    reading = (shift_n ? SHIFT_N : 0) + (offset_unsigned ? OFFSET_UNSIGNED : 0);
    how = (relu != 2'd0) ? RELU : 0;
    for (int c = 0; c < COLS; c++) begin
      word_values[c] = {$urandom(), $urandom()};
      // Mostly scales that bring sums into the range of a byte; any that is finite now and then.
      word_values[c][30:23] = (below(4) == 0) ? 8'(below(255)) : 8'(95 + below(32));
      if (below(2) == 1) word_values[c][30:13] = {8'(119 + below(8)), 10'd0};  // ties
      if (!per_column) word_values[c] = word_values[0];
      some_words[64*c+:64] = word_values[c];
    end
    words = some_words;
    good(requantise(c_rows, m, n, word_values, per_column ? n : 1, slope, how + reading, bytes));
    good(dequantise(c_rows, m, n, word_values, per_column ? n : 1, slope, how, halves));
    for (int r = 0; r < m; r++)
      for (int way = 0; way < 3; way++) begin
        read_valid = 1'b1;
        read_row = ROW_BITS'(r);
        mode = 2'(way);
        @(negedge clock);
        read_valid = 1'b0;
        check(result_valid && !result_bad, "result_valid", r, way, int'(result_bad), 0);
        for (int c = 0; c < n; c++) begin
          int got = int'(result[32*c+:32]), wanted;
          wanted = (way == 0) ? c_rows[r*n+c] :
              (way == 1) ? int'({24'd0, bytes[r*n+c]}) : int'({16'd0, halves[r*n+c]});
          check(got == wanted, (way == 0) ? "int32" : (way == 1) ? "REQ8" : "DEQF16", r, c, got,
                wanted);
        end
      end
  endtask

  initial begin
    int rounds = 500, seed = 24;
    void'($value$plusargs("rounds=%d", rounds));
    void'($value$plusargs("seed=%d", seed));
    void'($urandom(seed));
    repeat (3) @(negedge clock);
    reset = 1'b0;
    @(negedge clock);
    for (round = 0; round < rounds && failed == 0; round++) begin
      draw_operands();
      multiply();
      read_results();
    end
    if (failed != 0 || stage_pkg::wrong != 0 || stage_pkg::checks == 0)
      $fatal(1, "FAIL: %0d of %0d checks and %0d of %0d inside the unit, seed %0d", failed, checks,
             stage_pkg::wrong, stage_pkg::checks, seed);
    $display("PASS: %0d rounds, %0d checks and %0d inside the unit, seed %0d", rounds, checks,
             stage_pkg::checks, seed);
    $finish;
  end

endmodule
