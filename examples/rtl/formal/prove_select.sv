// docs/format.md: slot 0 is element i0, slot 1 is element i1 + 1; an index of 3 selects nothing and
// is flagged. docs/unit.md: with the reading `table`, slot 1 of the pair (2, 0) is element 2. Stated
// with a shift of the four elements, where the unit has a table.
module prove_select (
    input logic [31:0] activations,
    input logic [ 3:0] index,
    input logic        pair20_table
);

  logic [7:0] slot0, slot1;
  logic illegal;
  cube24_select dut (
      .activations(activations),
      .index(index),
      .pair20_table(pair20_table),
      .slot0(slot0),
      .slot1(slot1),
      .illegal(illegal)
  );

  wire [1:0] i0 = index[1:0];
  wire [1:0] i1 = index[3:2];
  wire [31:0] element0 = activations >> (8 * i0);
  wire [2:0] second = (pair20_table && index == 4'b0010) ? 3'd2 : i1 + 3'd1;
  wire [31:0] element1 = activations >> (8 * second);

  always_comb begin
    assert (slot0 == (i0 == 2'd3 ? 8'd0 : element0[7:0]));
    assert (slot1 == (i1 == 2'd3 ? 8'd0 : element1[7:0]));
    assert (illegal == (&i0 || &i1));
  end

endmodule
