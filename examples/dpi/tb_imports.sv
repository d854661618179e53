// SPDX-License-Identifier: Apache-2.0
//
// Every import of cube24_pkg against values that SystemVerilog computes itself, from docs/format.md
// and docs/unit.md in the plainest way. Prints PASS, or FAIL with the first differences.
//
//     SIMULATION [+seed=N] [+rounds=N] [+flip=N]     flip: turn check N around, so that it must fail
module tb_imports;

  import cube24_pkg::*;

  // Arrays are as long as the largest sizes below need; the sizes say how much of them counts.
  localparam int LARGE = 1 << 15;
  byte weight[LARGE], dense[LARGE], index[LARGE], back[LARGE], a[LARGE], zz[LARGE], zn[LARGE];
  byte zi[LARGE], x[LARGE], blocks[LARGE], bytes[LARGE];
  int bias[256], c[LARGE], nz[LARGE], sums[LARGE];
  longint unsigned words[256];
  shortint unsigned halves[LARGE];
  byte four[4], two[2], short_one[3];

  int checks = 0, failed = 0, flip = 0;

  // --- checks and random numbers ------------------------------------------------------------------

  function automatic void check(input int got, input int wanted, input string what);
    checks++;
    if ((got == wanted) == (checks == flip)) begin
      failed++;
      if (failed <= 10) $display("check %0d, %s: got %0d, wanted %0d", checks, what, got, wanted);
    end
  endfunction

  function automatic void good(input int status, input string what);
    check(int'(status), 0, what);
    if (status != OK && failed <= 10) $display("    %s", message(status));
  endfunction

  function automatic int below(input int bound);
    return int'($urandom() % 32'(bound));
  endfunction

  // One of four is an extreme.
  function automatic byte any_byte();
    int draw = below(8);
    return (draw == 0) ? -8'sd128 : (draw == 1) ? 8'sd127 : byte'($urandom());
  endfunction

  function automatic int up(input int size, input int block);
    return (size + block - 1) / block * block;
  endfunction

  // --- the rules, by hand -------------------------------------------------------------------------

  // The index pair of a group by which elements are not zero; docs/format.md, "The encoding".
  function automatic int pair_of(input bit [3:0] mask);
    case (mask)
      4'b0000, 4'b0001, 4'b0011: return 0;  // i0 0, i1 0
      4'b0010: return 1;  // i0 1
      4'b0100: return 2;  // i0 2
      4'b0101: return 0 + 4 * 1;
      4'b0110: return 1 + 4 * 1;
      4'b1000, 4'b1001: return 0 + 4 * 2;
      4'b1010: return 1 + 4 * 2;
      4'b1100: return 2 + 4 * 2;
      default: return -1;  // more than two
    endcase
  endfunction

  // What stands in slot s: nothing, if no non-zero element is left for it.
  function automatic byte slot_of(input bit [3:0] mask, input byte e0, input byte e1, input byte e2,
                                  input byte e3, input int s);
    case (mask)
      4'b0001: return (s == 0) ? e0 : 0;
      4'b0010: return (s == 0) ? e1 : 0;
      4'b0100: return (s == 0) ? e2 : 0;
      4'b1000: return (s == 0) ? 0 : e3;
      4'b0011: return (s == 0) ? e0 : e1;
      4'b0101: return (s == 0) ? e0 : e2;
      4'b1001: return (s == 0) ? e0 : e3;
      4'b0110: return (s == 0) ? e1 : e2;
      4'b1010: return (s == 0) ? e1 : e3;
      4'b1100: return (s == 0) ? e2 : e3;
      default: return 0;
    endcase
  endfunction

  function automatic longint limited(input longint sum, input int unsigned flags);
    if ((flags & WRAP) != 0) return longint'(int'(sum));
    return (sum > 64'sd2147483647) ? 64'sd2147483647 :
           (sum < -64'sd2147483648) ? -64'sd2147483648 : sum;
  endfunction

  // The pair of a group in rows of index bytes.
  function automatic int pair_at(input int row, input int row_bytes, input int group);
    return (int'(unsigned'(index[row*row_bytes+group/2])) >> (4 * (group % 2))) % 16;
  endfunction

  // One result from rows: steps of 32 of k dense, 64 sparse.
  function automatic int result_at(input int row, input int column, input int k, input int n_bias,
                                   input bit sparse, input int unsigned flags);
    longint total = longint'(n_bias), whole = 0, step = 0;
    int wide = sparse ? 64 : 32, stored = up(k, 8);
    for (int i = 0; i < k; i++) begin
      if (!sparse) step += longint'(a[row*k+i]) * longint'(weight[column*k+i]);
      else if (i % 4 == 0)
        for (int s = 0; s < 2; s++) begin
          int pair = pair_at(column, stored / 8, i / 4);
          int chosen = (s == 0) ? pair % 4 : pair / 4 + 1;
          bit none = (s == 0) ? pair % 4 == 3 : pair / 4 == 3;
          if (s == 1 && pair == 2 && (flags & PAIR20_TABLE) != 0) chosen = 2;
          if (!none && i + chosen < k)
            step += longint'(a[row*k+i+chosen]) * longint'(dense[column*stored/2+i/2+s]);
        end
      if (i % wide == wide - 1 || i == k - 1) begin
        if ((flags & GRAIN_INSTRUCTION) == 0) total = limited(total + step, flags);
        whole += step;
        step = 0;
      end
    end
    if ((flags & GRAIN_INSTRUCTION) != 0) total = limited(total + whole, flags);
    return int'(total);
  endfunction

  // --- groups -------------------------------------------------------------------------------------

  function automatic void every_mask();
    for (int mask = 0; mask < 16; mask++) begin
      int pair, status;
      for (int e = 0; e < 4; e++) four[e] = mask[e] ? byte'(below(127) + 1) : 0;
      status = encode_group(four, POLICY_ERROR, two, pair);
      if (pair_of(4'(mask)) < 0) begin
        check(int'(status), int'(E_VIOLATION), "encode_group, three or four");
        continue;
      end
      good(status, "encode_group");
      check(int'(pair), int'(pair_of(4'(mask))), "index pair");
      for (int s = 0; s < 2; s++)
        check(int'(two[s]),
              int'(slot_of(4'(mask), four[0], four[1], four[2], four[3], s)), "slot");
      weight[0:3] = four;
      good(decode_group(two, pair, four), "decode_group");
      for (int e = 0; e < 4; e++) check(int'(four[e]), int'(weight[e]), "decoded");
    end
  endfunction

  function automatic void every_pair();
    for (int e = 0; e < 4; e++) four[e] = byte'(10 + e);
    for (int pair = 0; pair < 16; pair++)
      for (int how = 0; how < 4; how++) begin
        int unsigned flags = (how[0] ? INDEX3_NOTHING : 0) + (how[1] ? PAIR20_TABLE : 0);
        bit three = pair % 4 == 3 || pair / 4 == 3;
        int status = select_group(four, pair, flags, two);
        if (three && !how[0]) check(int'(status), int'(E_REFUSED), "index 3");
        else begin
          good(status, "select_group");
          check(int'(two[0]), (pair % 4 == 3) ? 0 : int'(10 + pair % 4), "slot 0 selects");
          check(int'(two[1]), (pair / 4 == 3) ? 0 : (how[1] && pair == 2) ? 12 :
                int'(11 + pair / 4), "slot 1 selects");
        end
      end
  endfunction

  // --- matrices -----------------------------------------------------------------------------------

  // An n x k weight, two of four.
  function automatic void draw_weight(input int n, input int k);
    for (int i = 0; i < n * k; i++) weight[i] = any_byte();
    for (int row = 0; row < n; row++)
      for (int g = 0; g < k; g += 4) begin
        int keep = below(6);  // which pair of elements stays
        for (int e = 0; e < 4 && g + e < k; e++)
          if (!((keep < 3 && (e == 0 || e == keep + 1)) || (keep == 3 && (e == 1 || e == 2)) ||
                (keep == 4 && (e == 1 || e == 3)) || (keep == 5 && e >= 2)) || below(5) == 0)
            weight[row*k+g+e] = 0;
      end
  endfunction

  function automatic void check_codec(input int n, input int k);
    int stored = up(k, 8), total, row, group, fault, dropped;
    draw_weight(n, k);
    check(int'(k_stored(k)), int'(stored), "k_stored");
    good(encode(weight, n, k, POLICY_ERROR, dense, index), "encode");
    for (int r = 0; r < n; r++)
      for (int g = 0; g < stored / 4; g++) begin
        byte e[4];
        bit [3:0] mask;
        for (int i = 0; i < 4; i++) begin
          e[i] = (4 * g + i < k) ? weight[r*k+4*g+i] : 0;
          mask[i] = e[i] != 0;
        end
        check(int'(pair_at(r, stored / 8, g)), int'(pair_of(mask)), "encode: index");
        for (int s = 0; s < 2; s++)
          check(int'(dense[r*stored/2+2*g+s]),
                int'(slot_of(mask, e[0], e[1], e[2], e[3], s)), "encode: dense");
      end
    good(decode(dense, index, n, k, 1, back), "decode");
    for (int i = 0; i < n * k; i++) check(int'(back[i]), int'(weight[i]), "decode");
    good(find_excess(weight, n, k, total, row, group), "find_excess");
    check(int'(total), 0, "no excess");
    good(find_refused(dense, index, n, k, 1, total, row, group, fault), "find_refused");
    check(int'(total), 0, "nothing refused");
    good(prune(weight, n, k, POLICY_MAGNITUDE, back, dropped), "prune");
    check(int'(dropped), 0, "nothing to prune");

    // One group of three, and one index of 3.
    if (k >= 4) begin
      int at = below(n), g = below(k / 4);
      for (int e = 0; e < 3; e++) weight[at*k+4*g+e] = byte'(3 - e);
      weight[at*k+4*g+3] = 0;
      check(int'(encode(weight, n, k, POLICY_ERROR, zn, zi)), int'(E_VIOLATION), "excess");
      good(find_excess(weight, n, k, total, row, group), "find_excess");
      check(int'(total * 65536 + row * 256 + group), int'(65536 + at * 256 + g), "where");
      good(prune(weight, n, k, POLICY_MAGNITUDE, back, dropped), "prune");
      check(int'(dropped), 1, "one weight is dropped");
      check(int'(back[at*k+4*g+2]), 0, "the smallest");
      index[at*stored/8+g/2] = byte'(unsigned'(index[at*stored/8+g/2]) | (8'h3 << (4 * (g % 2))));
      check(int'(decode(dense, index, n, k, 0, back)), int'(E_REFUSED), "index 3");
      good(find_refused(dense, index, n, k, 0, total, row, group, fault), "find_refused");
      check(int'(row * 256 + group), int'(at * 256 + g), "where the 3 is");
      check(int'(fault), int'(FAULT_INDEX3), "what is wrong");
    end
  endfunction

  function automatic void check_layouts(input int n, input int width);
    int rows = up(n, 16);
    for (int i = 0; i < n * width; i++) a[i] = byte'(below(127) + 1);
    for (int i = 0; i < LARGE; i++) begin
      zz[i] = -1;
      zn[i] = -1;
      zi[i] = -1;
    end
    good(nd_to_zz(a, n, width, 32, zz), "nd_to_zz");
    good(nd_to_zn(a, n, width, 8, zn), "nd_to_zn");
    good(nd_to_nz(a, n, width, zi), "nd_to_nz");
    for (int r = 0; r < rows; r++)
      for (int i = 0; i < up(width, 32); i++) begin
        int wanted = (r < n && i < width) ? int'(a[r*width+i]) : 0;
        check(int'(zz[(r/16*(up(width, 32)/32)+i/32)*512+r%16*32+i%32]), wanted, "Zz");
        check(int'(zi[(i/32*(rows/16)+r/16)*512+r%16*32+i%32]), wanted, "Nz");
        if (i < up(width, 8)) check(int'(zn[(i/8*(rows/16)+r/16)*128+r%16*8+i%8]), wanted, "Zn");
      end
    good(zz_to_nd(zz, n, width, 32, back), "zz_to_nd");
    for (int i = 0; i < n * width; i++) check(int'(back[i]), int'(a[i]), "from Zz");
    good(zn_to_nd(zn, n, width, 8, x), "zn_to_nd");
    for (int i = 0; i < n * width; i++) check(int'(x[i]), int'(a[i]), "from Zn");
    good(nz_to_nd(zi, n, width, bytes), "nz_to_nd");
    for (int i = 0; i < n * width; i++) check(int'(bytes[i]), int'(a[i]), "from Nz");
    for (int i = 0; i < n * width; i++) sums[i] = int'($urandom());
    good(nd_to_nz_int(sums, n, width, nz), "nd_to_nz_int");
    for (int r = 0; r < rows; r++)
      for (int i = 0; i < up(width, 16); i++)
        check(int'(nz[(i/16*(rows/16)+r/16)*256+r%16*16+i%16]),
              (r < n && i < width) ? int'(sums[r*width+i]) : 0, "Nz of int");
    good(nz_to_nd_int(nz, n, width, c), "nz_to_nd_int");
    for (int i = 0; i < n * width; i++) check(int'(c[i]), int'(sums[i]), "from Nz of int");
  endfunction

  function automatic void check_index_values(input int count);
    for (int i = 0; i < count; i++) bytes[i] = byte'(below(4));
    good(pack_index(bytes, count, back), "pack_index");
    for (int i = 0; i < count; i++)
      check(int'((unsigned'(int'(back[i/4])) >> (2 * (i % 4))) % 4), int'(bytes[i]), "packed");
    good(unpack_index(back, count, x), "unpack_index");
    for (int i = 0; i < count; i++) check(int'(x[i]), int'(bytes[i]), "unpacked");
    bytes[count-1] = 4;
    check(int'(pack_index(bytes, count, back)), int'(E_RANGE), "no 2-bit value");
  endfunction

  function automatic void check_images(input int channels, input int h, input int w);
    int c1 = up(channels, 32) / 32, kh = 1 + below(3), kw = 1 + below(3), sh = 1 + below(2);
    int sw = 1 + below(3), dh = 1 + below(2), dw = 1, top = below(3), left = below(2), bottom = 3;
    int right = 2, height, width, m_start, m, pad = -7;
    for (int i = 0; i < channels * h * w; i++) x[i] = byte'(below(127) + 1);
    good(nchw_to_nc1hwc0(x, 1, channels, h, w, blocks), "nchw_to_nc1hwc0");
    for (int ch = 0; ch < 32 * c1; ch++)
      for (int i = 0; i < h * w; i++)
        check(int'(blocks[(ch/32*h*w+i)*32+ch%32]),
              (ch < channels) ? int'(x[ch*h*w+i]) : 0, "NC1HWC0");
    good(nc1hwc0_to_nchw(blocks, 1, channels, h, w, back), "nc1hwc0_to_nchw");
    for (int i = 0; i < channels * h * w; i++) check(int'(back[i]), int'(x[i]), "NCHW");

    good(image_output(c1, h, w, kh, kw, sh, sw, dh, dw, top, left, bottom, right, height, width),
         "image_output");
    check(int'(height), int'((h + top + bottom - (kh - 1) * dh - 1) / sh + 1), "height");
    check(int'(width), int'((w + left + right - (kw - 1) * dw - 1) / sw + 1), "width");
    m_start = below(height * width);
    m = 1 + below(height * width - m_start);
    good(load3d(blocks, c1, h, w, kh, kw, sh, sw, dh, dw, top, left, bottom, right, m_start, m, 0,
                c1 * kh * kw * 32, pad, zz), "load3d");
    for (int row = 0; row < up(m, 16); row++)
      for (int tap = 0; tap < c1 * kh * kw; tap++)
        for (int lane = 0; lane < 32; lane++) begin
          int at = m_start + row, ch = tap / (kh * kw) * 32 + lane;
          int y = at / width * sh + tap / kw % kh * dh - top, z = at % width * sw + tap % kw * dw - left;
          int wanted = 0;
          if (row < m) begin
            wanted = pad;
            if (y >= 0 && y < h && z >= 0 && z < w)
              wanted = (ch < channels) ? int'(x[(ch*h+y)*w+z]) : 0;
          end
          check(int'(zz[(row/16*c1*kh*kw+tap)*512+row%16*32+lane]), wanted, "img2col");
        end

    // The weight of the same convolution.
    for (int i = 0; i < 2 * channels * kh * kw; i++) weight[i] = any_byte();
    good(conv_to_matrix(weight, 2, channels, kh, kw, bytes), "conv_to_matrix");
    for (int o = 0; o < 2; o++)
      for (int ch = 0; ch < 32 * c1; ch++)
        for (int tap = 0; tap < kh * kw; tap++)
          check(int'(bytes[((o*c1+ch/32)*kh*kw+tap)*32+ch%32]),
                (ch < channels) ? int'(weight[(o*channels+ch)*kh*kw+tap]) : 0, "K order");
  endfunction

  // From rows to rows, and the same on fractals.
  function automatic void check_products(input int m, input int n, input int k,
                                         input int unsigned flags);
    int stored = up(k, 8), row, group, status;
    int unsigned dense_flags = flags & (WRAP + GRAIN_INSTRUCTION);
    for (int i = 0; i < m * k; i++) a[i] = any_byte();
    for (int i = 0; i < n * k; i++) weight[i] = any_byte();
    for (int i = 0; i < n * stored / 2; i++) dense[i] = any_byte();
    for (int i = 0; i < n * stored / 8; i++) begin
      index[i] = byte'($urandom());
      if ((flags & INDEX3_NOTHING) == 0) index[i] = index[i] & ~((index[i] >> 1) & 8'h55);
    end
    for (int i = 0; i < n; i++)
      bias[i] = below(2) == 1 ? 2147483647 - below(300000) : -2147483647 + below(300000);

    good(matmul_dense(a, weight, m, n, k, bias, 1, dense_flags, c), "matmul_dense");
    for (int r = 0; r < m; r++)
      for (int i = 0; i < n; i++)
        check(int'(c[r*n+i]), int'(result_at(r, i, k, bias[i], 0, dense_flags)), "dense c");
    good(matmul_sparse(a, dense, index, m, n, k, bias, 1, flags, c, row, group), "matmul_sparse");
    for (int r = 0; r < m; r++)
      for (int i = 0; i < n; i++)
        check(int'(c[r*n+i]), int'(result_at(r, i, k, bias[i], 1, flags)), "sparse c");

    // Fractals: dense, then 2:4 with the rows of a filled up to 64 of k.
    good(nd_to_zz(a, m, k, 32, zz), "a");
    good(nd_to_zn(weight, n, k, 32, zn), "b");
    good(mmad_start(nz, m, n, bias, 1), "mmad_start");
    good(mmad(zz, zn, m, n, k, dense_flags, nz), "mmad");
    good(nz_to_nd_int(nz, m, n, sums), "c");
    for (int r = 0; r < m; r++)
      for (int i = 0; i < n; i++)
        check(int'(sums[r*n+i]), int'(result_at(r, i, k, bias[i], 0, dense_flags)), "mmad c");
    for (int r = 0; r < m; r++)
      for (int i = 0; i < up(k, 64); i++) bytes[r*up(k, 64)+i] = (i < k) ? a[r*k+i] : 99;
    good(nd_to_zz(bytes, m, up(k, 64), 32, zz), "a of 2:4");
    good(nd_to_zn(dense, n, stored / 2, 32, zn), "dense");
    good(nd_to_zn(index, n, stored / 8, 8, zi), "index");
    good(mmad_start(nz, m, n, bias, 0), "mmad_start");
    good(mmad_sparse(zz, zn, zi, m, n, k, flags, nz), "mmad_sparse");
    good(nz_to_nd_int(nz, m, n, sums), "c");
    for (int r = 0; r < m; r++)
      for (int i = 0; i < n; i++)
        check(int'(sums[r*n+i]), int'(result_at(r, i, k, 0, 1, flags)), "mmad_sparse c");

    // An index of 3 that is refused, with its place.
    for (int i = 0; i < n * stored / 8; i++) index[i] = 0;
    group = below(up(k, 4) / 4);
    row = below(n);
    index[row*stored/8+group/2] = byte'(8'h0c << (4 * (group % 2)));
    begin
      int at_row, at_group;
      good(nd_to_zn(index, n, stored / 8, 8, zi), "index");
      check(int'(find_index3(zi, n, k, at_row, at_group)), int'(E_REFUSED), "find_index3");
      check(int'(at_row * 65536 + at_group), int'(row * 65536 + group), "where");
      status = matmul_sparse(a, dense, index, m, n, k, bias, 0, 0, c, at_row, at_group);
      check(int'(status), int'(E_REFUSED), "matmul_sparse");
      check(int'(at_row * 65536 + at_group), int'(row * 65536 + group), "where in the weight");
    end
  endfunction

  function automatic void check_accumulator();
    for (int i = 0; i < 200; i++) begin
      int held = (below(2) == 1) ? int'($urandom()) : 2147483647 - below(3), sum, got;
      sum = (below(2) == 1) ? int'($urandom()) : below(5) - 2;
      if (below(2) == 1) held = -held;
      good(accumulate(held, sum, 0, got), "accumulate");
      check(got, int'(limited(longint'(held) + longint'(sum), 0)), "saturates");
      good(accumulate(held, sum, WRAP, got), "accumulate");
      check(got, int'(limited(longint'(held) + longint'(sum), WRAP)), "wraps");
    end
  endfunction

  // --- requantisation -----------------------------------------------------------------------------

  // 2 to a power.
  function automatic real power(input int exponent);
    real value = 1.0;
    for (int i = 0; i < exponent; i++) value *= 2.0;
    for (int i = exponent; i < 0; i++) value /= 2.0;
    return value;
  endfunction

  function automatic longint nearest(input real value);
    real floor = $floor(value);
    longint whole = longint'($rtoi(floor));
    if (value - floor > 0.5 || (value - floor == 0.5 && whole % 2 != 0)) return whole + 1;
    return whole;
  endfunction

  // Sums and scales whose products fp32 holds exactly: 12 bits times 11.
  function automatic void check_requantisation(input int m, input int n, input int unsigned flags);
    int shift[256], offset[256];
    bit shifts[256], is_signed[256];
    real scale[256];
    real alpha = (flags & RELU) != 0 ? -0.375 : 0.0;
    int unsigned reading = flags & (OFFSET_UNSIGNED + SHIFT_N);
    for (int i = 0; i < n; i++) begin
      int mantissa = 1024 + below(1024), exponent = 115 + below(14), field = below(16), got_shift;
      int got_offset, low = below(512);
      bit negative = below(4) == 0, got_shifts, got_signed;
      longint unsigned word;
      real got_scale;
      shifts[i] = below(2) == 1;
      is_signed[i] = below(2) == 1;
      scale[i] = real'(mantissa) * power(exponent - 137) * (negative ? -1.0 : 1.0);
      shift[i] = field + ((flags & SHIFT_N) != 0 ? 0 : 1);
      offset[i] = (low > 255 && (flags & OFFSET_UNSIGNED) == 0) ? low - 512 : low;
      word = {17'd0, is_signed[i], 9'(low), shifts[i], shifts[i] ? 4'(field) : 4'd0, negative,
              8'(exponent), 10'(mantissa), 13'd0};
      good(write_word(scale[i], shifts[i], shift[i], offset[i], is_signed[i], reading, words[i]),
           "write_word");
      check(int'(words[i] == word), 1, "word");
      good(read_word(word, reading, got_scale, got_shifts, got_shift, got_offset, got_signed),
           "read_word");
      check(int'(got_scale == scale[i]), 1, "scale of a word");
      check(int'({got_shifts, got_signed}), int'({shifts[i], is_signed[i]}), "MCB and sign");
      check(int'(got_offset), int'(offset[i]), "offset of a word");
      if (shifts[i]) check(int'(got_shift), int'(shift[i]), "shift of a word");
    end
    for (int i = 0; i < m * n; i++) sums[i] = below(8191) - 4095;
    good(requantise(sums, m, n, words, n, alpha, flags, bytes), "requantise");
    for (int i = 0; i < m * n; i++) begin
      int column = i % n;
      longint sum = longint'(sums[i]);
      real y;
      longint moved;
      if (shifts[column]) sum = sum >>> shift[column];  // int16 holds it
      y = real'(sum) * ((flags & RELU) != 0 && sum < 0 ? alpha : scale[column]);
      y = (y < -256.0) ? -256.0 : (y > 255.0) ? 255.0 : y;
      moved = nearest(y) + longint'(offset[column]);
      if (is_signed[column]) moved = (moved < -128) ? -128 : (moved > 127) ? 127 : moved;
      else moved = (moved < 0) ? 0 : (moved > 255) ? 255 : moved;
      check(int'(unsigned'(bytes[i])), int'(moved & 255), "REQ8");
    end

    // fp16: none of the two beside it is nearer.
    good(dequantise(sums, m, n, words, n, alpha, flags & RELU, halves), "dequantise");
    for (int i = 0; i < m * n; i++) begin
      int column = i % n;
      real y = real'(sums[i]) * ((flags & RELU) != 0 && sums[i] < 0 ? alpha : scale[column]);
      int size = int'(halves[i]) % 32768;
      real off = ((y < 0.0) ? -y : y) - half_value(size);
      bit negative = (sums[i] < 0) ^ ((flags & RELU) != 0 && sums[i] < 0 ? alpha < 0.0 :
                     scale[column] < 0.0);
      check(int'(int'(halves[i]) / 32768), int'(negative), "sign of fp16");
      if (off < 0.0) off = -off;
      check(int'(closer(off, y, size + 1, size) || (size > 0 && closer(off, y, size - 1, size))),
            0, "DEQF16");
    end
  endfunction

  function automatic real half_value(input int half);
    return (half / 1024 == 0) ? real'(half) * power(-24)
                              : real'(1024 + half % 1024) * power(half / 1024 - 25);
  endfunction

  // Whether half `other` is nearer to |y|, or as near and even.
  function automatic bit closer(input real off, input real y, input int other, input int size);
    real there = ((y < 0.0) ? -y : y) - half_value(other);
    if (there < 0.0) there = -there;
    return there < off || (there == off && size % 2 == 1);
  endfunction

  // --- errors -------------------------------------------------------------------------------------

  function automatic void check_errors();
    int total, row, group;
    check(int'(encode(short_one, 1, 4, POLICY_ERROR, dense, index)), int'(E_ARRAY), "short");
    check(int'(encode(weight, 1, 8, POLICY_ERROR, short_one, index)), int'(E_ARRAY), "short");
    check(int'(encode(weight, -1, 8, POLICY_ERROR, dense, index)), int'(E_SIZE), "negative");
    check(int'(encode(weight, 1, 8, 9, dense, index)), int'(E_ARGUMENT), "policy");
    check(int'(find_excess(short_one, 2, 2, total, row, group)), int'(E_ARRAY), "short");
    check(int'(total + row + group), -2, "outputs of a refused call");
    check(int'(message(OK) == "done"), 1, "message");
    check(int'(message(E_ARRAY) != message(E_SIZE)), 1, "messages differ");
  endfunction

  initial begin
    int rounds = 40, seed = 24;
    void'($value$plusargs("rounds=%d", rounds));
    void'($value$plusargs("seed=%d", seed));
    void'($value$plusargs("flip=%d", flip));
    void'($urandom(seed));
    every_mask();
    every_pair();
    check_accumulator();
    check_errors();
    for (int round = 0; round < rounds; round++) begin
      check_codec(1 + below(34), 1 + below(140));
      check_layouts(1 + below(50), 1 + below(100));
      check_index_values(1 + below(40));
      check_images(1 + below(40), 2 + below(5), 2 + below(6));
      check_products(1 + below(35), 1 + below(35), 1 + below(150), 32'(below(16)) * WRAP);
      check_requantisation(1 + below(9), 1 + below(80), 32'(below(8)) * OFFSET_UNSIGNED);
    end
    if (failed != 0) $fatal(1, "FAIL: %0d of %0d checks, seed %0d", failed, checks, seed);
    $display("PASS: %0d checks, seed %0d", checks, seed);
    $finish;
  end

endmodule
