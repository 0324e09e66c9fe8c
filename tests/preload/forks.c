/* SPDX-License-Identifier: MIT */
/*
 * Forks while other threads allocate, hold stdio's locks and those of the name service, and in the
 * middle of malloc itself.
 */
#define _GNU_SOURCE 1
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <stdint.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "case.h"

/* How many: the second argument. */
static int forks = 1000;

static int done;

static int go_on(void)
{
    return !__atomic_load_n(&done, __ATOMIC_RELAXED);
}

/* Blocks of several sizes, filled and looked at. */
static void use_heap(int rounds)
{
    unsigned char *p[32] = {NULL};
    size_t n[32] = {0};
    for (int i = 0; i < rounds; i++) {
        int k = i * 7 % 32;
        for (size_t b = 0; b < n[k]; b++)
            CHECK(p[k][b] == (unsigned char)k);
        n[k] = (size_t)(i * 31 % 500 + (i % 40 == 0 ? 40000 : 0));
        if (i % 3 == 0) {
            free(p[k]);
            p[k] = malloc(n[k]);
        } else {
            p[k] = realloc(p[k], n[k] + 1);
        }
        CHECK(p[k] != NULL);
        memset(p[k], k, n[k]);
    }
    for (int k = 0; k < 32; k++)
        free(p[k]);
}

static void *allocating(void *unused)
{
    while (go_on())
        use_heap(1000);
    return unused;
}

/* getline grows its buffer with the stream's lock held. */
static void *reading(void *unused)
{
    FILE *f = tmpfile();
    CHECK(f != NULL);
    for (int i = 1; i < 200; i++)
        fprintf(f, "%*d\n", i * 5 % 397, i);
    while (go_on()) {
        char *line = NULL;
        size_t room = 0;
        rewind(f);
        for (int i = 0; i < 150 && getline(&line, &room, f) > 0; i++) {
            if (i % 10 == 0) {
                free(line);
                line = NULL;
                room = 0;
            }
        }
        free(line);
    }
    fclose(f);
    return unused;
}

/* All streams are locked, one after the other, under the lock of their list; and opened, under it,
 * which takes memory. */
static void *flushing(void *unused)
{
    while (go_on()) {
        FILE *f = fopen("/dev/null", "w");
        CHECK(f != NULL && fputs("a line\n", f) >= 0);
        fflush(NULL);
        fclose(f);
    }
    return unused;
}

static void *naming(void *unused)
{
    char room[2000];
    struct passwd pw, *found;
    while (go_on())
        getpwnam_r("root", &pw, room, sizeof room, &found);
    return unused;
}

static void end_child(pid_t pid)
{
    int status = 0;
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void fork_once(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        use_heap(300);
        _exit(0);
    }
    end_child(pid);
}

static void among_threads(void)
{
    static void *(*const work[])(void *) = {allocating, allocating, reading, flushing, naming};
    enum { THREADS = sizeof work / sizeof work[0] };
    pthread_t t[THREADS];
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&t[i], NULL, work[i], NULL) == 0);
    for (int i = 0; i < forks; i++)
        fork_once();
    __atomic_store_n(&done, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(t[i], NULL) == 0);
    use_heap(1000);
}

static void *forking(void *unused)
{
    for (int i = 0; i < forks / 10; i++)
        fork_once();
    return unused;
}

static void from_threads(void)
{
    pthread_t t[3], other;
    CHECK(pthread_create(&other, NULL, allocating, NULL) == 0);
    for (int i = 0; i < 3; i++)
        CHECK(pthread_create(&t[i], NULL, forking, NULL) == 0);
    for (int i = 0; i < 3; i++)
        CHECK(pthread_join(t[i], NULL) == 0);
    __atomic_store_n(&done, 1, __ATOMIC_RELAXED);
    CHECK(pthread_join(other, NULL) == 0);
}

static void handler_allocates(void)
{
    use_heap(50);
}

/* Other handlers that want memory, on either side of ours. */
static void with_handlers(void)
{
    CHECK(pthread_atfork(handler_allocates, handler_allocates, handler_allocates) == 0);
    CHECK(pthread_atfork(handler_allocates, NULL, handler_allocates) == 0);
    from_threads();
}

static int forks_to_come;

/* One signal, soon; each time at another point of the work. */
static void want_signal(void)
{
    struct itimerval soon = {.it_value = {.tv_usec = 100 + forks_to_come * 37 % 400}};
    CHECK(setitimer(ITIMER_REAL, &soon, NULL) == 0);
}

/* The child goes on with what was interrupted, and ends by itself. */
static void on_signal(int number)
{
    (void)number;
    int code = errno;
    pid_t pid = fork();
    if (pid == 0) {
        __atomic_store_n(&done, 2, __ATOMIC_RELAXED);
        return;
    }
    end_child(pid);
    if (__atomic_sub_fetch(&forks_to_come, 1, __ATOMIC_RELAXED) > 0)
        want_signal();
    errno = code;
}

static void use_heap_in_signals(int count)
{
    struct sigaction action = {.sa_handler = on_signal};
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    forks_to_come = count;
    want_signal();
    while (__atomic_load_n(&forks_to_come, __ATOMIC_RELAXED) > 0 &&
           __atomic_load_n(&done, __ATOMIC_RELAXED) != 2)
        use_heap(100);
    if (__atomic_load_n(&done, __ATOMIC_RELAXED) == 2) {
        use_heap(300);
        _exit(0);
    }
}

static void in_signal(void)
{
    use_heap_in_signals(forks / 4);
}

static void in_signal_among_threads(void)
{
    sigset_t alarm;
    pthread_t t[2];
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &alarm, NULL);
    CHECK(pthread_create(&t[0], NULL, allocating, NULL) == 0);
    CHECK(pthread_create(&t[1], NULL, reading, NULL) == 0);
    pthread_sigmask(SIG_UNBLOCK, &alarm, NULL);
    use_heap_in_signals(forks / 4);
    __atomic_store_n(&done, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < 2; i++)
        CHECK(pthread_join(t[i], NULL) == 0);
}

static void grandchildren(void)
{
    for (int i = 0; i < 3; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            from_threads();
            _exit(0);
        }
        end_child(pid);
    }
}

static const struct a_case cases[] = {
    {"among-threads", among_threads},
    {"from-threads", from_threads},
    {"with-handlers", with_handlers},
    {"in-signal", in_signal},
    {"in-signal-among-threads", in_signal_among_threads},
    {"grandchildren", grandchildren},
    {NULL, NULL},
};

int main(int argc, char **argv)
{
    if (argc > 2)
        forks = atoi(argv[2]);
    return run_case(cases, argc, argv);
}
