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

  generate
    for (genvar i = 0; i < K_STEP; i++) begin : g_element
      assign masked[8*i+:8] = (k > i[K_BITS-1:0]) ? activations[8*i+:8] : 8'd0;
    end
  endgenerate

endmodule
