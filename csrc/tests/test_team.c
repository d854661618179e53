/* SPDX-License-Identifier: Apache-2.0
 * Threads that compute layers together: the results are those of one thread, which test_layer.c
 * compares with plain loops. Run it under -Db_sanitize=thread too. */
#include <pthread.h>
#include <stdio.h>

#include "check.h"
#include "support.h"

enum { HELPERS = 3 };

/* What helpers do until they are told to stop: what a helper of Python does between two calls. */
struct crew {
    cube24_team team;
    pthread_mutex_t lock;
    int stop;
    pthread_t threads[HELPERS];
};

static int is_stopped(struct crew *crew)
{
    (void)pthread_mutex_lock(&crew->lock);
    const int stop = crew->stop;
    (void)pthread_mutex_unlock(&crew->lock);
    return stop;
}

static void *help(void *of)
{
    struct crew *crew = (struct crew *)of;
    while (!is_stopped(crew))
        if (cube24_team_help(&crew->team) != CUBE24_OK)
            abort();
    return NULL;
}

static void hire(struct crew *crew, size_t helpers)
{
    memset(crew, 0, sizeof *crew);
    if (pthread_mutex_init(&crew->lock, NULL))
        abort();
    for (size_t i = 0; i < helpers; i++)
        if (pthread_create(&crew->threads[i], NULL, help, crew))
            abort();
}

static void dismiss(struct crew *crew, size_t helpers)
{
    (void)pthread_mutex_lock(&crew->lock);
    crew->stop = 1;
    (void)pthread_mutex_unlock(&crew->lock);
    for (size_t i = 0; i < helpers; i++)
        (void)pthread_join(crew->threads[i], NULL);
    (void)pthread_mutex_destroy(&crew->lock);
}

/* --- layers --------------------------------------------------------------------------------- */

/* Few rows, which are shared by columns; one part a thread; several; nothing. Then convolutions. */
static const size_t MATRICES[][3] = {
    {7, 200, 40}, {95, 65, 16}, {96, 65, 16}, {5, 64, 24}, {700, 30, 20}, {2100, 9, 12},
    {1, 1, 1},    {1, 130, 9},  {0, 5, 8},    {5, 0, 8},   {40, 70, 0},
};

static cube24_layer matrix(const size_t sizes[3])
{
    cube24_layer l;
    memset(&l, 0, sizeof l);
    l.batch = 1;
    l.m = sizes[0];
    l.n = sizes[1];
    l.k = sizes[2];
    return l;
}

static cube24_layer convolution(size_t batch, size_t size, size_t n)
{
    cube24_layer l;
    memset(&l, 0, sizeof l);
    const cube24_image image = {1, size, size + 1, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1};
    l.form = CUBE24_NCHW;
    l.batch = batch;
    l.channels = 10;
    l.image = image;
    l.m = size * (size + 1);
    l.n = n;
    l.k = 9 * 32;
    return l;
}

/* Bytes for the longest operand: the numbers of all layers. */
struct numbers {
    int8_t *bytes;
    uint8_t *index;
    float scale;
    int32_t offset;
};

enum { NUMBERS = 1 << 17 };

static struct numbers numbers_of(uint64_t seed)
{
    struct numbers of = {(int8_t *)allocate(NUMBERS), (uint8_t *)allocate(NUMBERS), 1e-3F, 3};
    for (size_t i = 0; i < NUMBERS; i++) {
        of.bytes[i] = (int8_t)(random_bits(&seed) % 256 - 128);
        of.index[i] = (uint8_t)(random_below(&seed, 3) | random_below(&seed, 3) << 4);
    }
    return of;
}

static void give(cube24_layer *l, const struct numbers *of, int sparse, int requantised)
{
    l->x = of->bytes;
    l->weight = of->bytes + 77;
    l->index = sparse ? of->index : NULL;
    l->words = (size_t)requantised;
    l->scale = &of->scale;
    l->offset = &of->offset;
    l->is_signed = 1;
}

static int by_team(cube24_team *team, const cube24_layer *l, size_t seats, uint32_t flags)
{
    size_t bytes;
    CHECK_EQUAL(cube24_layer_scratch(l, &bytes), CUBE24_OK);
    /* Behind it there is memory for who takes a seat that there is not. */
    struct guarded scratch = guarded_bytes((seats + HELPERS) * bytes, 0x77);
    const int status = cube24_team_layer(team, l, seats, flags, scratch.data);
    CHECK(is_intact(scratch));
    CHECK(is_filled(scratch.data + seats * bytes, HELPERS * bytes, 0x77));
    guarded_free(scratch);
    return status;
}

static int alone(const cube24_layer *l, uint32_t flags)
{
    size_t bytes;
    CHECK_EQUAL(cube24_layer_scratch(l, &bytes), CUBE24_OK);
    uint8_t *scratch = (uint8_t *)allocate(bytes);
    const int status = cube24_layer_part(l, 0, l->batch * l->m, 0, l->n, flags, scratch);
    free(scratch);
    return status;
}

static void check_layer(struct crew *crew, cube24_layer *l, size_t seats, uint32_t flags)
{
    const size_t size = l->batch * l->m * l->n * (l->words ? 1 : 4);
    struct guarded wanted = guarded_words(size, 0x5a), got = guarded_words(size, 0xa5);
    l->out = wanted.data;
    CHECK_EQUAL(alone(l, flags), CUBE24_OK);
    l->out = got.data;
    CHECK_EQUAL(by_team(&crew->team, l, seats, flags), CUBE24_OK);
    CHECK(holds(got, wanted.data));
    guarded_free(wanted);
    guarded_free(got);
}

