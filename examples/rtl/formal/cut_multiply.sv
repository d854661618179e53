// Stands for cube24_multiply where the products are cut out: it tells which two factors met, also
// in a sum: with {activation, weight}, which is linear, exchanged factors give the same one.
module cube24_multiply (
    input  logic signed [ 7:0] activation,
    input  logic signed [ 7:0] weight,
    output logic signed [15:0] product
);

  assign product = {activation, activation ^ weight};

endmodule
