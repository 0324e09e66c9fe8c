/* SPDX-License-Identifier: MIT */
/*
 * Follows the recorded processes. Only the command is a child of the recorder, so wait() does not
 * serve for the others: the end of a process is noticed by its pidfd.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "collect.h"
#include "base/clock.h"

#include "symbols.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FIRST_GRANT 16u    /* segments */
#define LOOK_INTERVAL 0.02 /* seconds */
#define STUCK_TIME 3.0

/* ---- The pool ---- */

static uint64_t segments_at(void)
{
    return (sizeof(struct record_pool) + 65535) / 65536 * 65536;
}

/* For as many processes as there have been at a time. */
static uint32_t most_segments(struct recorder *r)
{
    uint32_t running = (uint32_t)recorder_running(r, false);
    if (running > r->most_running)
        r->most_running = running;
    return r->shared + r->most_running;
}

/* More segments, as many as there are, memory permitting. Memory that is not there must show here:
 * in the program it would be a SIGBUS. */
static bool grant(struct recorder *r)
{
    const uint64_t bytes = RECORD_EVENTS * sizeof(struct record_event);
    const uint32_t most = most_segments(r);
    uint32_t more = r->granted == 0 ? FIRST_GRANT : r->granted;
    if (more > most - r->granted)
        more = most - r->granted;
    if (more == 0)
        return false;
    int code =
        posix_fallocate(r->fd, (off_t)(segments_at() + r->granted * bytes), (off_t)(more * bytes));
    if (code != 0) {
        errno = code;
        return false;
    }
    for (; more != 0; more--)
        record_give(r->pool, r->granted++);
    return true;
}

/* What all processes may use beside the one that each holds: half the pool, or an eighth of the
 * system's memory. More would take more time than it saves: fresh memory is slow. */
static uint32_t shared_segments(void)
{
    const uint64_t bytes = RECORD_EVENTS * sizeof(struct record_event);
    uint64_t memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t most = memory / 8 / bytes;
    return most < FIRST_GRANT                          ? FIRST_GRANT
           : most < RECORD_SEGMENTS - RECORD_PROCESSES ? (uint32_t)most
                                                       : RECORD_SEGMENTS - RECORD_PROCESSES;
}

static bool map_pool(struct recorder *r, int how)
{
    void *pool = mmap(NULL, r->bytes, PROT_READ | PROT_WRITE, how, r->fd, 0);
    r->pool = pool != MAP_FAILED ? pool : NULL;
    return r->pool != NULL;
}

/* Signal handlers find it, or NULL. */
static void unmap_pool(struct recorder *r)
{
    void *pool = r->pool;
    r->pool = NULL;
    atomic_signal_fence(memory_order_seq_cst);
    munmap(pool, r->bytes);
}

