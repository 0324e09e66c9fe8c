/* SPDX-License-Identifier: MIT */
/*
 * The checked pass: does every block keep what was written to it?
 */
#include "hmm-strategy.h"
#include "replay.h"

#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* If a stretch takes longer, the strategy is taken to be in an endless loop. */
#define SECONDS_A_STRETCH 20
#define STRETCH 256 /* operations */

struct verifier {
    const struct replay *replay;
    struct hmm_heap *heap;
    uint64_t op; /* the index of the operation that is being done */
    char *fault;
    size_t fault_room;
};

/* Blocks filled at different operations differ, and neighbouring bytes do. */
static unsigned char pattern(uint64_t seed, size_t i)
{
    return (unsigned char)((seed * 0x9e3779b97f4a7c15u >> 56) + i * 37);
}

static void fill(unsigned char *block, size_t size, uint64_t seed)
{
    for (size_t i = 0; i < size; i++)
        block[i] = pattern(seed, i);
}

static bool holds(const unsigned char *block, size_t size, uint64_t seed)
{
    for (size_t i = 0; i < size; i++)
        if (block[i] != pattern(seed, i))
            return false;
    return true;
}

static bool complain(struct verifier *v, const char *what)
{
    snprintf(v->fault, v->fault_room, "operation %llu: %s", (unsigned long long)v->op + 1, what);
    return false;
}

/* A new block: where and how large it is. */
static bool check_placed(struct verifier *v, const struct hmm_trace_op *op)
{
    void *block = v->replay->blocks[op->id];
    size_t align = op->kind == HMM_TRACE_ALIGNED ? (size_t)1 << op->align_log2 : 1;
    if (((uintptr_t)block & (align - 1)) != 0)
        return complain(v, "the block is not aligned as requested");
    if (hmm_heap_usable_size(v->heap, block) < op->size)
        return complain(v, "the block is smaller than requested");
    return true;
}

/* The pattern's seed is the ID, so that blocks which live at the same time have different patterns.
 */
static bool verify_op(struct verifier *v, const struct hmm_trace_op *op)
{
    void **block = &v->replay->blocks[op->id];
    uint64_t *size = &v->replay->sizes[op->id];
    bool is_new = op->kind == HMM_TRACE_ALLOC || op->kind == HMM_TRACE_ALIGNED;
    if (!is_new && *block == NULL)
        return true;
    if (!is_new && !holds(*block, (size_t)*size, op->id))
        return complain(v, "the block does not hold what was written to it");
    if (!replay_step(v->heap, op, v->replay->blocks) || op->kind == HMM_TRACE_FREE)
        return true;
    size_t kept = (size_t)(is_new ? 0 : *size < op->size ? *size : op->size);
    if (!holds(*block, kept, op->id))
        return complain(v, "the resized block has lost what was in it");
    if (!check_placed(v, op))
        return false;
    fill(*block, (size_t)op->size, op->id);
    *size = op->size;
    return true;
}

/* ---- The answers of find, of a strategy whose requests all go through it ---- */

/* Whether `none` is the right answer takes a walk over all blocks, which is slow: it is made for
 * the first WALKS_AT_FIRST of such answers, and then for one in WALKS_LATER. */
#define WALKS_AT_FIRST 2000
#define WALKS_LATER 256

static const struct hmm_strategy *checked; /* whose find is looked at */
static const char *wrong_answer;           /* the first that was wrong; NULL: none yet */
static unsigned long answers_of_none;

static bool any_fits(struct hmm_heap *heap, uint32_t granules)
{
    for (hmm_ref r = hmm_block_first(heap); r != 0; r = hmm_block_next(heap, r))
        if (hmm_block_is_free(heap, r) && hmm_block_granules(heap, r) >= granules)
            return true;
    return false;
}

/* A wrong answer is not passed on: it would damage the heap. */
static hmm_ref find_checked(struct hmm_heap *heap, void *state, uint32_t granules)
{
    hmm_ref r = checked->find(heap, state, granules);
    const char *wrong = NULL;
    if (r != 0 && !hmm_block_is_free(heap, r))
        wrong = "find answers a block that is not free";
    else if (r != 0 && hmm_block_granules(heap, r) < granules)
        wrong = "find answers a block that is too small";
    else if (r == 0 &&
             (++answers_of_none <= WALKS_AT_FIRST || answers_of_none % WALKS_LATER == 0) &&
             any_fits(heap, granules))
        wrong = "find answers none although a free block fits";
    if (wrong_answer == NULL)
        wrong_answer = wrong;
    return wrong != NULL ? 0 : r;
}

static const struct hmm_strategy *with_checked_find(const struct hmm_strategy *s)
{
    static struct hmm_strategy wrapped;
    if (s->take != NULL || s->malloc_whole != NULL)
        return s;
    checked = s;
    wrapped = *s;
    wrapped.find = find_checked;
    return &wrapped;
}

/* False iff something is wrong, which has been said. */
static bool verify_stretch(struct verifier *v, const struct hmm_trace_op *ops, size_t count)
{
    for (size_t i = 0; i < count; i++, v->op++) {
        if (v->op % STRETCH == 0)
            alarm(SECONDS_A_STRETCH);
        if (!verify_op(v, &ops[i]))
            return false;
        if (wrong_answer != NULL)
            return complain(v, wrong_answer);
    }
    return true;
}

static void verify(struct verifier *v)
{
    const struct hmm_trace_op *ops;
    hmm_trace_tape_rewind(v->replay->tape);
    for (size_t count; (count = hmm_trace_tape_next(v->replay->tape, &ops)) != 0;) {
        if (!verify_stretch(v, ops, count))
            return;
        alarm(0); /* reading may take as long as it likes */
    }
    const char *broken = hmm_heap_check(v->heap);
    if (broken != NULL)
        snprintf(v->fault, v->fault_room, "after the last operation: %s", broken);
}

static bool verify_here(const struct replay *replay, const struct hmm_strategy *strategy,
                        size_t capacity, char *fault, size_t fault_room)
{
    struct replay_region region;
    fault[0] = '\0';
    if (!replay_reserve(&region, capacity))
        return false;
    size_t control;
    struct hmm_heap *heap = replay_heap(replay, &region, with_checked_find(strategy), &control);
    struct verifier v = {replay, heap, 0, fault, fault_room};
    if (heap != NULL)
        verify(&v);
    hmm_heap_destroy(heap);
    replay_release(&region);
    return true;
}

/* How the checking process ended that could not say anything itself. */
static void tell_end(int status, char *fault, size_t fault_room)
{
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        snprintf(fault, fault_room, "does not return within %d seconds", SECONDS_A_STRETCH);
    else if (WIFSIGNALED(status))
        snprintf(fault, fault_room, "crashes: %s", strsignal(WTERMSIG(status)));
    else if (WEXITSTATUS(status) != 0 && fault[0] == '\0')
        snprintf(fault, fault_room, "ends the process with status %d", WEXITSTATUS(status));
}

bool replay_verify(const struct replay *replay, const struct hmm_strategy *strategy,
                   size_t capacity, char *fault, size_t fault_room)
{
    char *shared =
        mmap(NULL, fault_room, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return false;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0)
        _exit(verify_here(replay, strategy, capacity, shared, fault_room) ? 0 : 3);
    int status = 0;
    bool done = child > 0 && waitpid(child, &status, 0) == child &&
                !(WIFEXITED(status) && WEXITSTATUS(status) == 3);
    memcpy(fault, shared, fault_room);
    if (done)
        tell_end(status, fault, fault_room);
    munmap(shared, fault_room);
    return done;
}
