/* SPDX-License-Identifier: Apache-2.0
 * The table of code paths; see paths.h. */
#include "paths.h"

#include "cube24.h"

/* The reference first, then from slow to fast. */
static const struct cube24_kernels *const PATHS[] = {
    &cube24_kernels_scalar,
};

enum { PATH_COUNT = sizeof PATHS / sizeof PATHS[0] };

size_t cube24_path_count(void)
{
    return PATH_COUNT;
}

const char *cube24_path_name(size_t path)
{
    return path < PATH_COUNT ? PATHS[path]->name : NULL;
}

int cube24_path_supported(size_t path)
{
    return path < PATH_COUNT && PATHS[path]->supported();
}

const struct cube24_kernels *cube24_kernels_for(uint32_t flags)
{
    const size_t choice = flags & CUBE24_PATH_MASK;
    if (choice != 0)
        return cube24_path_supported(choice - 1) ? PATHS[choice - 1] : NULL;
    for (size_t path = PATH_COUNT; path-- > 1;)
        if (PATHS[path]->supported())
            return PATHS[path];
    return PATHS[0];
}
