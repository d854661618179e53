/* SPDX-License-Identifier: Apache-2.0
 *
 * The sizes of a fractal, the block of a matrix that the unit loads as one piece, in one place.
 * They hold for int8. What the bytes of a fractal mean is in format.h, the order in which fractals
 * follow each other in cube24.h.
 *
 * Source: the Ascend C documentation of MmadWithSparse and LoadDataWithSparse, as docs/format.md
 * ("Layouts", "Convolution weights") and docs/unit.md ("The sparse datapath") give it.
 */
#ifndef CUBE24_FRACTAL_H
#define CUBE24_FRACTAL_H

enum {
    M0 = 16, /* rows of a fractal of a and c */
    N0 = 16, /* columns of a fractal of b and c; they are rows of the stored (N, K) matrix */
    K0 = 32, /* bytes of a fractal row of a and b, and k of a dense step */
    C0 = K0, /* channels of one block of NC1HWC0: a block fills a fractal row */

    INDEX_K0 = 8,               /* index bytes that go with a fractal row of dense bytes */
    STEP_GROUPS = 2 * INDEX_K0, /* groups of a column in a sparse step: two share an index byte */
    SPARSE_K = 2 * K0,          /* k of a sparse step: b holds two elements of four */

    FRACTAL = M0 * K0,             /* 512 bytes of a or b */
    INDEX_FRACTAL = N0 * INDEX_K0, /* 128 bytes of index */
    C_FRACTAL = M0 * N0            /* 256 int32 of c, 1024 bytes */
};

#endif
