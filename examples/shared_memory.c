/* SPDX-License-Identifier: MIT */
/*
 * Two processes share one heap, which each has mapped at an address of its own. A mutex in the
 * shared memory, by hmm_set_lock, keeps them out of each other's way; a process that finds that the
 * other one has used the heap since attaches it anew. What is passed on are distances.
 *
 *     cc -o shared_memory shared_memory.c $(pkg-config --cflags --libs hmm) -pthread
 *     ./shared_memory
 *
 * The first process makes lines of text in the heap and puts them into a queue; the other one takes
 * them out, prints and frees them. It ends with "the heap is empty", and 0.
 *
 * Programs that come and go, in place of a child, map a file that all can open, and tell themselves
 * apart by numbers that they count in the shared memory: the system uses process numbers again.
 */
#define _GNU_SOURCE
#include <hmm.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { HEAP_BYTES = 1 << 20, LINES = 1000, QUEUE = 16 };

/* The head of the shared memory; the heap follows it. */
struct shared {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    pid_t last_user;     /* of the heap */
    size_t queue[QUEUE]; /* distances of lines from this struct */
    unsigned put, taken; /* how many, so far */
    _Alignas(64) char heap[HEAP_BYTES];
};

static struct shared *shared; /* where this process has it */
static struct hmm_heap *heap;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

/* ---- The lock ---- */

static void enter(void *arg)
{
    struct shared *s = arg;
    pthread_mutex_lock(&s->mutex);
    if (s->last_user == getpid())
        return;
    s->last_user = getpid();
    if (hmm_heap_attach(s->heap, sizeof s->heap) != heap)
        fail("hmm_heap_attach");
}

static void leave(void *arg)
{
    pthread_mutex_unlock(&((struct shared *)arg)->mutex);
}

/* ---- The queue ---- */

static void put(const char *line)
{
    pthread_mutex_lock(&shared->mutex);
    while (shared->put - shared->taken == QUEUE)
        pthread_cond_wait(&shared->changed, &shared->mutex);
    shared->queue[shared->put++ % QUEUE] = (size_t)(line - (const char *)shared);
    pthread_cond_broadcast(&shared->changed);
    pthread_mutex_unlock(&shared->mutex);
}

static char *take(void)
{
    pthread_mutex_lock(&shared->mutex);
    while (shared->put == shared->taken)
        pthread_cond_wait(&shared->changed, &shared->mutex);
    char *line = (char *)shared + shared->queue[shared->taken++ % QUEUE];
    pthread_cond_broadcast(&shared->changed);
    pthread_mutex_unlock(&shared->mutex);
    return line;
}

/* ---- The two processes ---- */

static void make_lines(void)
{
    for (int i = 0; i < LINES; i++) {
        char *line = hmm_heap_malloc(heap, 40 + (size_t)(i % 100));
        if (line == NULL)
            fail("hmm_heap_malloc");
        snprintf(line, 40, "line %d", i);
        put(line);
    }
}

static int print_lines(void)
{
    for (int i = 0; i < LINES; i++) {
        char want[40], *line = take();
        snprintf(want, sizeof want, "line %d", i);
        if (strcmp(line, want) != 0)
            return 1;
        if (i % 100 == 0)
            puts(line);
        hmm_heap_free(heap, line);
    }
    return 0;
}

/* ---- Set-up ---- */

static void map(int fd)
{
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (shared == MAP_FAILED)
        fail("mmap");
}

static void make_shared(void)
{
    pthread_mutexattr_t mutex;
    pthread_condattr_t cond;
    pthread_mutexattr_init(&mutex);
    pthread_condattr_init(&cond);
    pthread_mutexattr_setpshared(&mutex, PTHREAD_PROCESS_SHARED);
    pthread_condattr_setpshared(&cond, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(&shared->mutex, &mutex);
    pthread_cond_init(&shared->changed, &cond);
    shared->last_user = getpid();
    heap = hmm_heap_create(shared->heap, sizeof shared->heap, HMM_BEST_FIT);
    if (heap == NULL)
        fail("hmm_heap_create");
}

/* The other process has the memory at another address: both mappings are there for a moment. */
static int be_the_other(int fd)
{
    struct shared *first = shared;
    map(fd);
    printf("mapped %s\n", shared == first ? "at the same address" : "at another address");
    munmap(first, sizeof *first);
    heap = (struct hmm_heap *)(void *)shared->heap;
    hmm_set_lock(enter, leave, shared);
    int result = print_lines();
    fflush(stdout);
    return result;
}

int main(void)
{
    int status;
    FILE *file = tmpfile();
    if (file == NULL || ftruncate(fileno(file), sizeof *shared) != 0)
        fail("tmpfile");
    map(fileno(file));
    make_shared();
    fflush(stdout);
    pid_t child = fork();
    if (child < 0)
        fail("fork");
    if (child == 0)
        _exit(be_the_other(fileno(file)));
    hmm_set_lock(enter, leave, shared);
    make_lines();
    if (waitpid(child, &status, 0) != child || status != 0)
        return 1;
    struct hmm_stats stats;
    hmm_heap_stats(heap, &stats);
    const char *broken = hmm_heap_check(heap);
    puts(broken ? broken : stats.live_blocks == 0 ? "the heap is empty" : "blocks are left");
    return broken != NULL || stats.live_blocks != 0;
}
