/* SPDX-License-Identifier: Apache-2.0
 * Around the kernels of the codec, inside the library: matrices whose rows are padded, copied to
 * and from small buffers, and the encoder of blocks. */
#ifndef CUBE24_CODEC_H
#define CUBE24_CODEC_H

#include <stddef.h>
#include <stdint.h>

#include "paths.h"

/* Elements that a function keeps on its stack, whole blocks: they stay in the first cache. */
enum { CUBE24_BUFFER = 8 * CUBE24_BLOCK };

/* From how many bytes of weight on outputs are written past the caches: where input and output
 * together leave the last cache, reading a line only to overwrite it is what costs. On a Zen 4 with
 * 32 MiB of it, a probe of the traffic of encode without its work, in GB/s with plain stores and
 * with stores past the caches: 8 MiB 33, 41; 12 MiB 23, 42; 16 MiB 12, 25; 256 MiB 12, 19; of
 * decode: 8 MiB 32, 26; 12 MiB 20, 27; 16 MiB 14, 25; 256 MiB 13, 22. */
enum { CUBE24_PAST_CACHE = 12 << 20 };

/* The steps of blocks that follow each other. */
extern const struct cube24_steps cube24_nd_steps;

/* n rows of k elements, as a matrix whose rows have `stored` elements: padded with zeros. */
struct cube24_rows {
    size_t n, k, stored;
};

/* Copy the `count` elements from place `at` of the padded matrix; and back, leaving out what is
 * padding (1 if something in it is not zero). */
void cube24_gather(const struct cube24_rows *rows, const int8_t *weight, size_t at, size_t count,
                   int8_t *out);
int cube24_scatter(const struct cube24_rows *rows, const int8_t *from, size_t at, size_t count,
                   int8_t *weight);

/* What is in use while a weight is encoded. */
struct cube24_encoder {
    struct cube24_codec_kernels kernels;
    int policy, past;
    cube24_changes changes; /* under CUBE24_POLICY_ERROR: what is in excess */
};

/* Look at policy and flags for a weight of `size` elements; 0 if they are refused. */
int cube24_encoder_start(struct cube24_encoder *encoder, int policy, uint32_t flags, size_t size);

/* Encode whole blocks, by the policy. */
void cube24_encode_blocks(struct cube24_encoder *encoder, const int8_t *weight,
                          const struct cube24_steps *steps, size_t blocks, int8_t *dense,
                          uint8_t *index);

/* Encode elements that follow each other, a multiple of 8. */
void cube24_encode_elements(struct cube24_encoder *encoder, const int8_t *weight, size_t count,
                            int8_t *dense, uint8_t *index);

/* Encode n rows of k elements, each padded to `stored`, a multiple of 8. */
void cube24_encode_rows(struct cube24_encoder *encoder, const int8_t *weight,
                        const struct cube24_rows *rows, int8_t *dense, uint8_t *index);

/* Encode 16 rows of an n x k weight, from row n1 * 16 on, into the whole Zn arrays. */
void cube24_encode_zn_rows(struct cube24_encoder *encoder, const int8_t *weight, size_t n,
                           size_t k, size_t n1, int8_t *dense, uint8_t *index);

/* The status for what the encoder saw, which also goes to *changes (may be NULL). */
int cube24_encoder_end(const struct cube24_encoder *encoder, cube24_changes *changes);

/* 1 if the Zn arrays of an n x k weight can exist. */
int cube24_zn_exists(size_t n, size_t k);

/* The blocks of Zn: from a block of the same 8 rows to the next along k. Row r and the blocks of
 * column 64 * k1 on start at cube24_zn_dense and cube24_zn_index. */
struct cube24_steps cube24_zn_steps(size_t n, size_t k);
size_t cube24_zn_row(size_t n, size_t k1, size_t r);

#endif
