/* SPDX-License-Identifier: Apache-2.0
 *
 * The kernels of the codec for avx2.
 */
#include "../paths.h"

const struct cube24_codec_kernels cube24_codec_avx2 = {NULL, NULL, NULL, NULL, NULL, NULL};
