/* SPDX-License-Identifier: MIT */
/*
 * The recorded process's side, its slow path: attaching to the pool, and waiting for a segment. All
 * of it runs inside the program's calls of malloc, the first of which comes before any constructor.
 * So it uses no allocation, no stdio, no environ and no cancellation point.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "next.h"
#include "stack.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

#define LONGEST_PATH 128
#define SPINS 200
#define PATIENCE 2000 /* waits without an answer from the recorder */

struct record_own record_own;
struct record_pool *record_pool;
struct record_event *record_segments;
static bool is_bypassed; /* the program has another malloc */

/* ---- Finding the pool ---- */

/* The words of the environment that the program was started with, through a small window. */
struct words {
    int fd;
    size_t at, filled;
    char bytes[1024];
};

/* The next byte, or -1 at the end. */
static int next_byte(struct words *w)
{
    if (w->at == w->filled) {
        long got = syscall(SYS_read, w->fd, w->bytes, sizeof w->bytes);
        w->at = 0;
        w->filled = got > 0 ? (size_t)got : 0;
    }
    return w->at < w->filled ? (unsigned char)w->bytes[w->at++] : -1;
}

/* Reads a word. True iff it is the variable's, whose value is then in `value`, if it fits. */
static bool read_word(struct words *w, char *value, int *byte)
{
    static const char name[] = RECORD_VARIABLE "=";
    size_t n = 0;
    bool alike = true;
    for (; (*byte = next_byte(w)) > 0; n++) {
        if (n < sizeof name - 1)
            alike = alike && *byte == name[n];
        else if (alike && n - (sizeof name - 1) < LONGEST_PATH - 1)
            value[n - (sizeof name - 1)] = (char)*byte;
    }
    if (!alike || n < sizeof name || n - (sizeof name - 1) >= LONGEST_PATH)
        return false;
    value[n - (sizeof name - 1)] = '\0';
    return true;
}

static int open_quietly(const char *path, int flags)
{
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, 0);
}

static bool find_path(char *path)
{
    struct words words = {.fd = open_quietly("/proc/self/environ", O_RDONLY)};
    bool found = false;
    if (words.fd < 0)
        return false;
    for (int byte = 0; byte >= 0 && !found;)
        found = read_word(&words, path, &byte);
    syscall(SYS_close, words.fd);
    return found;
}

/* The note of how this process came to its program, which the recorder has not settled; or NULL. */
static struct record_start *own_start(struct record_pool *pool, int32_t pid)
{
    for (int i = 0; i < RECORD_STARTS; i++)
        if (atomic_load(&pool->starts[i].state) == RECORD_START_USED && pool->starts[i].pid == pid)
            return &pool->starts[i];
    return NULL;
}

/* It is counted once: here, or by that note, which has the program's name. */
static void lose(struct record_pool *pool, enum record_loss why)
{
    const int32_t pid = record_own_pid();
    struct record_start *start = own_start(pool, pid);
    if (pid == atomic_load(&pool->first))
        atomic_store(&pool->first_lost, 1);
    if (start != NULL && why == RECORD_LOST_BYPASSED) {
        atomic_store(&start->is_bypassed, 1);
        return;
    }
    atomic_fetch_add(&pool->lost[why], 1);
    if (start != NULL)
        atomic_store(&start->state, RECORD_START_FREE);
}

/* The whole pool; if there is no address space for that, this is noted in its first part. */
static struct record_pool *map(int fd)
{
    struct stat status;
    const int rights = PROT_READ | PROT_WRITE;
    if (fstat(fd, &status) != 0 || status.st_size < (off_t)sizeof(struct record_pool))
        return NULL;
    struct record_pool *pool = mmap(NULL, (size_t)status.st_size, rights, MAP_SHARED, fd, 0);
    if (pool != MAP_FAILED)
        return pool->magic == RECORD_MAGIC ? pool : NULL;
    pool = mmap(NULL, sizeof *pool, rights, MAP_SHARED, fd, 0);
    if (pool != MAP_FAILED) {
        if (pool->magic == RECORD_MAGIC)
            lose(pool, RECORD_LOST_MEMORY);
        munmap(pool, sizeof *pool);
    }
    return NULL;
}

static struct record_pool *find_pool(void)
{
    char path[LONGEST_PATH];
    int fd = find_path(path) ? open_quietly(path, O_RDWR) : -1;
    if (fd < 0)
        return NULL;
    struct record_pool *pool = map(fd);
    syscall(SYS_close, fd);
    return pool;
}

/* ---- Joining ---- */

int32_t record_own_pid(void)
{
    char link[16];
    long length = syscall(SYS_readlinkat, AT_FDCWD, "/proc/self", link, sizeof link);
    int32_t pid = 0;
    for (long i = 0; i < length; i++)
        pid = pid * 10 + (link[i] - '0');
    return pid > 0 ? pid : (int32_t)getpid();
}

static struct record_process *claim(struct record_pool *pool)
{
    for (int i = 0; i < RECORD_PROCESSES; i++) {
        struct record_process *p = &pool->process[i];
        uint32_t expected = RECORD_SLOT_FREE;
        if (atomic_load(&p->state) == expected &&
            atomic_compare_exchange_strong(&p->state, &expected, RECORD_SLOT_CLAIMED))
            return p;
    }
    lose(pool, RECORD_LOST_TOO_MANY);
    return NULL;
}

