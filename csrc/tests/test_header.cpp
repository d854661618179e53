// SPDX-License-Identifier: Apache-2.0
// Every header is C++ as well (those of kernels where the flags allow their instructions), and the functions of cube24.h link by their C names.
#include "codec.h"
#include "cube24.h"
#include "datapath.h"
#include "format.h"
#include "fractal.h"
#include "layer.h"
#include "paths.h"
#include "requant.h"
#include "sizes.h"

#include "kernels/tables.h"
#ifdef TILE
#include TILE
#include "kernels/k_order.h"
#include "kernels/transpose.h"
#endif

#include <cstdio>

int main()
{
    const int8_t weight[4] = {0, 0, 0, 7};
    int8_t dense[4];
    uint8_t index;
    const int status =
        cube24_encode(weight, 1, 4, CUBE24_POLICY_ERROR, 0, dense, &index, nullptr);
    const bool holds = status == CUBE24_OK && dense[0] == 0 && dense[1] == 7 && index == 0x8;
    std::printf("test_header: 1 checks, %d failed\n", holds ? 0 : 1);
    return holds ? 0 : 1;
}
