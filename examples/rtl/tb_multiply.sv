// The multiplier by enumeration: all 2^16 products, beside additions of the activation.
module tb_multiply;

  logic signed [7:0] activation, weight;
  logic signed [15:0] product;

  cube24_multiply dut (
      .activation(activation),
      .weight(weight),
      .product(product)
  );

  int wrong, sum;

  initial begin
    wrong = 0;
    for (int a = -128; a < 128; a++) begin
      sum = -128 * a;
      for (int w = -128; w < 128; w++) begin
        activation = a[7:0];
        weight = w[7:0];
        #1;
        if ({{16{product[15]}}, product} !== sum) wrong = wrong + 1;
        sum = sum + a;
      end
    end
    if (wrong == 0) $display("PASS cube24_multiply: 65536 products");
    else $fatal(1, "FAIL cube24_multiply: %0d of 65536 products are wrong", wrong);
    $finish;
  end

endmodule