static struct record_process *enter(struct record_pool *pool)
{
    int32_t pid = record_own_pid();
    if (atomic_load(&pool->stopped) || (!pool->follow && pid != atomic_load(&pool->first)))
        return NULL;
    if (is_bypassed) {
        lose(pool, RECORD_LOST_BYPASSED);
        return NULL;
    }
    if (madvise(&record_own, sizeof record_own, MADV_WIPEONFORK) != 0) {
        lose(pool, RECORD_LOST_SYSTEM);
        return NULL;
    }
    if (pool->depth != 0 && !record_stacks_start(pool->depth)) {
        lose(pool, RECORD_LOST_SYSTEM);
        return NULL;
    }
    record_next.special = record_next.special || record_depth != 0;
    struct record_process *me = claim(pool);
    if (me == NULL)
        return NULL;
    me->pid = pid;
    prctl(PR_GET_NAME, me->program);
    me->number = atomic_fetch_add(&pool->numbers, 1);
    atomic_store(&me->state, RECORD_SLOT_USED);
    atomic_fetch_add(&pool->joined, 1);
    record_ring(pool);
    return me;
}

/* Inherited from a parent by fork, the pool is used as it is mapped, whatever has become of the
 * environment, the file descriptors, the root folder or the user. */
static struct record_process *look_for(void)
{
    if (record_pool == NULL && (record_pool = find_pool()) != NULL)
        record_segments = record_segment(record_pool, 0);
    return record_pool != NULL ? enter(record_pool) : NULL;
}

/* Signals wait, so that no handler comes in between and asks for memory. */
static void look_once(void)
{
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    if (atomic_exchange(&record_own.looking, 1) == 0) {
        struct record_process *me = look_for();
        atomic_store(&record_own.process, me != NULL ? me : RECORD_OFF);
    }
    while (atomic_load(&record_own.process) == NULL)
        sched_yield();
    sigprocmask(SIG_SETMASK, &before, NULL);
}

struct record_process *record_join(void)
{
    struct record_process *me = atomic_load(&record_own.process);
    if (me == NULL) {
        int code = errno;
        look_once();
        errno = code;
        me = atomic_load(&record_own.process);
    }
    return me != RECORD_OFF ? me : NULL;
}

/* So that a program that allocates nothing, or not yet, is known as well. */
__attribute__((constructor)) static void join_at_start(void)
{
    is_bypassed = record_is_bypassed();
    record_join();
}

/* ---- Waiting for a segment ---- */

struct patience {
    unsigned turns, silent;
    uint32_t heartbeat;
};

/* Not nanosleep, in which a thread can be cancelled. */
static void nap(void)
{
    struct {
        long seconds, nanoseconds;
    } millisecond = {0, 1000000};
    uint32_t word = 0;
    int code = errno;
    syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &millisecond, NULL, 0);
    errno = code;
}

/* True iff the recorder has died. One that is stopped is waited for. */
static bool is_dead(struct record_pool *pool, struct patience *p)
{
    uint32_t beat = atomic_load(&pool->heartbeat);
    p->silent = beat == p->heartbeat ? p->silent + 1 : 0;
    p->heartbeat = beat;
    if (p->silent < PATIENCE)
        return false;
    int code = errno;
    bool dead = kill(pool->recorder, 0) != 0 && errno == ESRCH;
    errno = code;
    p->silent = 0;
    return dead;
}

/* False iff there is no more to wait for. */
static bool wait_a_while(struct record_process *me, struct patience *p)
{
    struct record_pool *pool = record_pool;
    if (atomic_load(&record_own.process) != me)
        return false; /* forked by a handler that interrupted the parent's waiting */
    if (p->turns++ < SPINS) {
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#endif
        return true;
    }
    if (is_dead(pool, p))
        atomic_store(&pool->stopped, 1);
    if (atomic_load(&pool->stopped)) {
        atomic_store(&record_own.process, RECORD_OFF);
        return false;
    }
    atomic_store(&pool->wanting, 1);
    record_ring(pool);
    nap();
    return true;
}

/* A segment for the n-th, if the window has room and the pool has one. */
static int provide(struct record_process *me, uint64_t n)
{
    _Atomic uint32_t *entry = &me->window[n % RECORD_WINDOW];
    int segment = atomic_load(entry) == 0 ? record_take(record_pool) : -1;
    if (segment >= 0) {
        atomic_store(entry, record_entry(n, (uint32_t)segment));
        record_ring(record_pool);
    }
    return segment;
}

/* The segment that another thread provides. */
static int provided(const struct record_process *me, uint64_t n)
{
    uint32_t segment = record_entry_segment(n, atomic_load(&me->window[n % RECORD_WINDOW]));
    return segment < RECORD_SEGMENTS ? (int)segment : -1;
}

int record_await(struct record_process *me, uint64_t place)
{
    const uint64_t n = place / RECORD_EVENTS;
    const bool mine = place % RECORD_EVENTS == 0;
    struct patience patience = {0};
    int segment;
    do
        segment = mine ? provide(me, n) : provided(me, n);
    while (segment < 0 && wait_a_while(me, &patience));
    return segment;
}
