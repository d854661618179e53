/* SPDX-License-Identifier: Apache-2.0
 * Threads that compute layers together. A network has a layer every fraction of a millisecond, and
 * to wake a thread takes a tenth of one: so who has helped waits by turning for the next, for as long
 * as a few layers take, and then gives up.
 *
 * A leader opens a layer and takes parts of it, as all who are inside do, until none is left; then
 * it closes the layer and waits until nobody is inside any more. Who wants in counts itself as inside
 * first and looks whether the layer is open then, and who closes it looks who is inside after that:
 * in the one order that all threads see, one of the two has seen the other.
 */
#include "cube24.h"
#include "sizes.h"

#if defined(__unix__) || defined(__APPLE__)
#include <sched.h>
#endif

enum {
    PATIENCE = 1 << 13, /* turns of a helper without work, some 100 to 400 us */
    UNIT_ROWS = 16,     /* parts begin at multiples of it */
    UNIT_COLUMNS = 64,
    FEW_ROWS = 96,       /* below, threads share columns: each packs the weights of its own */
    ROWS_A_PART = 256,   /* at least, if a thread gets more parts than one */
    PARTS_A_THREAD = 4  /* so that who was held up does less */
};

struct team {
    uint32_t open;   /* a layer may be entered */
    uint32_t inside; /* helpers that have entered, or are about to look whether they may */
    uint32_t turn;   /* of layers, so that nobody enters one twice */
    uint32_t seats;  /* threads that take part, the leader among them */
    uint32_t taken;  /* seats */
    uint32_t next;   /* part that nobody has taken */
    uint32_t parts;
    uint32_t by_columns;
    int32_t status; /* the last that was not CUBE24_OK: of parts, only CUBE24_E_REFUSED */
    uint32_t flags;
    size_t size; /* rows or columns of a part */
    size_t scratch_bytes;
    uint8_t *scratch; /* scratch_bytes a seat */
    const cube24_layer *layer;
};

/* The memory of a team is the caller's; its words are looked at as what stands above. */
typedef char team_fits[sizeof(struct team) <= sizeof(cube24_team) ? 1 : -1];

#ifdef __GNUC__
#define READ(place) __atomic_load_n(place, __ATOMIC_SEQ_CST)
#define WRITE(place, value) __atomic_store_n(place, value, __ATOMIC_SEQ_CST)
#define ADD(place, value) __atomic_fetch_add(place, value, __ATOMIC_SEQ_CST)
#endif

static void pause_a_little(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* --- parts ---------------------------------------------------------------------------------- */

/* How the results of a layer are cut. */
static void cut(struct team *team, const cube24_layer *layer, size_t seats)
{
    const size_t rows = layer->batch * layer->m;
    team->by_columns = rows < FEW_ROWS && layer->n > UNIT_COLUMNS;
    const size_t all = team->by_columns ? layer->n : rows;
    const size_t unit = team->by_columns ? UNIT_COLUMNS : UNIT_ROWS;
    size_t pieces = least(seats, ceil_div(all, unit));
    if (!team->by_columns && pieces == seats)
        for (size_t more = PARTS_A_THREAD; more > 1; more--)
            if (all / more / seats >= ROWS_A_PART) {
                pieces = more * seats;
                break;
            }
    team->size = ceil_div(ceil_div(all, unit), pieces) * unit;
    team->parts = (uint32_t)ceil_div(all, team->size);
}

static int compute_part(const struct team *team, size_t part, size_t seat)
{
    const cube24_layer *layer = team->layer;
    const size_t rows = layer->batch * layer->m, start = part * team->size;
    uint8_t *scratch = team->scratch + seat * team->scratch_bytes;
    if (team->by_columns)
        return cube24_layer_part(layer, 0, rows, start, least(team->size, layer->n - start),
                                 team->flags, scratch);
    return cube24_layer_part(layer, start, least(team->size, rows - start), 0, layer->n,
                             team->flags, scratch);
}

#ifdef __GNUC__

static void take_parts(struct team *team, size_t seat)
{
    for (;;) {
        const uint32_t part = ADD(&team->next, 1);
        if (part >= team->parts)
            return;
        const int status = compute_part(team, part, seat);
        if (status != CUBE24_OK)
            WRITE(&team->status, status);
    }
}

/* Take part in the layer that is open, if one still is; 1 if it did, and turn is the layer's. */
static int enter(struct team *team, uint32_t *turn)
{
    int entered = 0;
    (void)ADD(&team->inside, 1);
    if (READ(&team->open)) {
        *turn = READ(&team->turn);
        const uint32_t seat = ADD(&team->taken, 1);
        entered = seat < team->seats;
        if (entered)
            take_parts(team, seat);
    }
    (void)ADD(&team->inside, -1);
    return entered;
}

int cube24_team_help(cube24_team *of)
{
    struct team *team = (struct team *)(void *)of;
    uint32_t turn = 0;
    if (!team)
        return CUBE24_E_ARGUMENT;
    for (int left = PATIENCE; left > 0; left--) {
        if (READ(&team->open) && READ(&team->turn) != turn && enter(team, &turn))
            left = PATIENCE;
        pause_a_little();
    }
    return CUBE24_OK;
}

/* Who is inside may have lost its core: then this one is of more use to others. */
static void wait_for_helpers(const struct team *team)
{
    for (int turns = 0; READ(&team->inside) != 0;) {
        if (turns < PATIENCE) {
            turns++;
            pause_a_little();
        } else {
#if defined(__unix__) || defined(__APPLE__)
            (void)sched_yield();
#endif
        }
    }
}

static void lead(struct team *team)
{
    WRITE(&team->turn, team->turn + 1 != 0 ? team->turn + 1 : 1); /* zero is nobody's */
    team->taken = 1;
    team->next = 0;
    team->status = CUBE24_OK;
    WRITE(&team->open, 1);
    take_parts(team, 0);
    WRITE(&team->open, 0);
    wait_for_helpers(team);
}

#else /* nobody knows in which order threads see what others write: they do not help */

int cube24_team_help(cube24_team *of)
{
    return of ? CUBE24_OK : CUBE24_E_ARGUMENT;
}

static void lead(struct team *team)
{
    team->status = CUBE24_OK;
    for (size_t part = 0; part < team->parts; part++) {
        const int status = compute_part(team, part, 0);
        if (status != CUBE24_OK)
            team->status = status;
    }
}

#endif

int cube24_team_layer(cube24_team *of, const cube24_layer *layer, size_t seats, uint32_t flags,
                      uint8_t *scratch)
{
    struct team *team = (struct team *)(void *)of;
    size_t bytes, all;
    if (!team || seats == 0)
        return CUBE24_E_ARGUMENT;
    const int status = cube24_layer_scratch(layer, &bytes);
    if (status != CUBE24_OK)
        return status;
    all = bytes;
    if (seats > UINT32_MAX || !grow(&all, seats))
        return CUBE24_E_SIZE;
    const size_t rows = layer->batch * layer->m;
    if (seats == 1 || rows == 0 || layer->n == 0 || !scratch)
        return cube24_layer_part(layer, 0, rows, 0, layer->n, flags, scratch);
    team->layer = layer;
    team->flags = flags;
    team->seats = (uint32_t)seats;
    team->scratch = scratch;
    team->scratch_bytes = bytes;
    cut(team, layer, seats);
    lead(team);
    return (int)team->status;
}
