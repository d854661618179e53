/* SPDX-License-Identifier: Apache-2.0
 *
 * Code paths: kernels for an instruction set, chosen at run time. Whatever does not depend on the
 * instruction set is done once, around all of them: codec.c has rows, tails, policies and fault
 * reports, mmad.c the refusals; load3d.c, layout.c and bits.c know no paths.
 *
 * A path has up to two tables of kernels: for the codec and for multiply-add. Each is a file of its
 * own, kernels/codec_NAME.c and kernels/mmad_NAME.c, with `static` helpers only: it is compiled with
 * flags that other machines cannot run. To add one: write the file, declare its table here, name it
 * in the table of paths.c and in meson.build. The tests run every supported path.
 */
#ifndef CUBE24_PATHS_H
#define CUBE24_PATHS_H

#include <stddef.h>
#include <stdint.h>

/* A table fills the slots that it has a kernel for; where it has NULL, the scalar kernel runs in its
 * place. The scalar tables fill all. */

/* The codec: one contiguous run of pairs (8 elements, 4 dense bytes, 1 index byte). */
struct cube24_codec_kernels {
    /* Encode. Gives the number of groups in excess; what is written for those (2 dense bytes and
     * 4 index bits) is unspecified, the caller encodes them again. */
    uint64_t (*encode)(const int8_t *weight, size_t pairs, int8_t *dense, uint8_t *index);

    /* Add to 16 counters of non-zero masks. */
    void (*count)(const int8_t *weight, size_t pairs, uint64_t *masks);

    /* Decode. Gives the number of groups with an index of 3 or a conflict; what is written for
     * those is unspecified. */
    uint64_t (*decode)(const int8_t *dense, const uint8_t *index, size_t pairs, int8_t *weight);
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

struct cube24_path {
    const char *name;

    /* 1 if this machine can run the kernels. */
    int (*supported)(void);

    const struct cube24_codec_kernels *codec; /* may be NULL: none of its own */
    const struct cube24_mmad_kernels *mmad;   /* likewise */
};

extern const struct cube24_codec_kernels cube24_codec_scalar;
extern const struct cube24_codec_kernels cube24_codec_avx2;
extern const struct cube24_codec_kernels cube24_codec_avx512;
extern const struct cube24_codec_kernels cube24_codec_neon;

extern const struct cube24_mmad_kernels cube24_mmad_scalar;
extern const struct cube24_mmad_kernels cube24_mmad_avx2;
extern const struct cube24_mmad_kernels cube24_mmad_avx512;

/* Give a kernel for every slot: that of the path which the path bits of `flags` choose, or without
 * a choice that of the best path which has one and runs on this machine. 0 if the chosen path does
 * not run on it, or if `flags` holds a bit that is neither of the path nor in `options`. */
int cube24_choose_codec(uint32_t flags, uint32_t options, struct cube24_codec_kernels *kernels);
int cube24_choose_mmad(uint32_t flags, uint32_t options, struct cube24_mmad_kernels *kernels);

#endif
