// SPDX-License-Identifier: Apache-2.0
//
// Checkers inside the unit: each group that is selected and each addition, against the model. A wrong
// result shows that something is wrong; these say in which cell, and in which stage. Sampled with the
// clock of the bench.
package stage_pkg;
  int checks = 0, wrong = 0;

  // Count a check; gives 1 if it does not hold and is one of the first to be shown.
  function automatic bit shown(input bit holds);
    // A bench counts: nothing here becomes a register.
    // verilator lint_off BLKSEQ
    checks++;
    if (!holds) wrong++;
    // verilator lint_on BLKSEQ
    return !holds && wrong <= 5;
  endfunction
endpackage

// Beside each cube24_select.
module select_check (
    input logic [31:0] activations,
    input logic [ 3:0] index,
    input logic        pair20_table,
    input logic [ 7:0] slot0,
    input logic [ 7:0] slot1,
    input logic        illegal
);
  import cube24_pkg::*;

  // Whether there is an index of 3 is what the model says without the flag.
  always @(posedge tb_scoreboard.clock) begin
    byte a[4], selected[2];
    int status, reading;
    reading = pair20_table ? PAIR20_TABLE : 0;
    for (int e = 0; e < 4; e++) a[e] = activations[8*e+:8];
    status = select_group(a, int'(index), INDEX3_NOTHING + reading, selected);
    if (stage_pkg::shown(status == OK && slot0 == selected[0] && slot1 == selected[1]))
      $display("%m: index %h selects %h %h, not %h %h", index, slot0, slot1, selected[0],
               selected[1]);
    status = select_group(a, int'(index), reading, selected);
    if (stage_pkg::shown(illegal == (status == E_REFUSED)))
      $display("%m: index %h: illegal is %b", index, illegal);
  end
endmodule

// Beside each cube24_add.
module add_check (
    input logic               wrap,
    input logic signed [31:0] accumulator,
    input logic signed [31:0] addend,
    input logic signed [31:0] result
);
  import cube24_pkg::*;

  always @(posedge tb_scoreboard.clock) begin
    int status, wanted;
    status = accumulate(accumulator, addend, wrap ? WRAP : 0, wanted);
    if (stage_pkg::shown(status == OK && result == wanted))
      $display("%m: %0d + %0d is %0d, not %0d", accumulator, addend, result, wanted);
  end
endmodule

bind cube24_select select_check check (.*);
bind cube24_add add_check check (.*);
