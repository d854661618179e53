/* SPDX-License-Identifier: Apache-2.0
 * The traffic of encode and of decode without their work: what the memory of a machine allows, to
 * compare the codec with. Compiled by probe.py for the machine that measures; size counts bytes of
 * sparse weight, a multiple of 512, and buffers begin at multiples of 64.
 *
 * Each probe exists with plain stores and with stores past the caches, and the better one counts.
 * What they write stands for nothing; it depends on all that they read: no load is left out.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { LINE = 64, PIECES = 8 };

/* The widest vector of the target; arithmetic is by words, so that any will do. */
typedef uint64_t line __attribute__((vector_size(LINE), aligned(LINE)));

#if defined(__AVX512F__)
#include <immintrin.h>
static inline void past(line *to, line value)
{
    _mm512_stream_si512((void *)to, (__m512i)value);
}
static inline void done(void)
{
    _mm_sfence();
}
#elif defined(__AVX__)
#include <immintrin.h>
static inline void past(line *to, line value)
{
    __m256i halves[2];
    memcpy(halves, &value, sizeof value);
    _mm256_stream_si256((__m256i *)to, halves[0]);
    _mm256_stream_si256((__m256i *)to + 1, halves[1]);
}
static inline void done(void)
{
    _mm_sfence();
}
#else
static inline void past(line *to, line value)
{
    *to = value;
}
static inline void done(void)
{
}
#endif

static inline void put(line *to, line value, int is_past)
{
    if (is_past)
        past(to, value);
    else
        *to = value;
}

/* Read 8 lines of weight, write 4 of dense and 1 of index. */
static inline void encode(const line *weight, line *dense, line *index, size_t size, int is_past)
{
    for (size_t i = 0; i < size / (PIECES * LINE); i++, weight += 8, dense += 4, index++) {
        line all = weight[1];
        for (int j = 0; j < 4; j++) {
            put(dense + j, weight[2 * j] | weight[2 * j + 1], is_past);
            all ^= weight[2 * j + 1];
        }
        put(index, all, is_past);
    }
    if (is_past)
        done();
}

/* Read 4 lines of dense and 1 of index, write 8 of weight. */
static inline void decode(const line *dense, const line *index, line *weight, size_t size,
                          int is_past)
{
    for (size_t i = 0; i < size / (PIECES * LINE); i++, weight += 8, dense += 4, index++)
        for (int j = 0; j < 4; j++) {
            put(weight + 2 * j, dense[j], is_past);
            put(weight + 2 * j + 1, dense[j] ^ *index, is_past);
        }
    if (is_past)
        done();
}

void probe_encode(const void *weight, void *dense, void *index, size_t size, int is_past)
{
    if (is_past)
        encode(weight, dense, index, size, 1);
    else
        encode(weight, dense, index, size, 0);
}

void probe_decode(const void *dense, const void *index, void *weight, size_t size, int is_past)
{
    if (is_past)
        decode(dense, index, weight, size, 1);
    else
        decode(dense, index, weight, size, 0);
}
