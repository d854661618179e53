// Requantisation of one accumulator: REQ8 to int8 or uint8, DEQF16 to fp16 (docs/unit.md).
//
// All arithmetic is that of single fp32 operations, rounded to nearest, ties to even, done on
// integers: a value is sign, magnitude and a power of two. Numbers below 2^-126 keep more bits here
// than in fp32; they become zero in either result, as they are far below 2^-25.
module cube24_requant (
    input  logic signed [31:0] accumulator,
    input  logic        [63:0] word,             // 31:13 scale, 35:32 N, 36 MCB, 45:37 offset, 46 signed
    input  logic               dequantise,       // DEQF16, not REQ8
    input  logic        [ 1:0] relu,             // 0 none, 1 ReLU, 2 leaky ReLU
    input  logic        [31:0] alpha,            // fp32, the slope of the leaky ReLU
    input  logic               shift_n,          // field N means N bits, not N + 1
    input  logic               offset_unsigned,  // the offset is 0 to 511, not -256 to 255
    output logic        [15:0] result,           // fp16, or a byte in the low half
    output logic               bad_word          // the factor is infinite or no number
);

  // The place of the highest one; 0 for zero.
  function automatic logic [5:0] highest(input logic [63:0] value);
    logic [63:0] rest;
    rest = value;
    highest = 6'd0;
    for (int i = 5; i >= 0; i--) begin
      if ((rest >> (1 << i)) != 64'd0) begin
        rest = rest >> (1 << i);
        highest = highest + (6'd1 << i);
      end
    end
  endfunction

  // value / 2^places, to the nearest integer, ties to even.
  function automatic logic [63:0] nearest(input logic [63:0] value, input logic [10:0] places);
    logic [63:0] kept, rest, half;
    if (places > 11'd63) nearest = 64'd0;  // values are below 2^50
    else begin
      kept = value >> places[5:0];
      rest = value - (kept << places[5:0]);
      half = (64'd1 << places[5:0]) >> 1;
      nearest = kept + {63'd0, rest != 0 && (rest > half || (rest == half && kept[0]))};
    end
  endfunction

  // What the word says.
  logic [31:0] scale;
  logic [4:0] shift;
  logic [8:0] offset;
  logic offset_sign, to_int16, to_int8;
  assign scale = {word[31:13], 13'd0};
  assign shift = {1'b0, word[35:32]} + {4'd0, !shift_n};
  assign to_int16 = word[36] && !dequantise;
  assign offset = word[45:37];
  assign offset_sign = word[45] && !offset_unsigned;
  assign to_int8 = word[46];

  // The accumulator, or with MCB the accumulator shifted right and saturated to int16.
  logic signed [31:0] shifted, x;
  assign shifted = accumulator >>> shift;
  always_comb begin
    x = to_int16 ? shifted : accumulator;
    if (to_int16 && shifted > 32'sd32767) x = 32'sd32767;
    if (to_int16 && shifted < -32'sd32768) x = -32'sd32768;
  end

  // x in fp32: x_near * 2^x_drop, x_near at most 2^24.
  logic x_sign;
  logic [63:0] x_size, x_near;
  logic [5:0] x_drop;
  assign x_sign = x[31];
  assign x_size = {32'd0, x_sign ? -x : x};
  assign x_drop = (highest(x_size) > 6'd23) ? highest(x_size) - 6'd23 : 6'd0;
  assign x_near = nearest(x_size, {5'd0, x_drop});

  // What it is multiplied by: factor_size * 2^(factor_power - 149).
  logic [31:0] factor;
  logic factor_normal;
  logic [63:0] factor_size;
  logic signed [10:0] factor_power;
  assign factor = !(x_sign && relu != 2'd0) ? scale : (relu == 2'd1) ? 32'd0 : alpha;
  assign factor_normal = factor[30:23] != 8'd0;
  assign factor_size = {40'd0, factor_normal, factor[22:0]};
  assign factor_power = {3'd0, factor[30:23]} - {10'd0, factor_normal};
  assign bad_word = &scale[30:23] || (relu == 2'd2 && &alpha[30:23]);

  // The product in fp32: y_near * 2^y_power, y_near at most 2^24.
  logic y_sign;
  logic [63:0] y_size, y_near;
  logic [5:0] y_drop;
  logic signed [10:0] y_power;
  assign y_sign = x_sign ^ factor[31];
  assign y_size = x_near * factor_size;
  assign y_drop = (highest(y_size) > 6'd23) ? highest(y_size) - 6'd23 : 6'd0;
  assign y_near = nearest(y_size, {5'd0, y_drop});
  assign y_power = {5'd0, x_drop} + {5'd0, y_drop} + factor_power - 11'sd149;

  // REQ8. To round and then clamp to -256..255 is the same as to clamp first: both are integers.
  logic [63:0] most, rounded, whole;
  logic signed [10:0] clamped, moved, low, high, saturated;
  assign most = y_sign ? 64'd256 : 64'd255;
  assign rounded =
      (y_near == 64'd0) ? 64'd0 :
      (y_power > 11'sd9) ? most :
      (y_power > 11'sd0) ? y_near << y_power : nearest(y_near, -y_power);
  assign whole = (rounded > most) ? most : rounded;
  assign clamped = y_sign ? -whole[10:0] : whole[10:0];
  assign moved = clamped + {{2{offset_sign}}, offset};
  assign low = to_int8 ? -11'sd128 : 11'sd0;
  assign high = to_int8 ? 11'sd127 : 11'sd255;
  assign saturated = (moved < low) ? low : (moved > high) ? high : moved;

  // DEQF16: units of 2^quantum. A carry out of the ten bits of the mantissa raises the exponent.
  logic signed [10:0] exponent, quantum, finer;
  logic [63:0] units, half;
  logic [14:0] half_bits, near_half;
  assign exponent = y_power + {5'd0, highest(y_near)};
  assign quantum = (exponent < -11'sd14) ? -11'sd24 : exponent - 11'sd10;
  assign finer = quantum - y_power;
  assign units = (finer >= 11'sd0) ? nearest(y_near, finer) : y_near << -finer;
  assign half = units + ({53'd0, quantum + 11'sd24} << 10);
  assign half_bits = half[14:0];
  always_comb begin
    if (y_near == 64'd0) near_half = 15'd0;
    else near_half = (exponent > 11'sd15 || half > 64'h7bff) ? 15'h7bff : half_bits;
  end

  assign result = dequantise ? {y_sign, near_half} : {8'd0, saturated[7:0]};

  logic unused;
  assign unused = &{1'b0, word[63:47], word[12:0], half[63:15], whole[63:11], saturated[10:8]};

endmodule
