/* SPDX-License-Identifier: MIT */
#include "mix.h"

uint64_t rng_next(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * 0x2545f4914f6cdd1du >> 16;
}

size_t rng_below(uint64_t *state, size_t end)
{
    return (size_t)(rng_next(state) % end);
}

/* ---- Sizes ---- */

static size_t size_small(uint64_t *rng)
{
    return rng_below(rng, 120);
}

static size_t size_any(uint64_t *rng)
{
    return rng_below(rng, (size_t)1 << rng_below(rng, 13));
}

static size_t size_few(uint64_t *rng)
{
    static const size_t sizes[] = {24, 24, 24, 40, 40, 100, 100, 600, 1000, 1024};
    return sizes[rng_below(rng, sizeof sizes / sizeof sizes[0])];
}

static size_t size_powers(uint64_t *rng)
{
    return ((size_t)1 << (3 + rng_below(rng, 10))) - (rng_below(rng, 4) == 0 ? 4 : 0);
}

static size_t size_large(uint64_t *rng)
{
    return rng_below(rng, 5) == 0 ? rng_below(rng, 64) : 800 + rng_below(rng, 6000);
}

/* Many sizes in one class of segregated lists, with small ones between them. */
static size_t size_close(uint64_t *rng)
{
    return rng_below(rng, 3) == 0 ? rng_below(rng, 60) : 8200 + rng_below(rng, 240);
}

/* Large enough that indexes may have more parts, with equals among the middle sizes. */
static size_t size_wide(uint64_t *rng)
{
    if (rng_below(rng, 3) == 0)
        return rng_below(rng, 200);
    return rng_below(rng, 40) == 0 ? 40000 + rng_below(rng, 30000) : 900 + rng_below(rng, 70) * 250;
}

/* The worst case of some indexes. */
static size_t last;

static size_t size_rising(uint64_t *rng)
{
    last = (last + 16 + rng_below(rng, 2) * 16) % 5000;
    return last;
}

const struct mix mixes[] = {
    {"small", size_small, 32 << 10, 256, 15, 5},   {"any", size_any, 96 << 10, 200, 20, 10},
    {"few", size_few, 128 << 10, 256, 5, 5},       {"powers", size_powers, 96 << 10, 128, 20, 20},
    {"large", size_large, 300 << 10, 160, 20, 10}, {"rising", size_rising, 200 << 10, 128, 5, 0},
    {"close", size_close, 256 << 10, 96, 5, 0},    {"tight", size_any, 16 << 10, 256, 20, 10},
    {"tiny", size_small, 3 << 10, 256, 20, 10},    {"wide", size_wide, 1200 << 10, 200, 15, 5},
};

int mix_count(void)
{
    return (int)(sizeof mixes / sizeof mixes[0]);
}

void mix_restart(void)
{
    last = 0;
}
