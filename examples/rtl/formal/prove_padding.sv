// Padding adds nothing: two rows that agree up to k, and hold anything behind it, give every
// multiplier the same activation; a group that lies behind k gives it 0, whose products with all
// weights are 0 (tb_multiply.sv).
module prove_padding (
    input logic [511:0] one,
    input logic [511:0] noise,
    input logic [  6:0] k,
    input logic [ 63:0] index,
    input logic         pair20_table
);

  logic [511:0] other, masked_one, masked_other;
  logic [127:0] slots_one0, slots_one1, slots_other0, slots_other1;

  generate
    for (genvar i = 0; i < 64; i++) begin : g_element
      assign other[8*i+:8] = (i < k) ? one[8*i+:8] : noise[8*i+:8];
    end
    for (genvar g = 0; g < 16; g++) begin : g_group
      cube24_select select_one (
          .activations(masked_one[32*g+:32]),
          .index(index[4*g+:4]),
          .pair20_table(pair20_table),
          .slot0(slots_one0[8*g+:8]),
          .slot1(slots_one1[8*g+:8])
      );
      cube24_select select_other (
          .activations(masked_other[32*g+:32]),
          .index(index[4*g+:4]),
          .pair20_table(pair20_table),
          .slot0(slots_other0[8*g+:8]),
          .slot1(slots_other1[8*g+:8])
      );
    end
  endgenerate

  cube24_mask mask_one (
      .activations(one),
      .k(k),
      .masked(masked_one)
  );
  cube24_mask mask_other (
      .activations(other),
      .k(k),
      .masked(masked_other)
  );

  always_comb begin
    assert (slots_one0 == slots_other0);
    assert (slots_one1 == slots_other1);
    for (int g = 0; g < 16; g++) begin
      if (4 * g >= k) assert ({slots_one0[8*g+:8], slots_one1[8*g+:8]} == 16'd0);
    end
  end

endmodule
