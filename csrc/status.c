/* SPDX-License-Identifier: Apache-2.0
 * What a status means, in words. */
#include "cube24.h"

const char *cube24_status_text(int status)
{
    switch (status) {
    case CUBE24_OK:
        return "done";
    case CUBE24_E_ARGUMENT:
        return "an argument that cannot be: no data, or an unknown policy, flag or code path";
    case CUBE24_E_SIZE:
        return "a size that cannot be, sizes that do not fit each other, or a buffer too large";
    case CUBE24_E_VIOLATION:
        return "a group with more than two non-zeros, under the policy that refuses them";
    case CUBE24_E_REFUSED:
        return "bytes that stand for no weight, such as an index of 3, or a word without a finite "
               "scale";
    case CUBE24_E_RANGE:
        return "a value that does not fit the bits that it is to stand in";
    default:
        return "no status of cube24";
    }
}
