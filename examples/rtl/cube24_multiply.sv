// One int8 multiplier. It is a module of its own so that proofs can cut it out; its 2^16 products
// are enumerated in simulation instead (tb_multiply.sv).
module cube24_multiply (
    input  logic signed [ 7:0] activation,
    input  logic signed [ 7:0] weight,
    output logic signed [15:0] product
);

  assign product = activation * weight;

endmodule
