/* SPDX-License-Identifier: Apache-2.0
 *
 * Transposition of bytes and of int32 for the paths of x86: squares of 16 x 16 bytes, or of 8 x 8
 * int32, in registers. Everything is static: each file compiles it for its own instruction set.
 */
#ifndef CUBE24_TRANSPOSE_H
#define CUBE24_TRANSPOSE_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "../sizes.h"

enum { SQUARE8 = 16, SQUARE32 = 8 };

/* Columns of 16 rows of 16 bytes; each step of four brings rows together that are 8 apart. */
static inline void turn16(__m128i x[SQUARE8])
{
    for (int step = 0; step < 4; step++) {
        __m128i y[SQUARE8];
        for (int i = 0; i < 8; i++) {
            y[2 * i] = _mm_unpacklo_epi8(x[i], x[i + 8]);
            y[2 * i + 1] = _mm_unpackhi_epi8(x[i], x[i + 8]);
        }
        memcpy(x, y, sizeof y);
    }
}

#ifdef __AVX512BW__
/* Four squares in one, each in a lane of its own. */
static inline void turn64(__m512i x[SQUARE8])
{
    for (int step = 0; step < 4; step++) {
        __m512i y[SQUARE8];
        for (int i = 0; i < 8; i++) {
            y[2 * i] = _mm512_unpacklo_epi8(x[i], x[i + 8]);
            y[2 * i + 1] = _mm512_unpackhi_epi8(x[i], x[i + 8]);
        }
        memcpy(x, y, sizeof y);
    }
}

/* Squares side by side: 16 rows of 64 columns. The rows behind them are asked for: each stands in a
 * place of its own, and a processor does not foresee so many. */
static inline void transpose8_wide(const uint8_t *from, size_t from_stride, uint8_t *to,
                                   size_t to_stride, uint8_t flip, int more)
{
    __m512i x[SQUARE8];
    const __m512i flips = _mm512_set1_epi8((char)flip);
    if (more)
        for (size_t i = SQUARE8; i < 2 * SQUARE8; i++)
            _mm_prefetch((const char *)from + i * from_stride, _MM_HINT_T0);
    for (size_t i = 0; i < SQUARE8; i++)
        x[i] = _mm512_xor_si512(_mm512_loadu_si512(from + i * from_stride), flips);
    turn64(x);
    for (size_t i = 0; i < SQUARE8; i++) {
        uint8_t *target = to + i * to_stride;
        const size_t lane = SQUARE8 * to_stride;
        _mm_storeu_si128((__m128i *)(void *)target, _mm512_castsi512_si128(x[i]));
        _mm_storeu_si128((__m128i *)(void *)(target + lane), _mm512_extracti32x4_epi32(x[i], 1));
        _mm_storeu_si128((__m128i *)(void *)(target + 2 * lane),
                         _mm512_extracti32x4_epi32(x[i], 2));
        _mm_storeu_si128((__m128i *)(void *)(target + 3 * lane),
                         _mm512_extracti32x4_epi32(x[i], 3));
    }
}

/* Squares one below the other: 64 rows of 16 columns, which become whole cache lines. */
static inline void transpose8_tall(const uint8_t *from, size_t from_stride, uint8_t *to,
                                   size_t to_stride, uint8_t flip)
{
    __m512i x[SQUARE8];
    const __m512i flips = _mm512_set1_epi8((char)flip);
    const size_t square = SQUARE8 * from_stride;
    for (size_t i = 0; i < SQUARE8; i++) {
        const uint8_t *row = from + i * from_stride;
        x[i] = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)(const void *)row));
        x[i] = _mm512_inserti32x4(
            x[i], _mm_loadu_si128((const __m128i *)(const void *)(row + square)), 1);
        x[i] = _mm512_inserti32x4(
            x[i], _mm_loadu_si128((const __m128i *)(const void *)(row + 2 * square)), 2);
        x[i] = _mm512_inserti32x4(
            x[i], _mm_loadu_si128((const __m128i *)(const void *)(row + 3 * square)), 3);
    }
    turn64(x);
    for (size_t i = 0; i < SQUARE8; i++)
        _mm512_storeu_si512(to + i * to_stride, _mm512_xor_si512(x[i], flips));
}
#endif