static bool make_pool(struct recorder *r)
{
    r->shared = shared_segments();
    const uint64_t bytes =
        segments_at() + (uint64_t)RECORD_SEGMENTS * RECORD_EVENTS * sizeof(struct record_event);
    r->fd = memfd_create("hmm-record", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (r->fd < 0 || ftruncate(r->fd, (off_t)bytes) != 0)
        return false;
    int code = posix_fallocate(r->fd, 0, (off_t)segments_at());
    if (code != 0) {
        errno = code;
        return false;
    }
    r->bytes = (size_t)bytes;
    if (!map_pool(r, MAP_SHARED))
        return false;
    r->pool->bytes = bytes;
    r->pool->segments_at = segments_at();
    r->pool->recorder = (int32_t)getpid();
    return grant(r);
}

bool recorder_open(struct recorder *r, const char *file, bool follow)
{
    *r = (struct recorder){.fd = -1, .file = file};
    if (!make_pool(r)) {
        int code = errno;
        recorder_close(r);
        errno = code;
        return false;
    }
    r->pool->follow = follow;
    r->pool->magic = RECORD_MAGIC;
    return true;
}

void recorder_stacks(struct recorder *r, unsigned depth, bool strip_paths)
{
    r->pool->depth = depth;
    r->strip_paths = strip_paths;
}

void recorder_variable(const struct recorder *r, char *text, size_t room)
{
    snprintf(text, room, RECORD_VARIABLE "=/proc/%ld/fd/%d", (long)r->pool->recorder, r->fd);
}

void recorder_begin(struct recorder *r)
{
    atomic_store(&r->pool->first, (int32_t)getpid());
}

void recorder_close(struct recorder *r)
{
    for (size_t i = 0; i < r->recording_count; i++)
        free(r->recordings[i].path);
    free(r->recordings);
    symbols_close();
    if (r->pool != NULL)
        unmap_pool(r);
    if (r->fd >= 0)
        close(r->fd);
    *r = (struct recorder){.fd = -1};
}

/* ---- Names of traces ---- */

/* Where the process's number goes: before ".ht2", ".trace", ".zst" or the last two. */
static size_t stem_length(const char *file)
{
    static const char *const endings[] = {".ht2", ".zst", ".trace"};
    size_t length = strlen(file);
    for (int i = 0; i < 3; i++) {
        size_t n = strlen(endings[i]);
        if (length > n && memcmp(file + length - n, endings[i], n) == 0 &&
            file[length - n - 1] != '/')
            length -= n;
    }
    return length;
}

/* "NAME.PID.trace.zst"; with the number of an earlier recording, "NAME.PID-1.trace.zst". */
static char *name_of(const struct recorder *r, int32_t pid, unsigned earlier)
{
    size_t room = strlen(r->file) + 40, stem = stem_length(r->file);
    char *name = malloc(room), suffix[16] = "";
    if (earlier != 0)
        snprintf(suffix, sizeof suffix, "-%u", earlier);
    if (name != NULL)
        snprintf(name, room, "%.*s.%ld%s%s", (int)stem, r->file, (long)pid, suffix, r->file + stem);
    return name;
}

/* The name goes to the program that comes after this one in the process. */
static void give_name_up(const struct recorder *r, struct recording *l)
{
    char *name = name_of(r, l->pid, l->earlier + 1);
    if (name == NULL || (l->has_file && rename(l->path, name) != 0))
        fprintf(stderr, "hmm record: cannot rename '%s': %s\n", l->path,
                name == NULL ? "out of memory" : strerror(errno));
    free(l->path);
    l->path = name;
}

/* ---- Beginnings and ends ---- */

/* Frees the slot for another process. */
static void end_recording(struct recorder *r, struct recording *l)
{
    struct record_process *slot = l->slot;
    recording_end(l);
    if (l->pidfd >= 0)
        close(l->pidfd);
    l->pidfd = -1;
    for (size_t i = 0; i < RECORD_WINDOW; i++) {
        uint32_t entry = atomic_exchange(&slot->window[i], 0);
        if (entry != 0)
            record_give(r->pool, record_entry_segment(entry >> RECORD_ENTRY_SHIFT, entry));
    }
    atomic_store(&slot->next, 0);
    atomic_store(&slot->state, RECORD_SLOT_FREE);
}

static void end_dead(struct recorder *r, struct recording *l)
{
    recording_read(l, r->pool, RECORD_READ_DEAD);
    end_recording(r, l);
}

/* The latest recording of the process, over or not. */
static struct recording *latest_of(struct recorder *r, int32_t pid)
{
    for (size_t i = r->recording_count; i-- > 0;)
        if (r->recordings[i].pid == pid)
            return &r->recordings[i];
    return NULL;
}

static struct recording *add_recording(struct recorder *r)
{
    if (r->recording_count == r->life_room) {
        size_t room = r->life_room != 0 ? 2 * r->life_room : 16;
        struct recording *grown = realloc(r->recordings, room * sizeof *grown);
        if (grown == NULL)
            return NULL;
        r->recordings = grown;
        r->life_room = room;
    }
    return &r->recordings[r->recording_count++];
}

/*
 * A process that joins anew has become another program by exec, or has the number of one that
 * ended: either way what it was before is over. The name of the trace is that of its last program.
 */
static bool begin_life(struct recorder *r, struct record_process *slot)
{
    struct recording l = {.slot = slot, .pid = slot->pid, .number = slot->number};
    struct recording *before = latest_of(r, l.pid);
    memcpy(l.program, slot->program, sizeof l.program - 1);
    l.depth = r->pool->depth;
    l.sites.strip = r->strip_paths;
    l.is_first = l.pid == atomic_load(&r->pool->first) && (before == NULL || before->is_first);
    r->processes += before == NULL || before->slot == NULL;
    if (before != NULL) {
        if (before->slot != NULL)
            end_dead(r, before);
        l.earlier = before->earlier + (before->has_file ? 1 : 0);
        give_name_up(r, before);
    }
    l.path = l.is_first ? strdup(r->file) : name_of(r, l.pid, 0);
    l.pidfd = (int)syscall(SYS_pidfd_open, (pid_t)l.pid, 0);
    record_blocks_start(&l.blocks);
    struct recording *added = l.path != NULL ? add_recording(r) : NULL;
    if (added != NULL)
        *added = l;
    return added != NULL;
}

/* The process that joined first of those that were not seen yet, or NULL. */
static struct record_process *next_joined(struct recorder *r)
{
    struct record_process *next = NULL;
    for (size_t i = 0; i < RECORD_PROCESSES; i++) {
        struct record_process *p = &r->pool->process[i];
        if (atomic_load(&p->state) == RECORD_SLOT_USED &&
            (next == NULL || p->number < next->number))
            next = p;
    }
    return next;
}

static bool begin_joined(struct recorder *r)
{
    const uint64_t joined = atomic_load(&r->pool->joined);
    bool any = joined != r->joined;
    struct record_process *slot;
    r->joined = joined;
    while (any && (slot = next_joined(r)) != NULL) {
        if (!begin_life(r, slot))
            fprintf(stderr, "hmm record: out of memory: process %ld is left out\n",
                    (long)slot->pid);
        atomic_store(&slot->state, RECORD_SLOT_SEEN);
    }
    return any;
}

static bool has_ended(const struct recording *l)
{
    struct pollfd end = {l->pidfd, POLLIN, 0};
    if (l->pidfd < 0)
        return kill(l->pid, 0) != 0 && errno == ESRCH;
    return poll(&end, 1, 0) == 1;
}

static void settle_starts(struct recorder *r, bool all);

static bool end_ended(struct recorder *r)
{
    bool any = false;
    settle_starts(r, false);
    r->looked = clock_seconds();
    for (size_t i = r->first_running; i < r->recording_count; i++) {
        struct recording *l = &r->recordings[i];
        if (l->slot != NULL && has_ended(l)) {
            end_dead(r, l);
            any = true;
        }
    }
    while (r->first_running < r->recording_count && r->recordings[r->first_running].slot == NULL)
        r->first_running++;
    return any;
}

/* ---- Programs that were started and never joined ---- */

static bool has_joined(const struct recorder *r, const struct record_start *s)
{
    for (size_t i = r->recording_count; i-- > 0;)
        if (r->recordings[i].pid == s->pid && r->recordings[i].number >= s->number)
            return true;
    return false;
}

static void count_missing(struct recorder *r, const struct record_start *s)
{
    const char *why = s->path[0] != '\0' && r->why != NULL ? r->why(s->path) : NULL;
    if (why == NULL && atomic_load(&s->is_bypassed))
        why = "a library before the recorder's has another malloc";
    else if (why == NULL && s->is_cleared)
        why = "its environment was cleared of LD_PRELOAD or " RECORD_VARIABLE;
    size_t i = 0;
    while (i < RECORDER_REASONS - 1 && r->missing[i].count != 0 && r->missing[i].why != why)
        i++;
    if (r->missing[i].count++ == 0) {
        r->missing[i].why = why;
        memcpy(r->missing[i].path, s->path, sizeof s->path);
    }
    r->command_is_missing = r->command_is_missing || s->pid == atomic_load(&r->pool->first);
}

/* Frees the notes of programs that have joined, and of those that have ended without. */
static void settle_starts(struct recorder *r, bool all)
{
    for (int i = 0; i < RECORD_STARTS; i++) {
        struct record_start *s = &r->pool->starts[i];
        if (atomic_load(&s->state) != RECORD_START_USED)
            continue;
        bool joined = has_joined(r, s);
        bool over = all || (!joined && kill(s->pid, 0) != 0 && errno == ESRCH);
        if (over && begin_joined(r)) /* it may have done so and ended a moment ago */
            joined = has_joined(r, s);
        if (joined || over) {
            if (!joined)
                count_missing(r, s);
            atomic_store(&s->state, RECORD_START_FREE);
        }
    }
}

void recorder_find_missing(struct recorder *r)
{
    settle_starts(r, true);
}

/* ---- Work ---- */

/*
 * A thread that took a place and will never write there, since a signal handler jumped out of its
 * malloc, must not hold up the program for ever.
 */
static void free_stuck(struct recorder *r, struct recording *l)
{
    const uint64_t begun = atomic_load(&l->slot->next) / RECORD_EVENTS;
    const bool full = begun >= l->head / RECORD_EVENTS + RECORD_WINDOW;
    const bool none = r->granted == most_segments(r) && (uint32_t)atomic_load(&r->pool->free) == 0;
    if ((!full && !none) || begun == l->head / RECORD_EVENTS) {
        l->stuck = 0;
    } else if (l->stuck == 0) {
        l->stuck = clock_seconds();
    } else if (clock_seconds() - l->stuck > STUCK_TIME) {
        recording_read(l, r->pool, RECORD_READ_STUCK);
        l->stuck = 0;
    }
}

bool recorder_work(struct recorder *r)
{
    bool any = begin_joined(r);
    atomic_fetch_add(&r->pool->heartbeat, 1);
    if (atomic_exchange(&r->pool->wanting, 0) != 0 || (uint32_t)atomic_load(&r->pool->free) == 0)
        grant(r);
    for (size_t i = r->first_running; i < r->recording_count; i++) {
        struct recording *l = &r->recordings[i];
        if (l->slot == NULL)
            continue;
        if (recording_read(l, r->pool, RECORD_READ_WHOLE))
            any = true;
        else
            free_stuck(r, l);
    }
    if (clock_seconds() - r->looked > LOOK_INTERVAL)
        any = end_ended(r) || any;
    return any;
}

uint32_t recorder_heard(const struct recorder *r)
{
    return atomic_load(&r->pool->bell);
}

void recorder_sleep(struct recorder *r, uint32_t heard)
{
    struct {
        long seconds, nanoseconds;
    } longest = {0, 20000000};
    atomic_store(&r->pool->asleep, 1);
    if (!recorder_work(r))
        syscall(SYS_futex, &r->pool->bell, FUTEX_WAIT, heard, &longest, NULL, 0);
    atomic_store(&r->pool->asleep, 0);
}

void recorder_wake(struct recorder *r)
{
    if (r->pool != NULL)
        record_ring(r->pool);
}

size_t recorder_running(struct recorder *r, bool at_once)
{
    size_t running = 0;
    while (at_once && (begin_joined(r) || end_ended(r)))
        ;
    for (size_t i = r->first_running; i < r->recording_count; i++)
        running += r->recordings[i].slot != NULL;
    return running;
}

/* The system seals a file against writing only while nobody has it mapped for that. */
bool recorder_is_alone(struct recorder *r)
{
    unmap_pool(r);
    bool alone = fcntl(r->fd, F_ADD_SEALS, F_SEAL_WRITE) == 0;
    if (!map_pool(r, alone ? MAP_PRIVATE : MAP_SHARED)) {
        fputs("hmm record: out of memory\n", stderr);
        exit(1); /* all traces are closed */
    }
    return alone;
}

void recorder_stop(struct recorder *r)
{
    atomic_store(&r->pool->stopped, 1);
    recorder_running(r, true);
    for (size_t i = r->first_running; i < r->recording_count; i++) {
        struct recording *l = &r->recordings[i];
        if (l->slot == NULL)
            continue;
        recording_read(l, r->pool, RECORD_READ_ALL);
        recording_end(l);
        if (l->pidfd >= 0)
            close(l->pidfd);
    }
}
