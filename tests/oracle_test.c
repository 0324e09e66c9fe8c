/* SPDX-License-Identifier: MIT */
/*
 * Every placement is the plain scan's, address for address, and no request fails that could be
 * served: random operations in several mixes of sizes, live switches, prefixes of real traces.
 */
#include "oracle.h"
#include "trace.h"
#include "workload.h"

#include <errno.h>
#include <stdlib.h>

#define STEPS_PER_MIX 30000u
#define TRACE_STEPS 6000u
#define SWITCH_EVERY 100u
#define CHECK_EVERY 64u

/* What is known before an operation. */
struct foretold {
    void *place; /* where malloc must place, or a realloc that moves the block */
    void *below; /* the free block below the one that is resized */
};

static void foretell(struct workload *w, const struct op *op)
{
    struct foretold *f = w->arg;
    *f = (struct foretold){0};
    if (op->kind == OP_MALLOC || op->kind == OP_CALLOC)
        f->place = oracle_place(w->heap, op->size);
    if (op->kind == OP_ALIGNED)
        f->place = oracle_place_aligned(w->heap, op->align, op->size);
    if (op->kind == OP_REALLOC && op->size)
        f->place = oracle_place_aligned(w->heap, op->slot->align, op->size);
    hmm_ref below =
        op->kind == OP_REALLOC ? hmm_block_prev_free(w->heap, block_of(w->heap, op->was)) : 0;
    f->below = below ? block_payload(w->heap, below) : NULL;
}

/* Not what stays, and not what slides down over the free block below it, or a part of that. */
static bool is_placed(const struct op *op, const struct foretold *f)
{
    if (op->kind != OP_REALLOC)
        return op->kind != OP_FREE;
    if (op->result == NULL || op->result == op->was)
        return false;
    return f->below == NULL || (char *)op->result < (char *)f->below ||
           (char *)op->result > (char *)op->was;
}

static void assert_failed_rightly(const struct workload *w, const struct op *op)
{
    size_t align = op->kind == OP_ALIGNED ? op->align : HMM_GRANULE;
    if (op->kind == OP_REALLOC && op->slot->align > HMM_GRANULE)
        align = op->slot->align;
    require(!oracle_fits(w->heap, oracle_granules(align, op->size), align),
            "%s: %zu bytes, aligned to %zu, were refused, but there is room",
            hmm_strategy_name(hmm_heap_strategy(w->heap)), op->size, align);
}

static void hold(struct workload *w, const struct op *op)
{
    bool frees = op->kind == OP_FREE || (op->kind == OP_REALLOC && op->size == 0);
    if (is_placed(op, w->arg))
        require(op->result == ((const struct foretold *)w->arg)->place,
                "%s: %zu bytes are at %p, by the plain scan at %p",
                hmm_strategy_name(hmm_heap_strategy(w->heap)), op->size, op->result,
                ((const struct foretold *)w->arg)->place);
    if (op->result == NULL && !frees)
        assert_failed_rightly(w, op);
    if (w->seed % CHECK_EVERY == 0) {
        struct hmm_stats s;
        assert_sound(w->heap);
        hmm_heap_stats(w->heap, &s); /* asks for the largest block */
    }
}

static struct workload *watched_workload(const struct hmm_strategy *rule, int mix, uint64_t seed)
{
    static struct workload w;
    static struct foretold foretold;
    const struct hmm_strategy *s = oracle_wrap(rule);
    workload_start(&w, unwatched(heap_of(mixes[mix].region, s)), &mixes[mix], seed);
    w.before = foretell;
    w.after = hold;
    w.arg = &foretold;
    return &w;
}

static void random_steps(int i)
{
    const unsigned long steps = scaled(STEPS_PER_MIX);
    struct workload *w =
        watched_workload(strategy_of(i / mix_count()), i % mix_count(), (uint64_t)i);
    for (unsigned long n = steps; n != 0; n--)
        workload_step(w);
    ck_assert_uint_gt(oracle_asked(), steps / 4);
    workload_verify(w);
    workload_free_all(w);
    assert_empty(w->heap);
    heap_end(w->heap);
}

/* _i: strategy and mix. */
START_TEST(random_operations)
{
    random_steps(_i);
}
END_TEST

START_TEST(random_operations_in_steps)
{
    oracle_in_steps();
    random_steps(_i);
}
END_TEST

/* ---- Pieces ---- */

/* As it likes, but of sizes and at places that a heap has. */
static struct hmm_piece any_piece(uint64_t *rng, const struct hmm_heap *h)
{
    struct hmm_piece piece = {.granules = hmm__granules_for(rng_below(rng, 2000)),
                              .align = UINT32_C(1) << rng_below(rng, 7),
                              .phase = (uint32_t)rng_next(rng)};
    if (rng_below(rng, 2))
        piece.boundary = UINT32_C(1) << rng_below(rng, 10);
    if (piece.boundary != 0 && rng_below(rng, 2)) {
        piece.shift = (uint32_t)rng_next(rng);
        piece.slack = piece.granules > 1;
    }
    if (rng_below(rng, 2))
        piece.low = h->first + (hmm_ref)rng_below(rng, h->extent + 1);
    if (rng_below(rng, 2))
        piece.high = h->first + (hmm_ref)rng_below(rng, h->extent + 100);
    return piece;
}

