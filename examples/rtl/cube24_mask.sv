// Elements beyond k count as zero, whatever stands there: one row of activations of one step.
module cube24_mask #(
    parameter int GROUPS = 16,
    localparam int K_STEP = 4 * GROUPS,
    localparam int K_BITS = $clog2(K_STEP + 1)
) (
    input  logic [8*K_STEP-1:0] activations,
    input  logic [  K_BITS-1:0] k,            // elements that take part, 0 to K_STEP
    output logic [8*K_STEP-1:0] masked
);

  localparam logic [8*K_STEP-1:0] ALL = {(8 * K_STEP) {1'b1}};

  assign masked = activations & ~(ALL << {k, 3'b000});

endmodule
