/* SPDX-License-Identifier: MIT */
/*
 * A program to be recorded: tests/record.sh runs it, and knows which operations each of its modes
 * does. No stdio, so that all of its operations are its own; the first and the last are a block of
 * MARK bytes.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define MARK 54321

static void *volatile keep; /* the compiler must not see through it */
static void *mark;

static void need(int condition)
{
    if (!condition)
        _exit(99);
}

static void *get(size_t size)
{
    keep = malloc(size);
    need(keep != NULL);
    return keep;
}

static void get_many(int count, size_t size)
{
    for (int i = 0; i < count; i++)
        get(size);
}

/* ---- The family ---- */

static void fail_in_all_ways(void *p)
{
    const volatile size_t huge = (size_t)PTRDIFF_MAX + 1, half = huge / 2 + 1;
    void *q = p;
    need((keep = malloc(huge)) == NULL && errno == ENOMEM);
    need((keep = calloc(half, 4)) == NULL && (keep = realloc(p, huge)) == NULL);
    need((keep = reallocarray(p, half, 4)) == NULL && errno == ENOMEM);
    need((keep = memalign(64, huge)) == NULL && (keep = pvalloc(SIZE_MAX)) == NULL);
    need(posix_memalign(&q, 24, 1) == EINVAL && posix_memalign(&q, 2, 1) == EINVAL);
    need(posix_memalign(&q, 64, huge) == ENOMEM && q == p);
}

static int family(void)
{
    void *p[10];
    free(keep = NULL);
    p[1] = get(10);
    p[2] = get(0);
    need((p[3] = keep = calloc(3, 7)) != NULL);
    need((p[4] = keep = realloc(NULL, 5)) != NULL);
    need((p[4] = keep = realloc(p[4], 500000)) != NULL);
    need((p[4] = keep = reallocarray(p[4], 10, 10)) != NULL);
    need(realloc(p[4], 0) == NULL);
    need((p[5] = keep = memalign(64, 100)) != NULL);
    need(posix_memalign(&p[6], 4096, 1) == 0 && (uintptr_t)p[6] % 4096 == 0);
    need((p[7] = keep = aligned_alloc(32, 64)) != NULL);
    need((p[8] = keep = valloc(10)) != NULL);
    need((p[9] = keep = pvalloc(10)) != NULL);
    fail_in_all_ways(p[1]);
    for (int i = 1; i < 10; i++) {
        errno = 77;
        if (i != 4)
            free(p[i]);
        need(errno == 77);
    }
    return 0;
}

/* ---- Many operations, with a list of them made by hand ---- */

#define SLOTS 500

static struct {
    void *block;
    uint32_t id;
} slots[SLOTS];

static char text[1 << 16];
static size_t text_length;
static uint32_t next_id = 1;

static void flush(int fd)
{
    need(write(fd, text, text_length) == (ssize_t)text_length);
    text_length = 0;
}

static void add_number(uint64_t n)
{
    char digits[24];
    int i = 0;
    do
        digits[i++] = (char)('0' + n % 10);
    while ((n /= 10) != 0);
    text[text_length++] = ' ';
    while (i != 0)
        text[text_length++] = digits[--i];
}

static void list(int fd, char letter, uint32_t id, uint64_t align, uint64_t size)
{
    if (text_length > sizeof text - 100)
        flush(fd);
    text[text_length++] = letter;
    add_number(id);
    if (align != 0)
        add_number(align);
    if (letter != 'f')
        add_number(size);
    text[text_length++] = '\n';
}

static uint32_t any(uint32_t below)
{
    static uint64_t state = 1;
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(state >> 33) % below;
}

static void allocate_listed(int fd, int i, size_t size)
{
    uint64_t align = any(10) == 0 ? (uint64_t)16 << any(8) : 0;
    slots[i].block = keep = align != 0 ? memalign((size_t)align, size) : malloc(size);
    need(slots[i].block != NULL);
    slots[i].id = next_id++;
    list(fd, align != 0 ? 'm' : 'a', slots[i].id, align, size);
}

/* count operations, IDs from 1 on and none used twice, to the file of this name. */
static int listed(const char *file, int count)
{
    int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    need(fd >= 0);
    for (; count > 0; count--) {
        int i = (int)any(SLOTS);
        size_t size = any(8) == 0 ? any(300000) : any(400) + 1;
        if (slots[i].block == NULL) {
            allocate_listed(fd, i, size);
        } else if (any(3) == 0 && size != 0) {
            need((slots[i].block = keep = realloc(slots[i].block, size)) != NULL);
            list(fd, 'r', slots[i].id, 0, size);
        } else {
            list(fd, 'f', slots[i].id, 0, 0);
            free(slots[i].block);
            slots[i].block = NULL;
        }
    }
    flush(fd);
    return close(fd);
}