static bool some_block_holds(const struct hmm_heap *h, const struct hmm_piece *piece)
{
    for (hmm_ref r = h->first; r != h->top; r = block_next(h, r))
        if ((block_header(h, r) & HMM__FREE) && hmm_piece_fits(piece, r, block_size(h, r)))
            return true;
    return false;
}

/* Takes a piece of a free block, and gives it back. Whether there was one. */
static bool take_any_piece(struct workload *w)
{
    struct hmm_heap *h = w->heap;
    const struct hmm_piece piece = any_piece(&w->rng, h);
    void *p = hmm__take_piece(h, &piece, HMM__PIECE_OF_HOLE);
    require(p != NULL || !hmm_piece_is_limited(&piece) || !some_block_holds(h, &piece),
            "%s: a piece was not found", hmm_strategy_name(hmm_heap_strategy(h)));
    if (p != NULL)
        hmm__free(h, p);
    return p != NULL;
}

/* _i: strategy and mix. Of the best, the first... of those blocks in which the piece fits. */
START_TEST(pieces)
{
    const unsigned long steps = scaled(STEPS_PER_MIX) / 3;
    unsigned long found = 0;
    struct workload *w =
        watched_workload(strategy_of(_i / mix_count()), _i % mix_count(), (uint64_t)_i + 200);
    for (unsigned long n = 1; n <= steps || (found == 0 && n <= STEPS_PER_MIX); n++) {
        workload_step(w);
        found += take_any_piece(w);
        if (n % CHECK_EVERY == 0)
            assert_sound(w->heap);
    }
    ck_assert_uint_gt(found, 0);
    workload_verify(w);
    heap_end(w->heap);
}
END_TEST

/* ---- A heap that grows ---- */

/* _i: strategy and mix. From less than the mix has room in to more than 1 MiB, in mid-workload. */
START_TEST(a_heap_that_grows)
{
    static _Alignas(4096) char region[4 << 20];
    static struct foretold foretold;
    static struct workload w;
    const struct hmm_strategy *s = oracle_wrap(strategy_of(_i / mix_count()));
    const struct mix *mix = &mixes[_i % mix_count()];
    size_t size = mix->region / 2;
    struct hmm_heap *h = NULL;
    memset(region, 0xa5, sizeof region);
    for (; (h = hmm_heap_create(region, size, s)) == NULL; size += size / 2)
        ck_assert_uint_lt(size, sizeof region);
    workload_start(&w, unwatched(h), mix, (uint64_t)_i + 300);
    w.before = foretell;
    w.after = hold;
    w.arg = &foretold;
    for (; size < sizeof region / 2; size += size / 8 + rng_below(&w.rng, 5000)) {
        for (; hmm__heap_grow(h, size) != 0; size += size / 8) {
            ck_assert_int_eq(errno, ENOMEM); /* for a larger state, where the heap is full */
            ck_assert_uint_lt(size, sizeof region / 2);
            assert_sound(h);
        }
        assert_sound(h);
        for (unsigned long n = scaled(300); n != 0; n--)
            workload_step(&w);
        take_any_piece(&w);
    }
    workload_verify(&w);
    workload_free_all(&w);
    assert_empty(h);
}
END_TEST

/* _i: mix. From each strategy to each other, again and again. */
START_TEST(live_switches)
{
    const size_t count = (size_t)strategy_count();
    const unsigned long steps = scaled(STEPS_PER_MIX);
    struct workload *w = watched_workload(strategy_of(0), _i, (uint64_t)_i + 100);
    unsigned switched = 0;
    for (unsigned long n = 1; n <= steps; n++) {
        const struct hmm_strategy *next = strategy_of((int)rng_below(&w->rng, count));
        if (n % SWITCH_EVERY == 0)
            switched += hmm_heap_set_strategy(w->heap, oracle_wrap(next)) == 0;
        workload_step(w);
    }
    ck_assert_uint_gt(switched, 0);
    workload_verify(w);
    workload_free_all(w);
    assert_sound(w->heap);
    heap_end(w->heap);
}
END_TEST

/* The tight mixes do run out of room, so that failing has been tried. */
START_TEST(mixes_reach_exhaustion)
{
    unsigned failed = 0;
    for (int mix = 0; mix < mix_count(); mix++) {
        struct workload *w = watched_workload(strategy_of(_i), mix, 7);
        for (unsigned long n = scaled(STEPS_PER_MIX) / 4; n != 0; n--)
            workload_step(w);
        failed += w->failed;
        heap_end(w->heap);
    }
    ck_assert_uint_gt(failed, scaled(STEPS_PER_MIX) / 100);
}
END_TEST

