/* SPDX-License-Identifier: MIT */
/*
 * All forms of new and delete, mixed with malloc, by threads and in a child by fork. Each thread
 * makes ROUNDS * 8 blocks; without an argument there is one operation that cannot be served too.
 */
#include <cstdlib>
#include <malloc.h>
#include <new>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

enum { ROUNDS = 1000, THREADS = 3 };

struct alignas(128) wide {
    char bytes[200];
};

static bool bad;

static void work()
{
    void *volatile any; /* the compiler must not see through it */
    for (int i = 0; i < ROUNDS; i++) {
        size_t size = 1 + (size_t)i % 3000;
        char *a = new char[size];
        any = a;
        bad = bad || malloc_usable_size(a) < size;
        long *b = new long(7);
        any = b;
        wide *c = new wide, *d = new wide[3], *e = new (std::nothrow) wide;
        any = c, any = d, any = e;
        bad = bad || ((size_t)c | (size_t)d | (size_t)e) % 128 != 0;
        char *f = new (std::nothrow) char[5];
        any = f;
        delete[] a;
        delete b;
        delete c;
        delete[] d;
        delete e;
        delete[] f;
        any = malloc(8);
        void *g = any;
        any = malloc(8);
        free(g);
        free(realloc(any, 1000));
    }
}

static bool cannot_serve()
{
    const volatile size_t huge = (size_t)-1 >> 1;
    try {
        void *volatile p = ::operator new(huge);
        return p == nullptr;
    } catch (const std::bad_alloc &) {
    }
    void *volatile q = ::operator new(huge, std::nothrow);
    return q == nullptr;
}

int main(int argc, char **)
{
    std::thread threads[THREADS];
    int status = 0;
    if (argc == 1 && !cannot_serve())
        return 3;
    for (std::thread &t : threads)
        t = std::thread(work);
    for (std::thread &t : threads)
        t.join();
    pid_t child = fork();
    if (child == 0) {
        work();
        _exit(bad ? 1 : 0);
    }
    waitpid(child, &status, 0);
    return bad || status != 0 ? 4 : 0;
}