/* ---- Threads that hand blocks to each other ---- */

#define THREADS 4

static _Atomic(char *) box[16];
static int rounds;

static void *hand_over(void *arg)
{
    uint32_t state = (uint32_t)(uintptr_t)arg;
    for (int i = 0; i < rounds; i++) {
        state = state * 1664525 + 1013904223;
        char *mine = malloc(16 + (state >> 24));
        need(mine != NULL);
        mine[0] = (char)i;
        if (i % 4 == 0)
            need((mine = realloc(mine, 300 + (state >> 16) % 1000)) != NULL);
        free(__atomic_exchange_n((char **)&box[(state >> 8) % 16], mine, __ATOMIC_ACQ_REL));
    }
    return NULL;
}

static int threads(int count)
{
    pthread_t thread[THREADS];
    rounds = count;
    for (uintptr_t i = 0; i < THREADS; i++)
        need(pthread_create(&thread[i], NULL, hand_over, (void *)(i + 1)) == 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    for (int i = 0; i < 16; i++)
        free(box[i]);
    return 0;
}

static void *churn(void *arg)
{
    for (;;) {
        void *volatile p = malloc(100);
        free(p);
    }
    return arg;
}

/* Each child allocates at once, whatever the threads did when it was made. */
static int forks(int count)
{
    pthread_t thread;
    int status;
    for (int i = 0; i < 2; i++)
        need(pthread_create(&thread, NULL, churn, NULL) == 0);
    for (int i = 0; i < count; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            get_many(3, 33);
            free(keep);
            _exit(0);
        }
        need(waitpid(pid, &status, 0) == pid && status == 0);
    }
    return 0;
}

/* ---- Processes ---- */

static int run_child(void (*work)(void))
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        work();
        _exit(0);
    }
    need(waitpid(pid, &status, 0) == pid);
    return status;
}

static void *inherited[10];

static void use_inherited(void)
{
    for (int i = 0; i < 9; i++)
        free(inherited[i]);
    need((keep = realloc(inherited[9], 44)) != NULL);
    get_many(5, 33);
}

static int forked(void)
{
    for (int i = 0; i < 10; i++)
        inherited[i] = get(22);
    return run_child(use_inherited);
}

static void get_seven(void)
{
    get_many(7, 33);
}

/* Nothing that a program does to its surroundings is in the way. */
static int hardened(void)
{
    struct rlimit none = {0, 0};
    for (int fd = 0; fd < 1024; fd++)
        close(fd);
    need(setrlimit(RLIMIT_FSIZE, &none) == 0 && setrlimit(RLIMIT_NOFILE, &none) == 0);
    need(chdir("/") == 0 && clearenv() == 0);
    if (getuid() == 0)
        need(chroot("/proc/self") == 0 && setgid(65534) == 0 && setuid(65534) == 0);
    get_many(40000, 11);
    return run_child(get_seven);
}

static int left_behind(const char *seconds)
{
    pid_t pid = fork();
    if (pid == 0) {
        setsid();
        get_many(4, 33);
        sleep((unsigned)atoi(seconds));
        _exit(0);
    }
    return 0;
}

static int ended(const char *how)
{
    if (strcmp(how, "kill") == 0)
        kill(getpid(), SIGKILL);
    else if (strcmp(how, "abort") == 0)
        abort();
    else if (strcmp(how, "segv") == 0)
        raise(SIGSEGV);
    _exit(9);
}

static int by_name(const char *way, char **argv)
{
    if (strcmp(way, "family") == 0)
        return family();
    if (strcmp(way, "listed") == 0)
        return listed(argv[2], atoi(argv[3]));
    if (strcmp(way, "threads") == 0)
        return threads(atoi(argv[2]));
    if (strcmp(way, "forks") == 0)
        return forks(atoi(argv[2]));
    if (strcmp(way, "forked") == 0)
        return forked();
    if (strcmp(way, "hardened") == 0)
        return hardened();
    if (strcmp(way, "left-behind") == 0)
        return left_behind(argv[2]);
    if (strcmp(way, "get") == 0) /* and then what the rest of the arguments says */
        get_many(atoi(argv[2]), 77);
    if (strcmp(way, "get") == 0 && argv[3] != NULL && strcmp(argv[3], "exec") == 0)
        return execv("/proc/self/exe", argv + 3);
    return argv[3] != NULL ? ended(argv[3]) : 0;
}

int main(int argc, char **argv)
{
    need(argc > 1);
    mark = get(MARK);
    int status = by_name(argv[1], argv);
    free(mark);
    return status;
}
