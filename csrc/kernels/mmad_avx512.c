/* SPDX-License-Identifier: Apache-2.0
 *
 * The kernels of multiply-add for avx512.
 */
#include "../paths.h"

const struct cube24_mmad_kernels cube24_mmad_avx512 = {NULL, NULL};
