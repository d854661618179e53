// One addition to the int32 accumulator: what int32 cannot hold saturates, or wraps.
module cube24_add (
    input  logic               wrap,
    input  logic signed [31:0] accumulator,
    input  logic signed [31:0] addend,
    output logic signed [31:0] result
);

  logic signed [32:0] total;
  logic fits;

  assign total = {accumulator[31], accumulator} + {addend[31], addend};
  assign fits = total[32] == total[31];
  assign result = (wrap || fits) ? total[31:0] : total[32] ? 32'h8000_0000 : 32'h7fff_ffff;

endmodule
