// The wiring of a step: slot s of group g multiplies what nibble g of the index selects of group g of
// the activations with byte 2g + s of dense, and the sum is that of all 32 products. What a nibble
// selects is proven of cube24_select (prove_select.sv). The multipliers are cut out: cut_multiply.sv
// gives another function of two factors in place of their product.
module prove_dot (
    input logic [511:0] activations,
    input logic [255:0] dense,
    input logic [ 63:0] index,
    input logic         pair20_table
);

  logic signed [20:0] sum;
  cube24_dot dut (
      .activations(activations),
      .dense(dense),
      .index(index),
      .pair20_table(pair20_table),
      .sum(sum)
  );

  // Byte or word 2g + s of these is of slot s of group g.
  logic [255:0] selected;
  logic [511:0] products;
  generate
    for (genvar g = 0; g < 16; g++) begin : g_group
      cube24_select select (
          .activations(activations[32*g+:32]),
          .index(index[4*g+:4]),
          .pair20_table(pair20_table),
          .slot0(selected[16*g+:8]),
          .slot1(selected[16*g+8+:8])
      );
    end
    for (genvar i = 0; i < 32; i++) begin : g_slot
      cube24_multiply multiply (
          .activation(selected[8*i+:8]),
          .weight(dense[8*i+:8]),
          .product(products[16*i+:16])
      );
    end
  endgenerate

  // In the order and with the bits of the unit, so that yosys finds the same additions in both. Of
  // another order the solver takes minutes.
  logic signed [20:0] expected;
  always_comb begin
    expected = 21'sd0;
    for (int i = 0; i < 32; i++) expected = expected + 21'($signed(products[16*i+:16]));
    assert (sum == expected);
  end

endmodule