/* A square at the edge: rows and columns of it that are not there are not touched. */
static inline void transpose8_edge(const uint8_t *from, size_t from_stride, size_t rows,
                                   size_t columns, uint8_t *to, size_t to_stride, size_t width,
                                   uint8_t flip)
{
    uint8_t square[SQUARE8][SQUARE8] = {{0}};
    __m128i x[SQUARE8];
    for (size_t i = 0; i < rows; i++)
        memcpy(square[i], from + i * from_stride, columns);
    for (size_t i = 0; i < SQUARE8; i++)
        x[i] = _mm_loadu_si128((const __m128i *)(const void *)square[i]);
    turn16(x);
    for (size_t i = 0; i < columns; i++) {
        uint8_t line[SQUARE8];
        _mm_storeu_si128((__m128i *)(void *)line,
                         _mm_xor_si128(x[i], _mm_set1_epi8((char)flip)));
        memcpy(to + i * to_stride, line, width);
    }
}

/* A few rows of 16 columns, to 4 or 8 bytes each: the channels of the image of a network. */
static void transpose8_few(const uint8_t *from, size_t from_stride, size_t rows, uint8_t *to,
                           size_t to_stride, size_t width, uint8_t flip)
{
    __m128i x[SQUARE8];
    const __m128i flips = _mm_set1_epi8((char)flip);
    for (size_t i = 0; i < SQUARE8; i++)
        x[i] = i < rows ? _mm_loadu_si128((const __m128i *)(const void *)(from + i * from_stride))
                        : _mm_setzero_si128();
    turn16(x);
    for (size_t i = 0; i < SQUARE8; i++) {
        const __m128i line = _mm_xor_si128(x[i], flips);
        const int32_t four = _mm_cvtsi128_si32(line);
        if (width == 8)
            _mm_storel_epi64((__m128i *)(void *)(to + i * to_stride), line);
        else
            memcpy(to + i * to_stride, &four, sizeof four);
    }
}

static void transpose8_square(const uint8_t *from, size_t from_stride, uint8_t *to,
                              size_t to_stride, uint8_t flip)
{
    __m128i x[SQUARE8];
    const __m128i flips = _mm_set1_epi8((char)flip);
    for (size_t i = 0; i < SQUARE8; i++)
        x[i] = _mm_loadu_si128((const __m128i *)(const void *)(from + i * from_stride));
    turn16(x);
    for (size_t i = 0; i < SQUARE8; i++)
        _mm_storeu_si128((__m128i *)(void *)(to + i * to_stride), _mm_xor_si128(x[i], flips));
}

#ifdef __AVX512BW__
/* 64 rows, of a source that is in the first cache. */
static void transpose8_rows(const uint8_t *from, size_t from_stride, size_t columns, uint8_t *to,
                            size_t to_stride, uint8_t flip)
{
    size_t column = 0;
    for (; column + SQUARE8 <= columns; column += SQUARE8)
        transpose8_tall(from + column, from_stride, to + column * to_stride, to_stride, flip);
    for (size_t row = 0; column < columns && row < 64; row += SQUARE8)
        transpose8_edge(from + row * from_stride + column, from_stride, SQUARE8, columns - column,
                        to + column * to_stride + row, to_stride, SQUARE8, flip);
}
#endif

/* Up to STRIP columns: rows from 16 to 16, each over all columns, so that every row is read on for a
 * while. */
