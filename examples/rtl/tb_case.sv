// A self-checking bench: plays cases of cube24 on the unit and says PASS or FAIL of each.
//
//     SIMULATION +case=NAME +m=31 +n=15 +k=64 +layout=nd +dense=dense.hex ... +expected=expected.hex
//     SIMULATION +list=FILE
//
// README.md lists the plusargs. With +list, each line of FILE has those of one case, without the
// plus signs; one run plays them all. Simulators do not count the words of a file, so the files are
// read here, digit by digit: a word too few or too many, of another width, with x or z, or filling
// that is not zero makes the case fail.
module tb_case #(
    parameter int ROWS = 16,
    parameter int COLS = 16
);

  localparam int GROUPS = 16;
  localparam int K_STEP = 4 * GROUPS;
  localparam int K_BITS = $clog2(K_STEP + 1);
  localparam int ROW_BITS = (ROWS > 1) ? $clog2(ROWS) : 1;
  localparam int LARGEST = 1 << 20;  // bytes of one array
  localparam int MOST_STEPS = 1024;  // of k
  localparam int MOST_BUSY = 1 << 16;  // cycles behind the last step of a tile

  // --- the unit ---------------------------------------------------------------------------------

  logic clock = 1'b0;
  logic reset = 1'b1;
  logic wrap, grain_instruction, pair20_table, step_valid, step_first, step_last, busy, illegal;
  logic [1:0] step_start, mode, relu;
  logic [K_BITS-1:0] step_k;
  logic [8*ROWS*K_STEP-1:0] activations;
  logic [16*COLS*GROUPS-1:0] dense;
  logic [4*COLS*GROUPS-1:0] index;
  logic [32*COLS-1:0] bias, result;
  logic [COLS-1:0] illegal_columns;
  logic read_valid, shift_n, offset_unsigned, result_valid, result_bad;
  logic [ROW_BITS-1:0] read_row;
  logic [64*COLS-1:0] words;
  logic [31:0] alpha;

  initial forever #1 clock = !clock;

  cube24_unit #(
      .ROWS(ROWS),
      .COLS(COLS),
      .GROUPS(GROUPS)
  ) dut (
      .clock(clock),
      .reset(reset),
      .wrap(wrap),
      .grain_instruction(grain_instruction),
      .pair20_table(pair20_table),
      .step_valid(step_valid),
      .step_first(step_first),
      .step_last(step_last),
      .step_start(step_start),
      .step_k(step_k),
      .activations(activations),
      .dense(dense),
      .index(index),
      .bias(bias),
      .busy(busy),
      .illegal(illegal),
      .illegal_columns(illegal_columns),
      .read_valid(read_valid),
      .read_row(read_row),
      .mode(mode),
      .words(words),
      .relu(relu),
      .alpha(alpha),
      .shift_n(shift_n),
      .offset_unsigned(offset_unsigned),
      .result_valid(result_valid),
      .result_bad(result_bad),
      .result(result)
  );

  int busy_cycles = 0;
  int step_cycles = 0;
  logic flagged;
  logic [COLS-1:0] flagged_columns;
  always @(posedge clock) begin
    if (busy) busy_cycles <= busy_cycles + 1;
    if (step_valid) step_cycles <= step_cycles + 1;
    flagged <= !reset && (flagged || illegal);
    flagged_columns <= reset ? '0 : flagged_columns | illegal_columns;
  end

  // --- the plusargs of a case -------------------------------------------------------------------

  string name, layout, order, output_type, relu_name, overflow, grain, index3, pair20;
  string requant_shift, requant_offset, outcome;
  string dense_file, index_file, activations_file, bias_file, requant_file, expected_file, dump;
  int m, n, k, conv, batch, c1, h, w, kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w;
  int pad_top, pad_left, pad_bottom, pad_right, offset_x, word_bytes, mmad_k, requant_words;

  // Bytes of a word of one file, 0: as word_bytes says. A stride from row to row is refused.
  int activations_word, dense_word, index_word, bias_word, requant_word, expected_word, row_stride;

  task automatic defaults;
    name = "case"; layout = "nd"; order = "little"; output_type = "int32"; relu_name = "none";
    overflow = "saturate"; grain = "step"; index3 = "error"; pair20 = "rule";
    requant_shift = "n+1"; requant_offset = "signed"; outcome = "result";
    dense_file = ""; index_file = ""; activations_file = ""; bias_file = ""; requant_file = "";
    expected_file = ""; dump = "";
    m = 0; n = 0; k = 0; conv = 0; batch = 1; c1 = 0; h = 0; w = 0; kernel_h = 1; kernel_w = 1;
    stride_h = 1; stride_w = 1; dilation_h = 1; dilation_w = 1;
    pad_top = 0; pad_left = 0; pad_bottom = 0; pad_right = 0; offset_x = 0;
    word_bytes = 1; mmad_k = 0; alpha = 32'd0; requant_words = 1;
    activations_word = 0; dense_word = 0; index_word = 0; bias_word = 0; requant_word = 0;
    expected_word = 0; row_stride = 0;
  endtask

  // One argument: from the command line, or from `token`, a word of the list.
  logic listed, known;
  string token;
