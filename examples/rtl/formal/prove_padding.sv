// Padding adds nothing: of a row, the elements below k pass as they are, and each one behind k is 0.
// So the multipliers get 0 of it (prove_select.sv: what is selected is one of the elements or 0), and
// the products of 0 with all weights are 0 (tb_multiply.sv).
module prove_padding (
    input logic [511:0] one,
    input logic [  6:0] k
);

  logic [511:0] masked;
  cube24_mask dut (
      .activations(one),
      .k(k),
      .masked(masked)
  );

  always_comb begin
    for (int i = 0; i < 64; i++) assert (masked[8*i+:8] == (i < k ? one[8*i+:8] : 8'd0));
  end

endmodule