static void transpose8_strip(const uint8_t *from, size_t from_stride, size_t rows, size_t columns,
                             uint8_t *to, size_t to_stride, size_t width, uint8_t flip)
{
    size_t row = 0;
#ifdef __AVX512BW__
    for (; from_stride <= 64 && row + 64 <= rows; row += 64)
        transpose8_rows(from + row * from_stride, from_stride, columns, to + row, to_stride, flip);
#endif
    for (; row < width; row += SQUARE8) {
        const size_t there = row < rows ? least(SQUARE8, rows - row) : 0;
        size_t wide;
        for (size_t column = 0; column < columns; column += wide) {
            const uint8_t *source = there ? from + row * from_stride + column : from;
            uint8_t *target = to + column * to_stride + row;
            wide = least(SQUARE8, columns - column);
#ifdef __AVX512BW__
            if (there == SQUARE8 && columns - column >= 64) {
                wide = 64;
                transpose8_wide(source, from_stride, target, to_stride, flip,
                                rows - row >= 2 * SQUARE8);
                continue;
            }
#endif
            if (there == SQUARE8 && wide == SQUARE8)
                transpose8_square(source, from_stride, target, to_stride, flip);
            else if (wide == SQUARE8 && (width - row == 4 || width - row == 8))
                transpose8_few(source, from_stride, there, target, to_stride, width - row, flip);
            else
                transpose8_edge(source, from_stride, there, wide, target, to_stride,
                                least(SQUARE8, width - row), flip);
        }
    }
}

static void transpose8(const uint8_t *from, size_t from_stride, size_t rows, size_t columns,
                       uint8_t *to, size_t to_stride, size_t width, uint8_t flip)
{
    enum { STRIP = 512 };
    for (size_t column = 0; column < columns; column += STRIP)
        transpose8_strip(from + column, from_stride, rows, least(STRIP, columns - column),
                         to + column * to_stride, to_stride, width, flip);
}

/* Columns of 8 rows of 8 int32. */
static inline void turn8(__m256i x[SQUARE32])
{
    __m256i y[SQUARE32], z[SQUARE32];
    for (int i = 0; i < 4; i++) {
        y[2 * i] = _mm256_unpacklo_epi32(x[2 * i], x[2 * i + 1]);
        y[2 * i + 1] = _mm256_unpackhi_epi32(x[2 * i], x[2 * i + 1]);
    }
    for (int i = 0; i < 2; i++) {
        z[4 * i] = _mm256_unpacklo_epi64(y[4 * i], y[4 * i + 2]);
        z[4 * i + 1] = _mm256_unpackhi_epi64(y[4 * i], y[4 * i + 2]);
        z[4 * i + 2] = _mm256_unpacklo_epi64(y[4 * i + 1], y[4 * i + 3]);
        z[4 * i + 3] = _mm256_unpackhi_epi64(y[4 * i + 1], y[4 * i + 3]);
    }
    for (int i = 0; i < 4; i++) {
        x[i] = _mm256_permute2x128_si256(z[i], z[i + 4], 0x20);
        x[i + 4] = _mm256_permute2x128_si256(z[i], z[i + 4], 0x31);
    }
}

static void transpose32(const int32_t *from, size_t from_stride, size_t rows, size_t columns,
                        int32_t *to, size_t to_stride)
{
    for (size_t column = 0; column < columns; column += SQUARE32)
        for (size_t row = 0; row < rows; row += SQUARE32) {
            const int32_t *source = from + row * from_stride + column;
            int32_t *target = to + column * to_stride + row;
            const size_t high = least(SQUARE32, rows - row);
            const size_t wide = least(SQUARE32, columns - column);
            if (high < SQUARE32 || wide < SQUARE32) {
                for (size_t i = 0; i < wide; i++)
                    for (size_t j = 0; j < high; j++)
                        target[i * to_stride + j] = source[j * from_stride + i];
                continue;
            }
            __m256i x[SQUARE32];
            for (size_t i = 0; i < SQUARE32; i++)
                x[i] =
                    _mm256_loadu_si256((const __m256i *)(const void *)(source + i * from_stride));
            turn8(x);
            for (size_t i = 0; i < SQUARE32; i++)
                _mm256_storeu_si256((__m256i *)(void *)(target + i * to_stride), x[i]);
        }
}

#endif
