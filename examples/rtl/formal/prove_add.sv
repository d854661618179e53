// The accumulator, exactly: the sum in 40 bits, cut to int32 at its ends, or its low 32 bits.
module prove_add (
    input logic               wrap,
    input logic signed [31:0] accumulator,
    input logic signed [31:0] addend
);

  logic signed [31:0] result;
  cube24_add dut (
      .wrap(wrap),
      .accumulator(accumulator),
      .addend(addend),
      .result(result)
  );

  wire signed [39:0] wide_accumulator = accumulator;
  wire signed [39:0] wide_addend = addend;
  wire signed [39:0] exact = wide_accumulator + wide_addend;
  wire signed [39:0] low = -40'sd2147483648;
  wire signed [39:0] high = 40'sd2147483647;

  always_comb begin
    if (wrap) assert (result == exact[31:0]);
    else if (exact < low) assert (result == low[31:0]);
    else if (exact > high) assert (result == high[31:0]);
    else assert (result == exact[31:0]);
  end

endmodule