/* ---- find changes nothing: a heap whose strategy is asked without need places the same. ---- */

static const struct hmm_strategy *asked_rule;

static hmm_ref asking_take(struct hmm_heap *h, void *state, uint32_t n)
{
    for (uint32_t other = HMM_MIN_GRANULES; other < 600; other += other / 3 + 1)
        asked_rule->find(h, state, other);
    return asked_rule->take ? asked_rule->take(h, state, n) : hmm__default_take(h, state, n);
}

struct places {
    size_t count;
    uint32_t at[STEPS_PER_MIX];
    bool compare;
};

static void note_place(struct workload *w, const struct op *op)
{
    struct places *p = w->arg;
    uint32_t at = op->result ? block_of(w->heap, op->result) : 0;
    require(!p->compare || p->at[p->count] == at, "operation %zu: at %u, and when asked at %u",
            p->count, p->at[p->count], at);
    p->at[p->count++] = at;
}

START_TEST(find_changes_nothing)
{
    static _Alignas(4096) char region[2 << 20];
    static struct places places;
    static struct workload w;
    struct hmm_strategy asking = *strategy_of(_i);
    asked_rule = strategy_of(_i);
    asking.take = asking_take;
    for (int mix = 0; mix < mix_count(); mix++) {
        for (int twice = 0; twice < 2; twice++) {
            places.compare = twice != 0;
            places.count = 0;
            const struct hmm_strategy *s = twice ? &asking : asked_rule;
            workload_start(&w, hmm_heap_create(region, mixes[mix].region, s), &mixes[mix], 3);
            w.after = note_place;
            w.arg = &places;
            for (unsigned long n = scaled(STEPS_PER_MIX) / 4; n != 0; n--)
                workload_step(&w);
            assert_sound(w.heap);
            hmm_heap_destroy(w.heap);
        }
    }
}
END_TEST

/* ---- Real traces ---- */

#ifdef HAVE_ZSTD
static const char *const traces[] = {"jq-json", "python3-json-ast-sort", "sqlite3-shell"};
#define TRACES (sizeof traces / sizeof traces[0])

static void load_trace(struct hmm_trace *trace, const char *name)
{
    struct hmm_trace_error error;
    const char *top = getenv("top_srcdir");
    char path[4096];
    snprintf(path, sizeof path, "%s/examples/traces/%s.trace.zst", top ? top : ".", name);
    require(hmm_trace_load(trace, path, NULL, &error), "%s: %s", path, error.reason);
}

static void *trace_step(struct hmm_heap *h, const struct hmm_trace_op *op, void *was)
{
    switch ((enum hmm_trace_kind)op->kind) {
    case HMM_TRACE_ALLOC:
        return must_malloc(h, (size_t)op->size);
    case HMM_TRACE_ALIGNED:
        return hmm_heap_aligned_alloc(h, (size_t)1 << op->align_log2, (size_t)op->size);
    case HMM_TRACE_RESIZE:
        return hmm_heap_realloc(h, was, (size_t)op->size);
    default:
        hmm_heap_free(h, was);
        return NULL;
    }
}

/* _i: strategy and trace. */
START_TEST(real_traces)
{
    struct hmm_trace trace;
    const size_t region = 8 << 20;
    load_trace(&trace, traces[_i % (int)TRACES]);
    void **blocks = calloc(trace.id_limit, sizeof *blocks);
    struct hmm_heap *h = unwatched(heap_of(region, oracle_wrap(strategy_of(_i / (int)TRACES))));
    for (size_t i = 0; i < trace.op_count && i < scaled(TRACE_STEPS); i++) {
        const struct hmm_trace_op *op = &trace.ops[i];
        void *place = op->kind == HMM_TRACE_ALLOC ? oracle_place(h, (size_t)op->size) : NULL;
        blocks[op->id] = trace_step(h, op, blocks[op->id]);
        require(op->kind != HMM_TRACE_ALLOC || blocks[op->id] == place,
                "operation %zu is at %p, by the plain scan at %p", i, blocks[op->id], place);
    }
    assert_sound(h);
    heap_end(h);
    free(blocks);
    hmm_trace_free(&trace);
}
END_TEST
#endif

int main(void)
{
    Suite *s = suite_create("oracle");
    struct cases c = add_cases(s, "oracle");
    on_each_strategy(c, random_operations, mix_count());
    on_each_strategy(c, random_operations_in_steps, mix_count());
    on_each_strategy(c, pieces, mix_count());
    on_each_strategy(c, a_heap_that_grows, mix_count());
    tcase_add_loop_test(c.once, live_switches, 0, mix_count());
    on_each_strategy(c, mixes_reach_exhaustion, 1);
    on_each_strategy(c, find_changes_nothing, 1);
#ifdef HAVE_ZSTD
    on_each_strategy(c, real_traces, (int)TRACES);
#endif
    return run_suite(s);
}
