/* SPDX-License-Identifier: Apache-2.0
 * What the fuzz targets share: the input, from which sizes and buffers are taken, and laws. Buffers
 * have exactly the size that a call asks for, so that the sanitizers see every stray access; a law
 * that does not hold ends the process with its line. */
#ifndef FUZZ_INPUT_H
#define FUZZ_INPUT_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cube24.h"

static inline void law(int holds, const char *what, const char *file, int line)
{
    if (holds)
        return;
    fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
    abort();
}

#define LAW(condition) law((condition) ? 1 : 0, #condition, __FILE__, __LINE__)

struct input {
    const uint8_t *data;
    size_t size;
};

static inline size_t take(struct input *in, size_t below)
{
    if (in->size == 0 || below == 0)
        return 0;
    in->size--;
    return *in->data++ % below;
}

/* A buffer of this size, NULL if it is empty; its content does not matter. */
static inline void *buffer(size_t size)
{
    void *memory = size ? malloc(size) : NULL;
    if (size && !memory)
        abort();
    return memory;
}

/* The same, filled from the input, and with zeros when that is used up. */
static inline void *take_bytes(struct input *in, size_t size)
{
    uint8_t *bytes = buffer(size);
    const size_t given = size < in->size ? size : in->size;
    if (given)
        memcpy(bytes, in->data, given);
    if (size > given)
        memset(bytes + given, 0, size - given);
    in->data += given;
    in->size -= given;
    return bytes;
}

static inline int same(const void *a, const void *b, size_t size)
{
    return size == 0 || memcmp(a, b, size) == 0;
}

/* Some path of this machine, or 0 for the default. */
static inline uint32_t take_path(struct input *in)
{
    const size_t choice = take(in, cube24_path_count() + 1);
    return choice && cube24_path_supported(choice - 1) ? (uint32_t)choice : 0;
}

/* Indices of 3 made 0: a mutation hardly ever finds a large matrix without one, and what is behind
 * the refusal must be reached as well. */
static inline void mend_index(uint8_t *index, size_t size)
{
    for (size_t i = 0; i < size; i++)
        for (unsigned shift = 0; shift < 8; shift += 2)
            if ((index[i] >> shift & 3) == 3)
                index[i] = (uint8_t)(index[i] & ~(3U << shift));
}

#endif
