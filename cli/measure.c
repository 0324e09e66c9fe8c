/* SPDX-License-Identifier: MIT */
/*
 * What a strategy makes of a trace: which passes are run, in regions of which size.
 *
 * The region matters, since a strategy's index lies at its low end and may grow with its size. So
 * an observed pass in a generous region finds where the break goes, and what is reported comes
 * from passes in a region of just that size.
 */
#include "compare.h"

#define PAGE 4096u
#define LARGEST_REGION (sizeof(size_t) > 4 ? UINT64_C(64) << 30 : UINT64_C(1) << 30)

struct measurement {
    const struct replay *replay;
    const struct hmm_strategy *strategy;
    const struct replay_options *options;
    const struct replay_tick *tick;
    struct replay_result *result;
    unsigned passes, expected; /* done, and to be done in all */
    size_t capacity;           /* of the reported passes */
};

static void tick(struct measurement *m)
{
    double done = ++m->passes < m->expected ? (double)m->passes / m->expected : 1;
    m->tick->tell(m->tick->arg, done);
}

static bool no_space(const struct measurement *m, uint64_t size)
{
    cli_complain("replay", "cannot reserve %s of address space for %s", cli_bytes(size).chars,
                 m->result->strategy);
    return false;
}

static uint64_t at_most(uint64_t size, uint64_t most)
{
    return size < most ? size : most;
}

/* A guess that is nearly always enough. */
static uint64_t generous_size(const struct hmm_trace_summary *t)
{
    uint64_t size = at_most(t->peak_bytes, LARGEST_REGION) * 2 + t->peak_blocks * UINT64_C(128);
    return at_most(size + 256 * PAGE, LARGEST_REGION);
}

/* The guess is raised until it is enough. */
static bool observe_generously(struct measurement *m)
{
    for (uint64_t size = generous_size(m->replay->sum);; size *= 4) {
        size = at_most(size, LARGEST_REGION);
        if (!replay_observe(m->replay, m->strategy, (size_t)size, &m->result->figures))
            return no_space(m, size);
        tick(m);
        if (m->result->figures.failed == 0 || size == LARGEST_REGION)
            return true;
    }
}

/* Timed passes in a region of this size; the fastest counts. */
static bool time_runs(struct measurement *m, double harness)
{
    struct replay_figures *f = &m->result->figures;
    const size_t warm = f->stats.brk_peak;
    double best = -1, ns = 0;
    for (unsigned i = 0; i < m->options->runs; i++, tick(m)) {
        if (!replay_time(m->replay, m->strategy, m->capacity, warm, &ns, f))
            return no_space(m, m->capacity);
        if (i == 0 || ns < best)
            best = ns;
    }
    uint64_t ops = m->replay->sum->op_count;
    if (f->has_heap && ops != 0)
        m->result->ns_per_op = best > harness ? (best - harness) / (double)ops : 0;
    return true;
}

/* Times in a region of the observed break and the cache's part, and in a larger one only if the
 * trace does not complete there. */
static bool time_in_fitting_region(struct measurement *m, double harness)
{
    const struct replay_figures observed = m->result->figures;
    for (uint64_t slack = PAGE + observed.cache_bytes;; slack *= 2) {
        m->capacity = (size_t)at_most(observed.stats.brk_peak + slack, LARGEST_REGION);
        if (!time_runs(m, harness))
            return false;
        if (m->result->figures.failed <= observed.failed || m->capacity == LARGEST_REGION)
            return true;
        m->result->figures = observed;
    }
}

static bool time_in_given_region(struct measurement *m, double harness)
{
    m->capacity = m->options->heap;
    if (!replay_observe(m->replay, m->strategy, m->capacity, &m->result->figures))
        return no_space(m, m->capacity);
    tick(m);
    return !m->result->figures.has_heap || time_runs(m, harness);
}

/* As `hmm compare` finds it. */
static bool find_smallest(struct measurement *m)
{
    const struct probe probe = {m->replay, m->strategy, 0};
    if (!probe_smallest(&probe, m->result->figures.stats.brk_peak, &m->result->smallest))
        return no_space(m, m->capacity);
    tick(m);
    return true;
}

static bool check(struct measurement *m)
{
    char fault[256];
    if (!replay_verify(m->replay, m->strategy, m->capacity, fault, sizeof fault))
        return no_space(m, m->capacity);
    m->result->faulty = fault[0] != '\0';
    if (m->result->faulty)
        cli_complain("replay", "%s: %s: %s", m->result->trace, m->result->strategy, fault);
    tick(m);
    return true;
}

unsigned replay_passes(const struct replay_options *options)
{
    return 1 + options->runs + options->check + options->smallest;
}

bool replay_measure(const struct replay *replay, const struct hmm_strategy *strategy,
                    const struct replay_options *options, double harness,
                    const struct replay_tick *tell, struct replay_result *result)
{
    const struct hmm_trace_summary *t = replay->sum;
    struct measurement m = {replay, strategy, options, tell, result, 0, 0, 0};
    m.expected = replay_passes(options);
    result->strategy = hmm_strategy_name(strategy);
    result->ops = t->op_count;
    result->allocations = t->counts[HMM_TRACE_ALLOC] + t->counts[HMM_TRACE_ALIGNED];
    result->ns_per_op = -1;
    result->figures.has_heap = true;
    m.capacity = options->heap != 0 ? options->heap : (size_t)generous_size(t);
    if (options->check && (!check(&m) || result->faulty))
        return result->faulty;
    bool done = options->heap != 0 ? time_in_given_region(&m, harness)
                                   : observe_generously(&m) && time_in_fitting_region(&m, harness);
    if (done && options->smallest)
        done = find_smallest(&m);
    result->capacity = m.capacity;
    return done;
}

static double ratio(uint64_t bytes, const struct replay_result *result)
{
    uint64_t live = result->figures.live_peak;
    return live != 0 && bytes != 0 ? (double)bytes / (double)live : -1;
}

uint64_t replay_peak_break(const struct replay_result *result)
{
    return result->figures.stats.brk_peak + result->figures.cache_bytes;
}

double replay_footprint(const struct replay_result *result)
{
    return ratio(replay_peak_break(result), result);
}

double replay_smallest_ratio(const struct replay_result *result)
{
    return ratio(result->smallest, result);
}
