/* SPDX-License-Identifier: Apache-2.0
 *
 * The C library alone: encode a weight, multiply by it, requantise. No Python, no allocation.
 *
 *     cc multiply.c $(cube24 dpi --cflags --libs) -o multiply && ./multiply
 */
#include <stdio.h>

#include "cube24.h"

enum { M = 2, N = 2, K = 8 };

static int failed(const char *what, int status)
{
    if (status != CUBE24_OK)
        fprintf(stderr, "%s: %s\n", what, cube24_status_text(status));
    return status != CUBE24_OK;
}

int main(void)
{
    static const int8_t weight[N * K] = {0, 5, 0, -3, 1, 0, 0, 2,
                                         4, 0, 0, 0, 0, 0, -6, 7};
    static const int8_t a[M * K] = {1, 2, 3, 4, 5, 6, 7, 8,
                                    -1, 0, 1, 0, -1, 0, 1, 0};
    const cube24_word to_int8 = {0.5F, 0, 0, 3, 1}; /* scale, MCB, shift, offset, signed */
    int8_t dense[N * K / 2];
    uint8_t index[N * K / 8], bytes[M * N];
    int32_t c[M * N];
    uint64_t word;

    if (failed("encode", cube24_encode(weight, N, K, CUBE24_POLICY_ERROR, 0, dense, index, NULL)) ||
        failed("multiply", cube24_matmul(a, dense, index, M, N, K, NULL, 0, c, NULL)) ||
        failed("word", cube24_write_words(&to_int8, 1, 0, &word, NULL)) ||
        failed("requantise", cube24_requantise(c, M, N, &word, 1, 0, 0, bytes, NULL)))
        return 1;
    for (int i = 0; i < M * N; i++)
        printf("%4d -> %3d\n", (int)c[i], (int)(int8_t)bytes[i]);
    return 0;
}
