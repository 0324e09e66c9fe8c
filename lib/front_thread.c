/* SPDX-License-Identifier: MIT */
/*
 * Keepers: one for each thread, made when it first wants memory, vacant when it ends.
 */
#include "front_process.h"

#if HMM__FRONT

struct front hmm__process_front;

#if defined(HMM__THREADS)
#include <pthread.h>

struct keeper hmm__keeper_none, hmm__keeper_gone;

__thread struct keeper *hmm__keeper_mine __attribute__((tls_model("initial-exec"))) =
    &hmm__keeper_none;
#else
struct keeper hmm__keeper_none;
struct keeper *hmm__keeper_mine = &hmm__keeper_none;
#endif

/* An owner's low half tells keepers apart, and from none. */
static bool has_clear_address(const struct keeper *k)
{
#if defined(HMM__THREADS)
    if (low_half(k) == low_half(&hmm__keeper_gone))
        return false;
#endif
    return low_half(k) > 1 && low_half(k) != low_half(&hmm__keeper_none);
}

static void set_classes(struct keeper *k)
{
    unsigned c = 0;
    for (size_t i = 0; i < sizeof k->class_of; i++) {
        if (i * 16 > class_bytes(c))
            c++;
        k->class_of[i] = (uint8_t)c;
    }
}

struct keeper *hmm__keeper_new(struct front *f)
{
    struct keeper *k;
    do {
        k = hmm__front_extend(f, sizeof *k, 64);
        if (k == NULL)
            return NULL;
    } while (!has_clear_address(k));
    set_classes(k);
    k->front = f;
    k->next = f->keepers;
    f->keepers = k;
    f->busy++;
    return k;
}

/* With the lock, by k's own thread. */
void hmm__keeper_vacate(struct keeper *k)
{
    k->idle_most = 0;
    k->front->vacant++;
    k->front->busy--;
    __atomic_store_n(&k->state, KEEPER_VACANT, __ATOMIC_SEQ_CST);
    hmm__front_trim(k);
}

struct keeper *hmm__keeper_here(struct front *f)
{
    struct keeper *k = f->lock ? keeper_mine() : f->keeper;
    return k != NULL && k->front == f ? k : NULL;
}

/* A run of a keeper that is vacant, with free objects; NULL: there is none. With the lock. */
struct run *hmm__keeper_adopt(struct keeper *k, unsigned c)
{
    for (struct keeper *other = k->front->keepers; other != NULL; other = other->next) {
        struct run *d;
        if (__atomic_load_n(&other->state, __ATOMIC_RELAXED) != KEEPER_VACANT)
            continue;
        d = hmm__run_dequeue(other, c);
        if (d == NULL)
            continue;
        uint32_t units = hmm__run_units(k->front, d);
        other->classes[c].units -= units;
        k->classes[c].units += units;
        __atomic_store_n(&d->owner, low_half(k), __ATOMIC_RELEASE); /* k is there before */
        return d;
    }
    return NULL;
}

#if defined(HMM__THREADS)

static struct {
    pthread_key_t key;
    bool has_key; /* atomic: at the program's end threads may outlive it */
} leaving;

/* The thread ends. What it still frees and allocates goes to the heap itself. */
static void leave_keeper(void *mine)
{
    struct keeper *k = mine;
    struct front *f = k->front;
    hmm__keeper_mine = &hmm__keeper_gone;
    enum lock_hold hold = hmm__lock_insist(f->lock);
    if (hold != LOCK_ASIDE)
        hmm__keeper_vacate(k);
    lock_give(f->lock, hold);
}

/* The library is unloaded, or the program ends: no thread is to come here any more. */
static __attribute__((destructor)) void forget_threads(void)
{
    if (__atomic_exchange_n(&leaving.has_key, false, __ATOMIC_RELAXED))
        pthread_key_delete(leaving.key);
}

static struct keeper *vacant_one(struct front *f)
{
    struct keeper *k = f->vacant ? f->keepers : NULL;
    while (k != NULL && __atomic_load_n(&k->state, __ATOMIC_RELAXED) != KEEPER_VACANT)
        k = k->next;
    if (k != NULL) {
        f->vacant--;
        f->busy++;
        __atomic_store_n(&k->state, KEEPER_BUSY, __ATOMIC_RELAXED);
    }
    return k;
}

static struct keeper *find_one(struct front *f)
{
    struct keeper *k = f->keeper;
    f->keeper = NULL;
    if (k == NULL)
        k = vacant_one(f);
    return k ? k : hmm__keeper_new(f);
}

/* glibc's: where all keys of the process are taken. It keeps this library loaded until the thread
 * has ended. */
#if defined(__GLIBC__)
extern int __cxa_thread_atexit_impl(void (*at_end)(void *), void *arg, void *library)
    __attribute__((weak));
extern void *__dso_handle __attribute__((visibility("hidden")));

static bool watch_without_key(struct keeper *k)
{
    return __cxa_thread_atexit_impl != NULL &&
           __cxa_thread_atexit_impl(leave_keeper, k, &__dso_handle) == 0;
}
#else
static bool watch_without_key(struct keeper *k)
{
    (void)k;
    return false;
}
#endif

/* False: its end would not be seen. Both ways may allocate: they find the keeper in place. */
static bool watch_end(struct keeper *k)
{
    int code = errno;
    bool watched = __atomic_load_n(&leaving.has_key, __ATOMIC_RELAXED) &&
                   pthread_setspecific(leaving.key, k) == 0;
    watched = watched || watch_without_key(k);
    errno = code;
    return watched;
}

struct keeper *hmm__keeper_attach(struct front *f)
{
    enum lock_hold hold;
    if (hmm__keeper_mine != &hmm__keeper_none || !f->open)
        return NULL;
    hold = front_lock(f);
    if (hold == LOCK_ASIDE)
        return NULL;
    struct keeper *k = find_one(f);
    front_unlock(f, hold);
    if (k == NULL)
        return NULL;
    hmm__keeper_mine = k;
    if (watch_end(k))
        return k;
    leave_keeper(k); /* what would be left in it at the thread's end would be lost */
    return NULL;
}

/* With the lock, before any thread has a keeper. */
void hmm__keepers_watch_threads(void)
{
    if (!leaving.has_key)
        leaving.has_key = pthread_key_create(&leaving.key, leave_keeper) == 0;
}

void hmm__keepers_after_fork(struct front *f)
{
    for (struct keeper *k = f->keepers; k != NULL; k = k->next)
        if (k != hmm__keeper_mine && k != f->keeper && k->state == KEEPER_BUSY) {
            k->state = KEEPER_LOST;
            f->busy--;
        }
}

#else

struct keeper *hmm__keeper_attach(struct front *f)
{
    if (hmm__keeper_mine != &hmm__keeper_none || !f->open)
        return NULL;
    return hmm__keeper_mine = f->keeper;
}

void hmm__keepers_watch_threads(void)
{
}

void hmm__keepers_after_fork(struct front *f)
{
    (void)f;
}

#endif
#endif
