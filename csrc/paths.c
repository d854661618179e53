/* SPDX-License-Identifier: Apache-2.0
 * The table of code paths, and the choice among them; see paths.h. */
#include "paths.h"

#include "cube24.h"

/* --- what this machine can run -------------------------------------------------------------- */

static int always(void)
{
    return 1;
}

/* The compiler's question also asks the system whether it keeps the wide registers. */
#ifdef CUBE24_WITH_AVX2
static int has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2");
}
#endif

/* What Ice Lake, Sapphire Rapids and Zen 4 and later have. */
#ifdef CUBE24_WITH_AVX512
static int has_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vbmi2") &&
           __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("bmi2");
}
#endif

/* The reference first, then from slow to fast. */
static const struct cube24_path PATHS[] = {
    {"scalar", always, &cube24_codec_scalar, &cube24_mmad_scalar, &cube24_layer_scalar},
#ifdef CUBE24_WITH_NEON
    {"neon", always, &cube24_codec_neon, NULL, NULL},
#endif
#ifdef CUBE24_WITH_AVX2
    {"avx2", has_avx2, &cube24_codec_avx2, &cube24_mmad_avx2, &cube24_layer_avx2},
#endif
#ifdef CUBE24_WITH_AVX512
    {"avx512", has_avx512, &cube24_codec_avx512, &cube24_mmad_avx512, &cube24_layer_avx512},
#endif
};

enum { PATH_COUNT = sizeof PATHS / sizeof PATHS[0] };

size_t cube24_path_count(void)
{
    return PATH_COUNT;
}

const char *cube24_path_name(size_t path)
{
    return path < PATH_COUNT ? PATHS[path].name : NULL;
}

int cube24_path_supported(size_t path)
{
    return path < PATH_COUNT && PATHS[path].supported();
}

/* --- the choice: with any table of paths, for a test brings its own ------------------------- */

/* 1 if `flags` hold no bit that is unknown and choose a path that runs here, or none. */
static int legal(const struct cube24_path *paths, size_t count, uint32_t flags, uint32_t options)
{
    const size_t choice = flags & CUBE24_PATH_MASK;
    return (flags & ~(CUBE24_PATH_MASK | options)) == 0 && choice <= count &&
           (choice == 0 || paths[choice - 1].supported());
}

/* 1 if a path beyond the reference gives its kernels. */
static int taken(const struct cube24_path *paths, size_t path, uint32_t flags)
{
    const size_t choice = flags & CUBE24_PATH_MASK;
    return choice != 0 ? path == choice - 1 : paths[path].supported();
}

static int choose_codec(const struct cube24_path *paths, size_t count, uint32_t flags,
                        uint32_t options, struct cube24_codec_kernels *kernels)
{
    if (!legal(paths, count, flags, options))
        return 0;
    *kernels = *paths[0].codec;
    for (size_t path = 1; path < count; path++) {
        const struct cube24_codec_kernels *own = paths[path].codec;
        if (!own || !taken(paths, path, flags))
            continue;
        if (own->encode)
            kernels->encode = own->encode;
        if (own->decode)
            kernels->decode = own->decode;
        if (own->decode_strict)
            kernels->decode_strict = own->decode_strict;
        if (own->count)
            kernels->count = own->count;
        if (own->prune)
            kernels->prune = own->prune;
        if (own->channels_last)
            kernels->channels_last = own->channels_last;
        if (own->channels_first)
            kernels->channels_first = own->channels_first;
    }
    return 1;
}

static int choose_mmad(const struct cube24_path *paths, size_t count, uint32_t flags,
                       uint32_t options, struct cube24_mmad_kernels *kernels)
{
    if (!legal(paths, count, flags, options))
        return 0;
    *kernels = *paths[0].mmad;
    for (size_t path = 1; path < count; path++) {
        const struct cube24_mmad_kernels *own = paths[path].mmad;
        if (!own || !taken(paths, path, flags))
            continue;
        if (own->mmad)
            kernels->mmad = own->mmad;
        if (own->mmad_sparse)
            kernels->mmad_sparse = own->mmad_sparse;
    }
    return 1;
}

static const struct cube24_layer_kernels *choose_layer(const struct cube24_path *paths,
                                                       size_t count, uint32_t flags,
                                                       uint32_t options)
{
    if (!legal(paths, count, flags, options))
        return NULL;
    const struct cube24_layer_kernels *kernels = paths[0].layer;
    for (size_t path = 1; path < count; path++)
        if (paths[path].layer && taken(paths, path, flags))
            kernels = paths[path].layer;
    return kernels;
}

int cube24_choose_codec(uint32_t flags, uint32_t options, struct cube24_codec_kernels *kernels)
{
    return choose_codec(PATHS, PATH_COUNT, flags, options, kernels);
}

int cube24_choose_mmad(uint32_t flags, uint32_t options, struct cube24_mmad_kernels *kernels)
{
    return choose_mmad(PATHS, PATH_COUNT, flags, options, kernels);
}

const struct cube24_layer_kernels *cube24_choose_layer(uint32_t flags, uint32_t options)
{
    return choose_layer(PATHS, PATH_COUNT, flags, options);
}
