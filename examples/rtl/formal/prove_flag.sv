// An index of 3 in any group and column of a step raises the flag of its column, and it stands until
// the first step of the next instruction. From any state: two cycles, the second one is checked.
module prove_flag (
    input logic         clock,
    input logic         reset,
    input logic         step_valid,
    input logic         step_first,
    input logic [2047:0] activations,
    input logic [ 511:0] dense,
    input logic [ 127:0] index,
    input logic         pair20_table
);

  logic illegal;
  logic [1:0] illegal_columns, expected, before_columns;
  logic was_valid, was_first, was_reset;
  logic [127:0] was_index;

  cube24_unit #(
      .ROWS(1),
      .COLS(2),
      .GROUPS(16)
  ) dut (
      .clock(clock),
      .reset(reset),
      .wrap(1'b0),
      .grain_instruction(1'b0),
      .pair20_table(pair20_table),
      .step_valid(step_valid),
      .step_first(step_first),
      .step_last(1'b0),
      .step_start(2'd0),
      .step_k(7'd64),
      .activations(activations[511:0]),
      .dense(dense),
      .index(index),
      .bias(64'd0),
      .illegal(illegal),
      .illegal_columns(illegal_columns),
      .read_valid(1'b0),
      .read_row(1'b0),
      .mode(2'd0),
      .words(128'd0),
      .relu(2'd0),
      .alpha(32'd0),
      .shift_n(1'b0),
      .offset_unsigned(1'b0)
  );

  always_ff @(posedge clock) begin
    was_valid <= step_valid;
    was_first <= step_first;
    was_reset <= reset;
    was_index <= index;
    before_columns <= illegal_columns;
  end

  always_comb begin
    expected = (was_valid && was_first) ? 2'd0 : before_columns;
    for (int pair = 0; pair < 64; pair++) begin
      if (was_valid && was_index[2*pair+:2] == 2'd3) expected[pair/32] = 1'b1;
    end
    if (was_reset) expected = 2'd0;
    assert (illegal_columns == expected);
    assert (illegal == (expected != 2'd0));
  end

endmodule
