/* SPDX-License-Identifier: Apache-2.0
 *
 * Code paths: kernels for an instruction set, chosen at run time. Whatever does not depend on the
 * instruction set is done once, around all of them: codec.c, decode.c and conv.c have rows, tails,
 * policies and fault reports, mmad.c the refusals, layer.c img2col and chunks; load3d.c, layout.c and
 * bits.c know no paths.
 *
 * A path has up to three tables of kernels: for the codec, for multiply-add and for whole layers.
 * Each is a file of its own, kernels/codec_NAME.c, kernels/mmad_NAME.c and kernels/layer_NAME.c,
 * with `static` helpers only: it is compiled with flags that other machines cannot run. To add one:
 * write the file, declare its table here, name it in the table of paths.c and in meson.build. The
 * tests run every supported path.
 */
#ifndef CUBE24_PATHS_H
#define CUBE24_PATHS_H

#include <stddef.h>
#include <stdint.h>

#include "cube24.h"

/* A table fills the slots that it has a kernel for; where it has NULL, the scalar kernel runs in its
 * place. The scalar tables fill all. */

/* The codec works in blocks of 8 pieces. A piece is 64 elements of a row: 64 bytes of weight, 32 of
 * dense, 8 of index. The 256 dense and the 64 index bytes of a block follow each other. In ND its
 * pieces do so too, and it is 512 elements of a row; in Zn it is half a fractal, 8 rows. What is no
 * whole block is for the caller to pad. */
enum {
    CUBE24_PIECE = 64,
    CUBE24_PIECES = 8,
    CUBE24_BLOCK = CUBE24_PIECE * CUBE24_PIECES,
    CUBE24_BLOCK_DENSE = CUBE24_BLOCK / 2,
    CUBE24_BLOCK_INDEX = CUBE24_BLOCK / 8,
    CUBE24_RUN = 128, /* most blocks of a call, so that kernels may count in small numbers */
    CUBE24_LINE = 64, /* alignment that stores past the caches may want */
    CUBE24_TAPS = 64, /* most taps of a block of a convolution: a kernel of 8 x 8 */
    CUBE24_BEHIND = 16 /* bytes behind such a block that kernels may touch */
};

/* Bytes of weight from a piece to the next; of weight, dense and index from a block to the next. */
struct cube24_steps {
    size_t piece, block, dense, index;
};

struct cube24_codec_kernels {
    /* Encode. 0 if no group is in excess; what is written for those that are (2 dense bytes and 4
     * index bits) is unspecified, the caller encodes them again.
     * past: write past the caches, if the kernel can; then dense and its step are multiples of
     * CUBE24_LINE, index may be anywhere. */
    int (*encode)(const int8_t *weight, const struct cube24_steps *steps, size_t blocks, int past,
                  int8_t *dense, uint8_t *index);

    /* Decode. 0 if no group has an index of 3 or a conflict; what is written for one that has is
     * unspecified. `past` is for weight. */
    int (*decode)(const int8_t *dense, const uint8_t *index, const struct cube24_steps *steps,
                  size_t blocks, int past, int8_t *weight);

    /* The same; 0 if encode writes these very bytes for every group. */
    int (*decode_strict)(const int8_t *dense, const uint8_t *index,
                         const struct cube24_steps *steps, size_t blocks, int past,
                         int8_t *weight);

    /* Add to 16 counters of non-zero masks. Here and in prune the pieces follow each other. */
    void (*count)(const int8_t *weight, size_t blocks, uint64_t *masks);

    /* Prune by a policy that is not CUBE24_POLICY_ERROR, and add to the cost. out may be weight. */
    void (*prune)(const int8_t *weight, size_t blocks, int policy, int8_t *out, cube24_cost *cost);

    /* A block of a convolution, 32 channels of 2 to CUBE24_TAPS taps, from the order of the weight,
     * all taps of one channel after the other, to that of the matrix, and back. Up to CUBE24_BEHIND
     * bytes behind the block of the weight may be read; and overwritten, with anything. */
    void (*channels_last)(const int8_t *weight, size_t taps, int8_t *matrix);
    void (*channels_first)(const int8_t *matrix, size_t taps, int8_t *weight);
};

/* Multiply-add: a whole call, with operands, layouts and options as cube24.h says. m, n and k are
 * from 1 to 2^16 - 1; the path bits of flags mean nothing here. */
struct cube24_mmad_kernels {
    void (*mmad)(const int8_t *a, const int8_t *b, size_t m, size_t n, size_t k, uint32_t flags,
                 int32_t *c);

    /* A slot with index 3 selects nothing, whatever the flags: mmad.c has refused it before. */
    void (*mmad_sparse)(const int8_t *a, const int8_t *dense, const uint8_t *index, size_t m,
                        size_t n, size_t k, uint32_t flags, int32_t *c);
};

struct cube24_layer_kernels; /* layer.h */

struct cube24_path {
    const char *name;

    /* 1 if this machine can run the kernels. */
    int (*supported)(void);

    const struct cube24_codec_kernels *codec; /* may be NULL: none of its own */
    const struct cube24_mmad_kernels *mmad;   /* likewise */
    const struct cube24_layer_kernels *layer; /* likewise; it is taken whole */
};

extern const struct cube24_codec_kernels cube24_codec_scalar;
extern const struct cube24_codec_kernels cube24_codec_avx2;
extern const struct cube24_codec_kernels cube24_codec_avx512;
extern const struct cube24_codec_kernels cube24_codec_neon;

extern const struct cube24_mmad_kernels cube24_mmad_scalar;
extern const struct cube24_mmad_kernels cube24_mmad_avx2;
extern const struct cube24_mmad_kernels cube24_mmad_avx512;

extern const struct cube24_layer_kernels cube24_layer_scalar;
extern const struct cube24_layer_kernels cube24_layer_avx2;
extern const struct cube24_layer_kernels cube24_layer_avx512;

/* Give a kernel for every slot: that of the path which the path bits of `flags` choose, or without
 * a choice that of the best path which has one and runs on this machine. 0 if the chosen path does
 * not run on it, or if `flags` holds a bit that is neither of the path nor in `options`. */
int cube24_choose_codec(uint32_t flags, uint32_t options, struct cube24_codec_kernels *kernels);
int cube24_choose_mmad(uint32_t flags, uint32_t options, struct cube24_mmad_kernels *kernels);

/* The same for whole layers: the table of the chosen or best path that has one, for its kernels
 * share a form of weights and activations. NULL where the others give 0. */
const struct cube24_layer_kernels *cube24_choose_layer(uint32_t flags, uint32_t options);

#endif
