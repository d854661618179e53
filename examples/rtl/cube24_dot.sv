// The products of one row and one column in one step, summed exactly.
module cube24_dot #(
    parameter int GROUPS = 16,
    localparam int SUM_BITS = 16 + $clog2(2 * GROUPS)
) (
    input  logic        [32*GROUPS-1:0] activations,  // four elements a group
    input  logic        [16*GROUPS-1:0] dense,        // two slots a group, slot 0 in the low byte
    input  logic        [ 4*GROUPS-1:0] index,        // a nibble a group, as in the index bytes
    input  logic                        pair20_table,
    output logic signed [ SUM_BITS-1:0] sum,
    output logic                        illegal       // an index of 3 in any group
);

  logic [GROUPS-1:0] illegals;

  generate
    for (genvar g = 0; g < GROUPS; g++) begin : g_group
      logic [7:0] slot0, slot1;
      logic signed [15:0] product0, product1;
      logic signed [SUM_BITS-1:0] sum_below, sum_here;  // the sum of the groups below, and with this one
      cube24_select select (
          .activations(activations[32*g+:32]),
          .index(index[4*g+:4]),
          .pair20_table(pair20_table),
          .slot0(slot0),
          .slot1(slot1),
          .illegal(illegals[g])
      );
      cube24_multiply multiply0 (
          .activation(slot0),
          .weight(dense[16*g+:8]),
          .product(product0)
      );
      cube24_multiply multiply1 (
          .activation(slot1),
          .weight(dense[16*g+8+:8]),
          .product(product1)
      );
      if (g == 0) begin : g_first
        assign sum_below = '0;
      end else begin : g_next
        assign sum_below = g_group[g-1].sum_here;
      end
      assign sum_here = sum_below + SUM_BITS'(product0) + SUM_BITS'(product1);
    end
  endgenerate

  assign sum = g_group[GROUPS-1].sum_here;
  assign illegal = |illegals;

endmodule
