// The selection rule for one group of four: slot 0 is element i0, slot 1 is element i1 + 1.
//
// The index alone decides; whether a weight is zero does not matter. An index of 3 selects nothing,
// so that its slot adds zero, and raises `illegal`. pair20_table is the other reading of the pair
// (2, 0): its slot 1 is element 2.
module cube24_select (
    input  logic [31:0] activations,  // element 0 in 7:0, element 3 in 31:24
    input  logic [ 3:0] index,        // i0 in 1:0, i1 in 3:2
    input  logic        pair20_table,
    output logic [ 7:0] slot0,
    output logic [ 7:0] slot1,
    output logic        illegal
);

  logic [7:0] element0, element1, element2, element3;
  logic [1:0] i0, i1;

  assign {element3, element2, element1, element0} = activations;
  assign {i1, i0} = index;

  always_comb begin
    case (i0)
      2'd0: slot0 = element0;
      2'd1: slot0 = element1;
      2'd2: slot0 = element2;
      default: slot0 = 8'd0;
    endcase
    case (i1)
      2'd0: slot1 = (pair20_table && i0 == 2'd2) ? element2 : element1;
      2'd1: slot1 = element2;
      2'd2: slot1 = element3;
      default: slot1 = 8'd0;
    endcase
  end

  assign illegal = i0 == 2'd3 || i1 == 2'd3;

endmodule
