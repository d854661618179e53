// The accumulate stage around that addition: what it starts from, and that it stays when no step
// comes. The products are cut out: cut_dot.sv gives any sum at all. From any state: a sum is taken in
// cycle 1 and added in cycle 2; cycle 3 is checked.
module prove_cell (
    input logic               clock,
    input logic               step_valid,
    input logic signed [20:0] sum,
    input logic               add_valid,
    input logic               add_first,
    input logic               wrap,
    input logic               grain_instruction,
    input logic               keep,
    input logic signed [31:0] start
);

  logic signed [31:0] accumulator, was, was_start;
  logic signed [20:0] sum_taken, was_sum;
  logic was_valid, was_first, was_wrap, was_keep;

  // A step that is an instruction of its own, for which both grains are the same, or the grain `step`.
  wire grain = grain_instruction && add_first;

  cube24_cell dut (
      .clock(clock),
      .step_valid(step_valid),
      .activations({491'd0, sum}),
      .dense(256'd0),
      .index(64'd0),
      .pair20_table(1'b0),
      .add_valid(add_valid),
      .add_first(add_first),
      .add_last(add_first),
      .wrap(wrap),
      .grain_instruction(grain),
      .keep(keep),
      .start(start),
      .accumulator(accumulator)
  );

  logic known, was_known;
  always_ff @(posedge clock) begin
    known <= step_valid;
    was_known <= known;
    sum_taken <= sum;
    was_sum <= sum_taken;
    was_valid <= add_valid;
    was_first <= add_first;
    was_wrap <= wrap;
    was_keep <= keep;
    was_start <= start;
    was <= accumulator;
  end

  wire signed [39:0] from = (was_first && !was_keep) ? was_start : was;
  wire signed [39:0] wide_sum = was_sum;
  wire signed [39:0] exact = from + wide_sum;
  wire signed [39:0] low = -40'sd2147483648;
  wire signed [39:0] high = 40'sd2147483647;

  always_comb begin
    if (!was_valid) assert (accumulator == was);
    else if (was_known) begin
      if (was_wrap) assert (accumulator == exact[31:0]);
      else if (exact < low) assert (accumulator == low[31:0]);
      else if (exact > high) assert (accumulator == high[31:0]);
      else assert (accumulator == exact[31:0]);
    end
  end

endmodule
