/* SPDX-License-Identifier: Apache-2.0
 *
 * Code paths: one struct of kernels per instruction set, chosen at run time. A kernel sees one
 * contiguous run of pairs (8 elements, 4 dense bytes, 1 index byte); rows, tails, policies and
 * fault reports are handled once, in codec.c, around all of them.
 *
 * To add a path: write kernels/NAME.c with `static` helpers only (it is compiled with flags that
 * other machines cannot run), declare its struct here, add it to the table of paths.c and to
 * meson.build. The tests run every supported path.
 */
#ifndef CUBE24_PATHS_H
#define CUBE24_PATHS_H

#include <stddef.h>
#include <stdint.h>

struct cube24_kernels {
    const char *name;

    /* 1 if this machine can run the kernels below. */
    int (*supported)(void);

    /* Encode. Gives the number of groups in excess; what is written for those (2 dense bytes and
     * 4 index bits) is unspecified, the caller encodes them again. */
    uint64_t (*encode)(const int8_t *weight, size_t pairs, int8_t *dense, uint8_t *index);

    /* Add to 16 counters of non-zero masks. */
    void (*count)(const int8_t *weight, size_t pairs, uint64_t *masks);

    /* Decode. Gives the number of groups with an index of 3 or a conflict; what is written for
     * those is unspecified. */
    uint64_t (*decode)(const int8_t *dense, const uint8_t *index, size_t pairs, int8_t *weight);
};

extern const struct cube24_kernels cube24_kernels_scalar;

/* The kernels that the path bits of `flags` ask for, or NULL if this machine has none such. */
const struct cube24_kernels *cube24_kernels_for(uint32_t flags);

#endif
