/* SPDX-License-Identifier: Apache-2.0
 *
 * The kernels of the codec for neon.
 */
#include "../paths.h"

const struct cube24_codec_kernels cube24_codec_neon = {NULL, NULL, NULL, NULL, NULL, NULL};
