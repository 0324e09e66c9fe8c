/* SPDX-License-Identifier: MIT */
/*
 * hmm_set_trace: each call as an event (base/event.h). What calls a heap says what it did. Calls
 * what the program has set.
 */
#include "api/hooks.h"

#include "base/event.h"

#if HMM_WITH_TRACE

static struct {
    void (*event)(void *arg, const void *bytes, unsigned n);
    void *arg;
} trace;

static void say_event(const uint32_t *words, unsigned bytes)
{
    if (trace.event != NULL)
        trace.event(trace.arg, words, bytes);
}

void hmm_set_trace(void (*event)(void *arg, const void *bytes, unsigned n), void *arg)
{
    uint32_t words[HMM_EVENT_WORDS];
    hmm__hooks_begin();
    trace.event = event;
    trace.arg = arg;
    if (event != NULL)
        say_event(words, hmm_event_start(words, HMM_GRANULE));
    hmm__hooks_end();
    hmm__hooks_change(HMM__HOOK_TRACE, event != NULL);
}

/* The low 32 bits, or for a size the most that they hold. */
static uint32_t event_address(const void *p)
{
    return (uint32_t)(uintptr_t)p;
}

static uint32_t event_size(size_t size)
{
    return size < UINT32_MAX ? (uint32_t)size : UINT32_MAX;
}

void hmm__trace_alloc(const void *p, size_t size)
{
    uint32_t words[HMM_EVENT_WORDS];
    say_event(words, p ? hmm_event_alloc(words, event_address(p), event_size(size))
                       : hmm_event_failed(words, event_size(size)));
}

void hmm__trace_aligned(const void *p, size_t size, size_t align)
{
    uint32_t words[HMM_EVENT_WORDS];
    if (p == NULL || align <= HMM_GRANULE)
        hmm__trace_alloc(p, size);
    else
        say_event(words,
                  hmm_event_aligned(words, event_address(p), event_size(size), event_size(align)));
}

void hmm__trace_free(const void *p)
{
    uint32_t words[HMM_EVENT_WORDS];
    if (p != NULL)
        say_event(words, hmm_event_free(words, event_address(p)));
}

void hmm__trace_resize(uintptr_t was, const void *now, size_t size)
{
    uint32_t words[HMM_EVENT_WORDS];
    if (was == 0 || (now == NULL && size != 0))
        hmm__trace_alloc(now, size);
    else if (now == NULL)
        say_event(words, hmm_event_free(words, (uint32_t)was));
    else
        say_event(words,
                  hmm_event_resize(words, (uint32_t)was, event_address(now), event_size(size)));
}

#endif
