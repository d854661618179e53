/* SPDX-License-Identifier: Apache-2.0
 * What the tests share beside CHECK: buffers that betray a stray access, numbers that look random
 * and are the same on every machine, and the code paths to run. Nothing here knows the format. */
#ifndef SUPPORT_H
#define SUPPORT_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cube24.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* How many blocks of b cover a. */
static inline size_t ceil_of(size_t a, size_t b)
{
    size_t blocks = 0;
    while (blocks * b < a)
        blocks++;
    return blocks;
}

enum { CANARY = 64, CANARY_BYTE = 0xc5 }; /* as wide as the widest vector store */

/* The two values that outputs hold before a call: a byte that was not written cannot be right
 * under both. */
static const int FILLS[2] = {0x5a, 0xa5};

static inline void *allocate(size_t size)
{
    void *memory = malloc(size);
    if (!memory)
        abort();
    return memory;
}

/* An output between two canaries. */
struct guarded {
    uint8_t *base, *data;
    size_t size;
};

static inline struct guarded guarded_at(size_t before, size_t size, int fill)
{
    struct guarded g = {NULL, NULL, size};
    g.base = allocate(before + size + CANARY);
    g.data = g.base + before;
    memset(g.base, CANARY_BYTE, before + size + CANARY);
    memset(g.data, fill, size);
    return g;
}

/* For bytes. The address is odd: the header asks for no alignment. */
static inline struct guarded guarded_bytes(size_t size, int fill)
{
    return guarded_at(CANARY + 1, size, fill);
}

/* For counters and places, which are aligned as C asks. */
static inline struct guarded guarded_words(size_t size, int fill)
{
    return guarded_at(CANARY, size, fill);
}

static inline int8_t *guarded_int8(struct guarded g)
{
    return (int8_t *)g.data;
}

static inline uint64_t *guarded_uint64(struct guarded g)
{
    return (uint64_t *)(void *)g.data;
}

static inline cube24_place *guarded_places(struct guarded g)
{
    return (cube24_place *)(void *)g.data;
}

static inline int is_filled(const uint8_t *bytes, size_t size, int fill)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != fill)
            return 0;
    return 1;
}

/* Nothing was written outside. */
static inline int is_intact(struct guarded g)
{
    return is_filled(g.base, (size_t)(g.data - g.base), CANARY_BYTE) &&
           is_filled(g.data + g.size, CANARY, CANARY_BYTE);
}

/* Nothing was written at all. */
static inline int is_untouched(struct guarded g, int fill)
{
    return is_intact(g) && is_filled(g.data, g.size, fill);
}

static inline int same_bytes(const void *a, const void *b, size_t size)
{
    return size == 0 || memcmp(a, b, size) == 0;
}

/* Exactly these bytes were written. */
static inline int holds(struct guarded g, const void *wanted)
{
    return is_intact(g) && same_bytes(g.data, wanted, g.size);
}

static inline void guarded_free(struct guarded g)
{
    free(g.base);
}

/* An input that ends where its allocation ends, so that the address sanitizer sees every read
 * beyond; at an odd address, and NULL if it holds nothing. */
struct exact {
    uint8_t *base, *data;
};

static inline struct exact exact_copy(const void *source, size_t size)
{
    struct exact e = {NULL, NULL};
    if (size != 0) {
        e.base = allocate(size + 1);
        e.data = e.base + 1;
        memcpy(e.data, source, size);
    }
    return e;
}

static inline const int8_t *exact_int8(struct exact e)
{
    return (const int8_t *)e.data;
}

static inline void exact_free(struct exact e)
{
    free(e.base);
}

/* 32 bits of a linear congruential generator (Knuth's MMIX constants). */
static inline uint32_t random_bits(uint64_t *state)
{
    *state = *state * 6364136223846793005U + 1442695040888963407U;
    return (uint32_t)(*state >> 32);
}

static inline size_t random_below(uint64_t *state, size_t bound)
{
    return random_bits(state) % bound;
}

/* Weights of which about `percent` of 100 are not zero. */
static inline void random_weight(uint64_t *state, int8_t *weight, size_t count, size_t percent)
{
    for (size_t i = 0; i < count; i++) {
        const uint32_t bits = random_bits(state);
        weight[i] = random_below(state, 100) < percent ? (int8_t)(bits % 256 - 128) : 0;
    }
}

/* Run a test with the default choice of path and with every path that this machine can run. */
static inline void on_every_path(void (*test)(uint32_t flags))
{
    test(0);
    for (size_t path = 0; path < cube24_path_count(); path++)
        if (cube24_path_supported(path))
            test((uint32_t)path + 1);
}

#endif
