/* SPDX-License-Identifier: Apache-2.0
 *
 * The K order of convolutions for all vector paths: a block is channels x taps of bytes and becomes
 * taps x channels, in squares of 16 x 16 bytes that are transposed in registers. A vector has one
 * lane of 16 bytes or two, and as many squares are transposed at once, 16 channels apart.
 *
 * Where there are fewer than 16 taps, a row of the weight is read with what is behind it, and is
 * written so too, before the row behind it. Where there are more, the last square overlaps the one
 * before it. Everything is static: each file compiles it for its own instruction set.
 */
#ifndef CUBE24_K_ORDER_H
#define CUBE24_K_ORDER_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "../fractal.h"
#include "../sizes.h"

enum { TURNED = 16 }; /* rows and columns of a square */

#ifdef __AVX2__
#include <immintrin.h>

enum { LANES = 2 };
typedef __m256i square_rows; /* 16 bytes of each */

/* 16 bytes of a row for each lane, `stride` rows of them apart. */
static inline square_rows load_lanes(const int8_t *from, size_t stride)
{
    const __m128i first = _mm_loadu_si128((const __m128i *)(const void *)from);
    const __m128i second =
        _mm_loadu_si128((const __m128i *)(const void *)(from + TURNED * stride));
    return _mm256_inserti128_si256(_mm256_castsi128_si256(first), second, 1);
}

static inline void store_lane(int8_t *to, square_rows x, int lane)
{
    _mm_storeu_si128((__m128i *)(void *)to,
                     lane ? _mm256_extracti128_si256(x, 1) : _mm256_castsi256_si128(x));
}

static inline square_rows load_all(const int8_t *from)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)from);
}

static inline void store_all(int8_t *to, square_rows x)
{
    _mm256_storeu_si256((__m256i *)(void *)to, x);
}

static inline square_rows no_bytes(void)
{
    return _mm256_setzero_si256();
}

static inline square_rows zip_low(square_rows a, square_rows b)
{
    return _mm256_unpacklo_epi8(a, b);
}

static inline square_rows zip_high(square_rows a, square_rows b)
{
    return _mm256_unpackhi_epi8(a, b);
}
#else
#include <arm_neon.h>

enum { LANES = 1 };
typedef int8x16_t square_rows; /* 16 bytes of each */

static inline square_rows load_all(const int8_t *from)
{
    return vld1q_s8(from);
}

static inline square_rows load_lanes(const int8_t *from, size_t stride)
{
    (void)stride;
    return load_all(from);
}

static inline void store_all(int8_t *to, square_rows x)
{
    vst1q_s8(to, x);
}

static inline void store_lane(int8_t *to, square_rows x, int lane)
{
    (void)lane;
    store_all(to, x);
}

static inline square_rows no_bytes(void)
{
    return vdupq_n_s8(0);
}

static inline square_rows zip_low(square_rows a, square_rows b)
{
    return vzip1q_s8(a, b);
}

static inline square_rows zip_high(square_rows a, square_rows b)
{
    return vzip2q_s8(a, b);
}
#endif

/* Columns of 16 rows; each step of four brings rows together that are 8 apart. */
static inline void turn(square_rows x[TURNED])
{
    for (int step = 0; step < 4; step++) {
        square_rows y[TURNED];
        for (int i = 0; i < 8; i++) {
            y[2 * i] = zip_low(x[i], x[i + 8]);
            y[2 * i + 1] = zip_high(x[i], x[i + 8]);
        }
        memcpy(x, y, sizeof y);
    }
}

/* A square each lane, of which `some` taps are stored, `most` at most: that is a constant, so that
 * what is never stored is not computed. */
static inline __attribute__((always_inline)) void turn_last(const int8_t *weight, size_t taps,
                                                            size_t some, size_t most,
                                                            int8_t *matrix)
{
    square_rows x[TURNED];
#pragma GCC unroll 16
    for (size_t i = 0; i < TURNED; i++)
        x[i] = load_lanes(weight + i * taps, taps);
    turn(x);
#pragma GCC unroll 16
    for (size_t i = 0; i < most; i++)
        if (i < some)
            store_all(matrix + i * C0, x[i]);
}

/* The inverse, of which `some` taps are loaded. */
static inline void turn_first(const int8_t *matrix, size_t taps, size_t some, int8_t *weight)
{
    square_rows x[TURNED];
#pragma GCC unroll 16
    for (size_t i = 0; i < TURNED; i++)
        x[i] = i < some ? load_all(matrix + i * C0) : no_bytes();
    turn(x);
#pragma GCC unroll 2
    for (int lane = 0; lane < LANES; lane++)
#pragma GCC unroll 16
        for (size_t i = 0; i < TURNED; i++)
            store_lane(weight + ((size_t)lane * TURNED + i) * taps, x[i], lane);
}

static void channels_last(const int8_t *weight, size_t taps, int8_t *matrix)
{
    const size_t some = least(taps, TURNED);
    for (size_t tap = 0; tap < taps; tap += TURNED) {
        const size_t at = least(tap, taps - some);
        for (size_t c0 = 0; c0 < C0; c0 += TURNED * LANES) {
            const int8_t *from = weight + c0 * taps + at;
            int8_t *to = matrix + at * C0 + c0;
            if (some == TURNED)
                turn_last(from, taps, TURNED, TURNED, to);
            else if (some > TURNED / 2)
                turn_last(from, taps, some, TURNED, to);
            else
                turn_last(from, taps, some, TURNED / 2, to);
        }
    }
}

static void channels_first(const int8_t *matrix, size_t taps, int8_t *weight)
{
    const size_t some = least(taps, TURNED);
    for (size_t tap = 0; tap < taps; tap += TURNED) {
        const size_t at = least(tap, taps - some);
        for (size_t c0 = 0; c0 < C0; c0 += TURNED * LANES)
            turn_first(matrix + at * C0 + c0, taps, some, weight + c0 * taps + at);
    }
}

#endif