static void every_layer(struct crew *crew, const struct numbers *of, uint32_t flags)
{
    for (size_t seats = 1; seats < 6; seats += 2)
        for (int kind = 0; kind < 4; kind++) {
            for (size_t i = 0; i < COUNT(MATRICES); i++) {
                cube24_layer l = matrix(MATRICES[i]);
                give(&l, of, kind & 1, kind / 2);
                check_layer(crew, &l, seats, flags);
            }
            for (size_t batch = 1; batch < 4; batch += 2) {
                cube24_layer l = convolution(batch, 13, 70);
                give(&l, of, kind & 1, kind / 2);
                check_layer(crew, &l, seats, flags);
            }
        }
}

static struct crew crew;
static struct numbers numbers;

static void layers_on_a_path(uint32_t flags)
{
    every_layer(&crew, &numbers, flags);
}

/* --- the tests ------------------------------------------------------------------------------ */

static void results_are_those_of_one_thread(void)
{
    for (size_t helpers = 0; helpers <= HELPERS; helpers += HELPERS) {
        hire(&crew, helpers);
        on_every_path(layers_on_a_path);
        dismiss(&crew, helpers);
    }
}

/* Layers so small that helpers come too late, over and over: who enters when a layer is closed? */
static void nobody_enters_a_layer_that_is_closed(void)
{
    hire(&crew, HELPERS);
    for (size_t i = 0; i < 1000; i++) {
        cube24_layer l = matrix(MATRICES[i % 5]);
        if (i % 5 == 4)
            l.m = 33;
        give(&l, &numbers, 1, 1);
        check_layer(&crew, &l, 2 + i % 3, 0);
    }
    dismiss(&crew, HELPERS);
}

/* A layer that takes as long as it takes all helpers to come, with seats for one (path 1: scalar). */
static void there_are_no_more_than_the_seats(void)
{
    static const size_t sizes[3] = {2100, 120, 56};
    hire(&crew, HELPERS);
    for (size_t i = 0; i < 30; i++) {
        cube24_layer l = matrix(sizes);
        give(&l, &numbers, 1, 1);
        check_layer(&crew, &l, 2, 1);
    }
    dismiss(&crew, HELPERS);
}

/* The rows that a thread has look at all columns; of columns, only one part holds the index of 3. */
static void an_index_of_3_is_refused_whoever_finds_it(void)
{
    hire(&crew, HELPERS);
    for (size_t i = 0; i < 2; i++) {
        cube24_layer l = matrix(MATRICES[i == 0 ? 0 : 4]);
        const size_t row = ceil_of(l.k, 8), bytes = l.n * row;
        uint8_t *index = (uint8_t *)allocate(bytes);
        int32_t *out = (int32_t *)allocate(l.m * l.n * sizeof *out);
        give(&l, &numbers, 1, 0);
        l.index = index;
        l.out = out;
        for (size_t column = 0; column < l.n; column++) {
            memset(index, 0, bytes);
            CHECK_EQUAL(by_team(&crew.team, &l, 4, 0), CUBE24_OK);
            index[column * row] = 0x30;
            CHECK_EQUAL(by_team(&crew.team, &l, 4, 0), CUBE24_E_REFUSED);
            CHECK_EQUAL(by_team(&crew.team, &l, 4, CUBE24_INDEX3_NOTHING), CUBE24_OK);
        }
        free(index);
        free(out);
    }
    dismiss(&crew, HELPERS);
}

static void wrong_arguments_are_refused(void)
{
    cube24_team team;
    memset(&team, 0, sizeof team);
    cube24_layer l = matrix(MATRICES[0]);
    uint8_t some[1];
    give(&l, &numbers, 0, 0);
    l.out = some;
    CHECK_EQUAL(cube24_team_help(NULL), CUBE24_E_ARGUMENT);
    CHECK_EQUAL(cube24_team_layer(NULL, &l, 2, 0, some), CUBE24_E_ARGUMENT);
    CHECK_EQUAL(cube24_team_layer(&team, NULL, 2, 0, some), CUBE24_E_ARGUMENT);
    CHECK_EQUAL(cube24_team_layer(&team, &l, 0, 0, some), CUBE24_E_ARGUMENT);
    CHECK_EQUAL(cube24_team_layer(&team, &l, 2, 0, NULL), CUBE24_E_ARGUMENT);
    CHECK_EQUAL(cube24_team_layer(&team, &l, SIZE_MAX / 2, 0, some), CUBE24_E_SIZE);
    CHECK_EQUAL(cube24_team_layer(&team, &l, 2, 1U << 30, some), CUBE24_E_ARGUMENT);
    l.batch = 2;
    CHECK_EQUAL(cube24_team_layer(&team, &l, 2, 0, some), CUBE24_E_SIZE);
    l.batch = 1;
    l.x = NULL;
    CHECK_EQUAL(cube24_team_layer(&team, &l, 2, 0, some), CUBE24_E_ARGUMENT);
}

int main(void)
{
    numbers = numbers_of(24);
    results_are_those_of_one_thread();
    nobody_enters_a_layer_that_is_closed();
    there_are_no_more_than_the_seats();
    an_index_of_3_is_refused_whoever_finds_it();
    wrong_arguments_are_refused();
    free(numbers.bytes);
    free(numbers.index);
    return check_report("test_team");
}
