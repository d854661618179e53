/* SPDX-License-Identifier: Apache-2.0
 * The table of code paths, and the choice among them; see paths.h. */
#include "paths.h"

#include "cube24.h"

/* The reference first, then from slow to fast. */
static const struct cube24_path *const PATHS[] = {
    &cube24_path_scalar,
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

/* Put the kernels that a path has in place of those that are there. */
static void replace(struct cube24_kernels *kernels, const struct cube24_kernels *own)
{
    if (own->encode)
        kernels->encode = own->encode;
    if (own->count)
        kernels->count = own->count;
    if (own->decode)
        kernels->decode = own->decode;
    if (own->mmad)
        kernels->mmad = own->mmad;
    if (own->mmad_sparse)
        kernels->mmad_sparse = own->mmad_sparse;
}

/* cube24_choose with any table: a test brings its own. */
static int choose(const struct cube24_path *const *paths, size_t count, uint32_t flags,
                  uint32_t options, struct cube24_kernels *kernels)
{
    const size_t choice = flags & CUBE24_PATH_MASK;
    if ((flags & ~(CUBE24_PATH_MASK | options)) != 0)
        return 0;
    if (choice > count || (choice != 0 && !paths[choice - 1]->supported()))
        return 0;
    *kernels = paths[0]->kernels;
    for (size_t path = 1; path < count; path++)
        if (choice != 0 ? path == choice - 1 : paths[path]->supported())
            replace(kernels, &paths[path]->kernels);
    return 1;
}

int cube24_choose(uint32_t flags, uint32_t options, struct cube24_kernels *kernels)
{
    return choose(PATHS, PATH_COUNT, flags, options, kernels);
}