`define TAKE(FORMAT, VARIABLE) \
  if (!listed) taken = $value$plusargs(FORMAT, VARIABLE); \
  else begin taken = $sscanf(token, FORMAT, VARIABLE); known = known || taken == 1; end

  task automatic take;
    int taken;
    known = 1'b0;
    `TAKE("case=%s", name)
    `TAKE("layout=%s", layout)
    `TAKE("order=%s", order)
    `TAKE("word_bytes=%d", word_bytes)
    `TAKE("output=%s", output_type)
    `TAKE("outcome=%s", outcome)
    `TAKE("m=%d", m)
    `TAKE("n=%d", n)
    `TAKE("k=%d", k)
    `TAKE("conv=%d", conv)
    `TAKE("batch=%d", batch)
    `TAKE("c1=%d", c1)
    `TAKE("h=%d", h)
    `TAKE("w=%d", w)
    `TAKE("kernel_h=%d", kernel_h)
    `TAKE("kernel_w=%d", kernel_w)
    `TAKE("stride_h=%d", stride_h)
    `TAKE("stride_w=%d", stride_w)
    `TAKE("dilation_h=%d", dilation_h)
    `TAKE("dilation_w=%d", dilation_w)
    `TAKE("pad_top=%d", pad_top)
    `TAKE("pad_left=%d", pad_left)
    `TAKE("pad_bottom=%d", pad_bottom)
    `TAKE("pad_right=%d", pad_right)
    `TAKE("offset_x=%d", offset_x)
    `TAKE("overflow=%s", overflow)
    `TAKE("grain=%s", grain)
    `TAKE("mmad_k=%d", mmad_k)
    `TAKE("index3=%s", index3)
    `TAKE("pair20=%s", pair20)
    `TAKE("requant_shift=%s", requant_shift)
    `TAKE("requant_offset=%s", requant_offset)
    `TAKE("relu=%s", relu_name)
    `TAKE("alpha=%h", alpha)
    `TAKE("dense=%s", dense_file)
    `TAKE("index=%s", index_file)
    `TAKE("activations=%s", activations_file)
    `TAKE("bias=%s", bias_file)
    `TAKE("requant=%s", requant_file)
    `TAKE("requant_words=%d", requant_words)
    `TAKE("expected=%s", expected_file)
    `TAKE("dump=%s", dump)
    `TAKE("activations_word_bytes=%d", activations_word)
    `TAKE("dense_word_bytes=%d", dense_word)
    `TAKE("index_word_bytes=%d", index_word)
    `TAKE("bias_word_bytes=%d", bias_word)
    `TAKE("requant_word_bytes=%d", requant_word)
    `TAKE("expected_word_bytes=%d", expected_word)
    `TAKE("activations_row_stride=%d", row_stride)
    `TAKE("dense_row_stride=%d", row_stride)
    `TAKE("index_row_stride=%d", row_stride)
  endtask

  // --- files ------------------------------------------------------------------------------------

  // All bytes of a case, an array behind the other.
  localparam int ACTIVATIONS = 0;
  localparam int DENSE = 1;
  localparam int INDEX = 2;
  localparam int BIAS = 3;
  localparam int WORDS = 4;
  localparam int EXPECTED = 5;
  localparam int GOT = 6;
  logic [7:0] memory[0:7*LARGEST-1];

  logic failed, hung, bad_seen;
  string wrong, file_name, role_name;

  task automatic fail(input string why);
    if (!failed) $display("FAIL %0s: %0s", name, why);
    failed = 1'b1;
  endtask

  // The value of a hexadecimal digit; -1: none.
  function automatic int digit(input int character);
    if (character >= "0" && character <= "9") digit = character - "0";
    else if (character >= "a" && character <= "f") digit = character - "a" + 10;
    else if (character >= "A" && character <= "F") digit = character - "A" + 10;
    else digit = -1;
  endfunction

  // Read a file of words of `size` bytes: `bytes` bytes and zeros up to whole words, into an array.
  task automatic read_hex(input string file, input string role, input int array, input int bytes,
                          input int size);
    int fd, character, value, digits, count, at;
    logic comment, ended;
    logic [3:0] first;
    string why;
    fd = 0;
    if (bytes > LARGEST) begin
      $sformat(why, "%0s has %0d bytes, more than the bench holds", role, bytes);
      fail(why);
    end else begin
      fd = $fopen(file, "r");
      if (fd == 0) begin
        $sformat(why, "%0s: cannot open %0s", role, file);
        fail(why);
      end
    end
    count = (bytes + size - 1) / size;
    digits = 0;
    at = 0;
    comment = 1'b0;
    ended = fd == 0;
    first = 4'd0;
    while (!ended) begin
      character = $fgetc(fd);
      value = digit(character);
      if (comment) comment = character != 10 && character != -1;
      else if (value >= 0) begin
        // Digits come most significant first; byte 0 of a word is the last two, or the first two.
        if (digits[0]) begin
          if (order == "big") place(array, at * size + digits / 2, {first, 4'(value)}, bytes);
          else
            place(array, (at + 1) * size - 1 - digits / 2, {first, 4'(value)}, bytes);
        end
        first = 4'(value);
        digits = digits + 1;
        if (digits > 2 * size || at >= count) ended = 1'b1;
      end else begin
        if (character != -1 && character != 10 && character != 13 && character != 32 &&
            character != 9 && character != "/") begin
          $sformat(why, "%0s: word %0d holds the character code %0d, no hex digit", role, at,
                   character);
          fail(why);
        end
        if (digits == 2 * size) at = at + 1;
        else if (digits != 0) ended = 1'b1;
        if (character == "/") comment = 1'b1;
        if (character == -1 || failed) ended = 1'b1;
        if (!ended) digits = 0;
      end
    end
    if (fd != 0) $fclose(fd);
    if (digits != 0 && digits != 2 * size && at < count) begin
      $sformat(why, "%0s: word %0d has other than %0d digits", role, at, 2 * size);
      fail(why);
    end
    if (at != count || (digits != 0 && character != -1)) begin
      $sformat(why, "%0s: %0s words, not %0d", role, (at < count) ? "too few" : "too many", count);
      fail(why);
    end
  endtask

  task automatic place(input int array, input int at, input logic [7:0] value, input int bytes);
    if (at < bytes) memory[array*LARGEST+at] = value;
    else if (value != 8'd0) fail("the last word of a file is filled with other than zeros");
  endtask

  // Write the results as hex, in words like those of the expected ones.
  task automatic write_dump(input int bytes);
    int fd, at;
    fd = $fopen(dump, "w");
    if (fd == 0) fail("cannot write the dump");
    else begin
      for (int word = 0; word * expected_word < bytes; word++) begin
        for (int i = 0; i < expected_word; i++) begin
          at = word * expected_word + ((order == "big") ? i : expected_word - 1 - i);
          $fwrite(fd, "%02x", (at < bytes) ? memory[GOT*LARGEST+at] : 8'd0);
        end
        $fwrite(fd, "\n");
      end
      $fclose(fd);
    end
  endtask

  // --- operands ---------------------------------------------------------------------------------

  int rows, depth, steps, ho, wo, n_padded, k_padded, element_bytes;

  // Element `at` of row r of A, which a convolution unfolds from the image: K runs over (C1, Kh, Kw,
  // 32). A step reads on where the row ends, in the next one; what it finds there must add nothing.
  function automatic logic [7:0] activation(input int r, input int at);
    int row, element, lane, tap, block, y, x, image;
    row = (at < depth) ? r : r + at / depth;
    element = (at < depth) ? at : at % depth;
    if (row >= rows) activation = 8'd0;
    else if (conv == 0) activation = memory[ACTIVATIONS*LARGEST+row*k+element];
    else begin
      lane = element % 32;
      tap = element / 32 % (kernel_h * kernel_w);
      block = element / 32 / (kernel_h * kernel_w);
      image = row / (ho * wo);
      y = row / wo % ho * stride_h + tap / kernel_w * dilation_h - pad_top;
      x = row % wo * stride_w + tap % kernel_w * dilation_w - pad_left;
      if (y < 0 || x < 0 || y >= h || x >= w) activation = offset_x[7:0];
      else activation = memory[ACTIVATIONS*LARGEST+(((image*c1+block)*h+y)*w+x)*32+lane];
    end
  endfunction

  // Byte `at` of column c of dense or index, which have `size` bytes for a step: 32 or 8.
  function automatic logic [7:0] weight(input int array, input int c, input int at, input int size);
    int where, width, bytes;
    width = k_padded * size / 64;
    bytes = width * ((layout == "zn") ? n_padded : n);
    if (layout == "zn") where = (at / size * n_padded + c) * size + at % size;
    else where = c * width + at;
    weight = (c < n_padded && where < bytes) ? memory[array*LARGEST+where] : 8'd0;
  endfunction

  // The weights of all steps of the columns from c0 on, as the unit takes them.
  logic [16*COLS*GROUPS-1:0] dense_steps[0:MOST_STEPS-1];
  logic [4*COLS*GROUPS-1:0] index_steps[0:MOST_STEPS-1];

  task automatic gather_weights(input int c0);
    logic [16*COLS*GROUPS-1:0] some_dense;
    logic [4*COLS*GROUPS-1:0] some_index;
    for (int s = 0; s < steps; s++) begin
      for (int c = 0; c < COLS; c++) begin
        for (int i = 0; i < 2 * GROUPS; i++) begin
          some_dense[8*(c*2*GROUPS+i)+:8] = weight(DENSE, c0 + c, s * 2 * GROUPS + i, 2 * GROUPS);
        end
        for (int i = 0; i < GROUPS / 2; i++) begin
          some_index[8*(c*GROUPS/2+i)+:8] = weight(INDEX, c0 + c, s * GROUPS / 2 + i, GROUPS / 2);
        end
      end
      dense_steps[s] = some_dense;
      index_steps[s] = some_index;
    end
  endtask

  // The operands of step s of the rows from r0 on.
  task automatic drive(input int r0, input int s);
    logic [8*ROWS*K_STEP-1:0] some;
    for (int r = 0; r < ROWS; r++) begin
      for (int i = 0; i < K_STEP; i++) begin
        some[8*(r*K_STEP+i)+:8] = activation(r0 + r, s * K_STEP + i);
      end
    end
    activations = some;
    dense = dense_steps[s];
    index = index_steps[s];
  endtask

  // Bias and parameter words of the columns from c0 on.
  task automatic drive_columns(input int c0);
    logic [32*COLS-1:0] some_bias;
    logic [64*COLS-1:0] some_words;
    int from;
    some_bias = '0;
    some_words = '0;
    for (int c = 0; c < COLS && c0 + c < n; c++) begin
      from = (requant_words > 1) ? c0 + c : 0;
      for (int i = 0; i < 4; i++) begin
        if (bias_file != "") some_bias[8*(4*c+i)+:8] = memory[BIAS*LARGEST+4*(c0+c)+i];
      end
      for (int i = 0; i < 8; i++) begin
        if (requant_file != "") some_words[8*(8*c+i)+:8] = memory[WORDS*LARGEST+8*from+i];
      end
    end
    bias = some_bias;
    words = some_words;
  endtask

  // --- a case -----------------------------------------------------------------------------------


  task automatic settle;
    string why;
    wrong = "";
    if (conv != 0) begin
      ho = (h + pad_top + pad_bottom - (kernel_h - 1) * dilation_h - 1) / stride_h + 1;
      wo = (w + pad_left + pad_right - (kernel_w - 1) * dilation_w - 1) / stride_w + 1;
      rows = batch * ho * wo;
      depth = c1 * kernel_h * kernel_w * 32;
    end else begin
      rows = m;
      depth = k;
    end
    steps = (depth + K_STEP - 1) / K_STEP;
    n_padded = (n + 15) / 16 * 16;
    k_padded = (layout == "zn") ? (depth + 63) / 64 * 64 : (depth + 7) / 8 * 8;
    element_bytes = (output_type == "int32") ? 4 : (output_type == "float16") ? 2 : 1;
    wrap = overflow == "wrap";
    grain_instruction = grain == "instruction";
    pair20_table = pair20 == "table";
    mode = (output_type == "int32") ? 2'd0 : (output_type == "float16") ? 2'd2 : 2'd1;
    relu = (relu_name == "leaky") ? 2'd2 : (relu_name == "relu") ? 2'd1 : 2'd0;
    if (activations_word == 0) activations_word = word_bytes;
    if (dense_word == 0) dense_word = word_bytes;
    if (index_word == 0) index_word = word_bytes;
    if (bias_word == 0) bias_word = word_bytes;
    if (requant_word == 0) requant_word = word_bytes;
    if (expected_word == 0) expected_word = word_bytes;
    shift_n = requant_shift == "n";
    offset_unsigned = requant_offset == "unsigned";
    if (!(rows > 0 && n > 0 && depth > 0))
      wrong = "sizes m, n and k, or those of a convolution";
    if (!(steps <= MOST_STEPS))
      wrong = "k is larger than the bench holds";
    if (!(layout == "nd" || layout == "zn"))
      wrong = "layout is nd or zn";
    if (!(order == "little" || order == "big"))
      wrong = "order is little or big";
    if (!(activations_word > 0 && dense_word > 0 && index_word > 0 && bias_word > 0 &&
          requant_word > 0 && expected_word > 0))
      wrong = "word_bytes is 1 or more";
    if (!(row_stride == 0))
      wrong = "a row_stride, which this bench does not take: the rows of a file have no gaps";
    if (!(output_type == "int32" || output_type == "int8" || output_type == "uint8" || output_type == "float16"))
      wrong = "output is int32, int8, uint8 or float16";
    if (!((requant_file == "") == (output_type == "int32")))
      wrong = "requant goes with another output than int32";
    if (!(relu_name == "none" || relu_name == "relu" || relu_name == "leaky"))
      wrong = "relu is none, relu or leaky";
    if (!(overflow == "saturate" || overflow == "wrap"))
      wrong = "overflow is saturate or wrap";
    if (!(grain == "step" || grain == "instruction"))
      wrong = "grain is step or instruction";
    if (!(mmad_k >= 0 && mmad_k % K_STEP == 0))
      wrong = "mmad_k is a multiple of 64";
    if (!(offset_x >= -128 && offset_x <= 127))
      wrong = "offset_x is an int8";
    if (!(index3 == "error" || index3 == "nothing"))
      wrong = "index3 is error or nothing";
    if (!(pair20 == "rule" || pair20 == "table"))
      wrong = "pair20 is rule or table";
    if (!(requant_shift == "n" || requant_shift == "n+1"))
      wrong = "requant_shift is n+1 or n";
    if (!(requant_offset == "signed" || requant_offset == "unsigned"))
      wrong = "requant_offset is signed or unsigned";
    if (!(requant_file == "" || requant_words == 1 || requant_words == n))
      wrong = "requant_words is 1 or n";
    if (!(outcome == "result" || outcome == "illegal" || outcome == "bad-word"))
      wrong = "outcome is result, illegal or bad-word";
    if (outcome == "bad-word" && requant_file == "")
      wrong = "a word that is bad is one of requant";
    if (outcome == "illegal" && index3 == "nothing")
      wrong = "an index of 3 is illegal with index3 error, not with nothing";
    if (!(dense_file != "" && index_file != "" && activations_file != ""))
      wrong = "dense, index and activations are files";
    if (!(expected_file != "" || outcome != "result"))
      wrong = "expected is a file";
    if (wrong != "") begin
      $sformat(why, "the plusargs: %0s", wrong);
      fail(why);
    end
  endtask

  task automatic read_files;
    int bytes, n_rows, size;
    n_rows = (layout == "zn") ? n_padded : n;
    for (int array = ACTIVATIONS; array <= EXPECTED; array++) begin
      case (array)
        ACTIVATIONS: begin
          role_name = "activations"; file_name = activations_file;
          size = activations_word;
          bytes = (conv != 0) ? batch * c1 * h * w * 32 : m * k;
        end
        DENSE: begin
          role_name = "dense"; file_name = dense_file; size = dense_word;
          bytes = n_rows * k_padded / 2;
        end
        INDEX: begin
          role_name = "index"; file_name = index_file; size = index_word;
          bytes = n_rows * k_padded / 8;
        end
        BIAS: begin role_name = "bias"; file_name = bias_file; size = bias_word; bytes = 4 * n; end
        WORDS: begin
          role_name = "requant"; file_name = requant_file; size = requant_word;
          bytes = 8 * requant_words;
        end
        default: begin
          role_name = "expected"; file_name = expected_file; size = expected_word;
          if (outcome != "result") file_name = "";
          bytes = rows * n * element_bytes;
        end
      endcase
      if (file_name != "") read_hex(file_name, role_name, array, bytes, size);
    end
  endtask

  // All tiles of the result, each from low to high k.
  task automatic multiply;
    int per_mmad, waited;
    per_mmad = (mmad_k == 0) ? steps : mmad_k / K_STEP;
    for (int c0 = 0; c0 < ((layout == "zn") ? n_padded : n); c0 += COLS) begin
      drive_columns(c0);
      gather_weights(c0);
      for (int r0 = 0; r0 < rows && !hung; r0 += ROWS) begin
        for (int s = 0; s < steps; s++) begin
          drive(r0, s);
          step_valid = 1'b1;
          step_first = s % per_mmad == 0;
          step_last = s % per_mmad == per_mmad - 1 || s == steps - 1;
          step_start = (s > 0) ? 2'd1 : (bias_file != "") ? 2'd2 : 2'd0;
          step_k = (depth - s * K_STEP < K_STEP) ? K_BITS'(depth - s * K_STEP) : K_BITS'(K_STEP);
          @(negedge clock);
        end
        step_valid = 1'b0;
        @(negedge clock);
        for (waited = 0; busy && waited < MOST_BUSY; waited++) @(negedge clock);
        hung = waited == MOST_BUSY;
        if (hung) fail("busy does not fall behind the last step");
        else take_results(r0, c0);
      end
    end
  endtask

  // Row by row; a row stands in `result` a cycle after it was asked for.
  task automatic take_results(input int r0, input int c0);
    int at;
    for (int r = 0; r <= ROWS && r0 + r <= rows; r++) begin
      read_valid = r < ROWS && r0 + r < rows;
      read_row = ROW_BITS'(r);
      @(negedge clock);
      if (read_valid) begin
        if (!result_valid) fail("no result a cycle after a row was read");
        bad_seen = bad_seen || result_bad;
        for (int c = 0; c < COLS && c0 + c < n; c++) begin
          at = ((r0 + r) * n + c0 + c) * element_bytes;
          for (int i = 0; i < element_bytes; i++) begin
            memory[GOT*LARGEST+at+i] = result[8*(4*c+i)+:8];
          end
        end
      end
    end
  endtask

  // A result as it is printed: decimal but for fp16, and in the digits of its width.
  task automatic show(input string what, input int array, input int element);
    logic [31:0] bits;
    bits = 32'd0;
    for (int i = 0; i < element_bytes; i++) begin
      bits[8*i+:8] = memory[array*LARGEST+element*element_bytes+i];
    end
    if (output_type == "int32") $display("  %0s %0d 0x%08x", what, $signed(bits), bits);
    else if (output_type == "float16") $display("  %0s 0x%04x", what, bits[15:0]);
    else if (output_type == "int8") $display("  %0s %0d 0x%02x", what, $signed(bits[7:0]), bits[7:0]);
    else $display("  %0s %0d 0x%02x", what, bits[7:0], bits[7:0]);
  endtask

  // The first difference, in the coordinates of `cube24 vectors compare`.
  task automatic check;
    int differing, first, first_byte;
    string why;
    differing = 0;
    first = 0;
    first_byte = 0;
    for (int element = rows * n - 1; element >= 0; element--) begin
      logic differs;
      differs = 1'b0;
      for (int at = element_bytes * (element + 1) - 1; at >= element_bytes * element; at--) begin
        if (memory[GOT*LARGEST+at] !== memory[EXPECTED*LARGEST+at]) begin
          differs = 1'b1;
          first_byte = at;
        end
      end
      if (differs) begin
        differing = differing + 1;
        first = element;
      end
    end
    if (differing > 0) begin
      $sformat(why, "%0d of %0d outputs differ", differing, rows * n);
      fail(why);
      if (conv != 0)
        $display("first at (%0d, %0d, %0d, %0d), word %0d byte %0d (words of %0d %0s, %0s)",
                 first / n / (ho * wo), first / n / wo % ho, first / n % wo, first % n,
                 first_byte / expected_word, first_byte % expected_word,
                 expected_word,
                 (expected_word == 1) ? "byte" : "bytes", order);
      else
        $display("first at (%0d, %0d), word %0d byte %0d (words of %0d %0s, %0s)", first / n,
                 first % n, first_byte / expected_word, first_byte % expected_word,
                 expected_word,
                 (expected_word == 1) ? "byte" : "bytes", order);
      show("expected", EXPECTED, first);
      show("got     ", GOT, first);
    end
  endtask

  int played, failures;
  logic more;
  string unknown;

  task automatic play;
    int busy_before, steps_before;
    string why, refused;
    failed = 1'b0;
    hung = 1'b0;
    bad_seen = 1'b0;
    if (unknown != "") begin
      $sformat(why, "unknown argument %0s", unknown);
      fail(why);
    end
    settle();
    if (!failed) read_files();
    if (!failed) begin
      reset = 1'b1;
      @(negedge clock);
      reset = 1'b0;
      @(negedge clock);
      busy_before = busy_cycles;
      steps_before = step_cycles;
      multiply();
      if (flagged && index3 == "error" && outcome != "illegal")
      begin
        $sformat(why, "an index of 3, which selects nothing, was flagged in columns %b of a tile",
                 flagged_columns);
        fail(why);
      end
      if (!flagged && outcome == "illegal") fail("no index of 3 was flagged");
      if (bad_seen && outcome != "bad-word")
        fail("a parameter word has a scale that is not finite");
      if (!bad_seen && outcome == "bad-word") fail("no parameter word was flagged");
      if (outcome == "result" && !hung) check();
      if (dump != "" && !hung) write_dump(rows * n * element_bytes);
      refused = "";
      if (outcome == "illegal") refused = ", index of 3 flagged";
      if (outcome == "bad-word") refused = ", bad word flagged";
      if (!failed)
        $display("PASS %0s: %0d outputs, %0d steps, busy %0d cycles%0s", name, rows * n,
                 step_cycles - steps_before, busy_cycles - busy_before, refused);
    end
    played = played + 1;
    if (failed) failures = failures + 1;
  endtask

  initial begin
    int fd, character;
    string list;
    step_valid = 1'b0;
    read_valid = 1'b0;
    wrap = 1'b0;
    grain_instruction = 1'b0;
    pair20_table = 1'b0;
    played = 0;
    failures = 0;
    fd = 0;
    listed = $value$plusargs("list=%s", list) != 0;
    if (listed) begin
      fd = $fopen(list, "r");
      if (fd == 0) $display("FAIL: cannot open %0s", list);
    end
    more = !listed || fd != 0;
    while (more) begin
      defaults();
      unknown = "";
      character = 0;
      while (more && character != 10) begin
        if (listed) more = $fscanf(fd, "%s", token) == 1;
        if (more) take();
        if (more && listed && !known) unknown = token;
        character = listed ? $fgetc(fd) : 10;
      end
      if (more) play();
      more = more && listed;
    end
    $display("%0d cases, %0d failed", played, failures);
    if (failures > 0 || (listed && fd == 0)) $fatal(1, "a case failed");
    $finish;
  end

endmodule
