// One element of the result: the products of its row and its column, and its accumulator.
//
// A step takes two cycles, one after the other without a gap: products and their sum, then the
// addition. The sum is added as it comes, or held, exactly, until the instruction's last step.
module cube24_cell #(
    parameter int GROUPS = 16
) (
    input logic clock,

    // first cycle of a step
    input  logic                 step_valid,
    input  logic [32*GROUPS-1:0] activations,
    input  logic [16*GROUPS-1:0] dense,
    input  logic [ 4*GROUPS-1:0] index,
    input  logic                 pair20_table,
    output logic                 illegal,

    // second cycle of a step
    input  logic               add_valid,
    input  logic               add_first,          // the first step of an instruction
    input  logic               add_last,           // the last step of an instruction
    input  logic               wrap,
    input  logic               grain_instruction,
    input  logic               keep,               // the first step goes on from the accumulator
    input  logic signed [31:0] start,              // else it starts from this
    output logic signed [31:0] accumulator
);

  localparam int SUM_BITS = 16 + $clog2(2 * GROUPS);

  logic signed [SUM_BITS-1:0] sum, sum_q;
  logic signed [31:0] step_sum, held, held_now, from, addend, result;

  cube24_dot #(
      .GROUPS(GROUPS)
  ) dot (
      .activations(activations),
      .dense(dense),
      .index(index),
      .pair20_table(pair20_table),
      .sum(sum),
      .illegal(illegal)
  );

  cube24_add add (
      .wrap(wrap),
      .accumulator(from),
      .addend(addend),
      .result(result)
  );

  assign step_sum = {{(32 - SUM_BITS) {sum_q[SUM_BITS-1]}}, sum_q};
  assign held_now = (add_first ? 32'sd0 : held) + step_sum;
  assign from = (add_first && !keep) ? start : accumulator;

  always_comb begin
    if (!grain_instruction) addend = step_sum;
    else addend = add_last ? held_now : 32'sd0;
  end

  always_ff @(posedge clock) begin
    if (step_valid) sum_q <= sum;
    if (add_valid) begin
      accumulator <= result;
      held <= held_now;
    end
  end

endmodule
