/* SPDX-License-Identifier: MIT */
/*
 * What the malloc family must do, name by name, in a program of one thread.
 */
#define _GNU_SOURCE 1
#include <malloc.h>
#include <stdint.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "case.h"

void cfree(void *block);
void free_sized(void *block, size_t size);
void free_aligned_sized(void *block, size_t align, size_t size);
#pragma weak cfree
#pragma weak free_sized
#pragma weak free_aligned_sized

#define TOO_LARGE ((size_t)PTRDIFF_MAX + 1)

static size_t page;

static int aligned(const void *p, size_t to)
{
    return ((uintptr_t)p & (to - 1)) == 0;
}

static void *filled(void *p, int c, size_t n)
{
    return memset(p, c, n);
}

static int holds(const void *p, int c, size_t n)
{
    const unsigned char *s = p;
    for (size_t i = 0; i < n; i++)
        if (s[i] != c)
            return 0;
    return 1;
}

/* Not what the C standard asks for, but what programs count on. */
static size_t strictest(void)
{
    return sizeof(void *) == 8 || _Alignof(max_align_t) == 16 ? 16 : 8;
}

static void alignment(void)
{
    for (size_t n = 0; n < 3000; n += n < 300 ? 1 : 37) {
        void *a = malloc(n), *b = calloc(n, 1), *c = calloc(1, n), *d = realloc(NULL, n);
        void *e = reallocarray(NULL, n, 1);
        CHECK(a && b && c && d && e);
        CHECK(aligned(a, strictest()) && aligned(b, strictest()) && aligned(c, strictest()));
        CHECK(aligned(d, strictest()) && aligned(e, strictest()));
        filled(a, 1, n), filled(b, 2, n), filled(c, 3, n), filled(d, 4, n), filled(e, 5, n);
        d = realloc(d, n + 1);
        CHECK(d && aligned(d, strictest()) && holds(d, 4, n));
        CHECK(holds(a, 1, n) && holds(b, 2, n) && holds(c, 3, n) && holds(e, 5, n));
        if (n % 3 == 0)
            free(a), free(c);
        else
            free(e), free(b);
    }
}

static void zeroes(void)
{
    for (size_t n = 1; n < (size_t)4 << 20; n = n * 2 + 7) {
        char *p = malloc(n);
        CHECK(p);
        free(filled(p, 0xff, n));
        p = calloc(n, 1);
        CHECK(p && holds(p, 0, n));
        free(filled(p, 0xff, n));
        p = calloc(1, n);
        CHECK(p && holds(p, 0, n));
        free(p);
    }
}

/* x is an allocation that must fail, with this errno. */
#define FAILS(code, x)                                                                             \
    do {                                                                                           \
        errno = 0;                                                                                 \
        void *p_ = (x);                                                                            \
        KEEP(p_);                                                                                  \
        CHECK(p_ == NULL && errno == (code));                                                      \
    } while (0)

static void too_large(void)
{
    static const size_t plus[] = {0, 1, 15, 4096, PTRDIFF_MAX};
    void *p = malloc(100), *q = p;
    filled(p, 7, 100);
    /* What fails leaves p whole; compilers warn of it all the same. */
    void *volatile kept = p;
    for (size_t i = 0; i < sizeof plus / sizeof plus[0]; i++) {
        volatile size_t n = TOO_LARGE + plus[i];
        FAILS(ENOMEM, malloc(n));
        FAILS(ENOMEM, calloc(n, 1));
        FAILS(ENOMEM, calloc(1, n));
        FAILS(ENOMEM, realloc(NULL, n));
        FAILS(ENOMEM, realloc(kept, n));
        FAILS(ENOMEM, reallocarray(kept, n, 1));
        FAILS(ENOMEM, memalign(64, n));
        FAILS(ENOMEM, aligned_alloc(64, n));
        FAILS(ENOMEM, valloc(n));
        FAILS(ENOMEM, pvalloc(n));
        CHECK(posix_memalign(&q, 64, n) == ENOMEM && q == p);
    }
    volatile size_t most = SIZE_MAX, half = SIZE_MAX / 2 + 1;
    FAILS(ENOMEM, calloc(half, 2));
    FAILS(ENOMEM, calloc(most, most));
    FAILS(ENOMEM, reallocarray(kept, half, 2));
    FAILS(ENOMEM, reallocarray(NULL, most / 2, 3));
    FAILS(ENOMEM, memalign(half, 16));
    CHECK(holds(p, 7, 100));
    free(p);
}

static void keeps_errno(void)
{
    void *large = malloc((size_t)20 << 20), *small = malloc(10);
    filled(large, 1, (size_t)20 << 20);
    errno = 1234;
    free(NULL);
    free(small);
    free(large); /* its pages go back to the system */
    CHECK(errno == 1234);
}

static void nothing(void)
{
    void *p[100];
    for (int i = 0; i < 100; i++) {
        p[i] = i % 2 ? malloc(0) : calloc(0, 8);
        CHECK(p[i] != NULL);
        for (int k = 0; k < i; k++)
            CHECK(p[k] != p[i]);
    }
    for (int i = 0; i < 100; i++)
        free(p[i]);
    free(NULL);
    CHECK(malloc_usable_size(NULL) == 0);
}

static void realloc_nothing(void)
{
    size_t before = mallinfo2().uordblks;
    void *p = malloc(100000);
    KEEP(p);
    volatile size_t none = 0;
    CHECK(realloc(p, none) == NULL);
    CHECK(mallinfo2().uordblks == before);
    p = realloc(NULL, none);
    CHECK(p != NULL);
    free(p);
}

static void resizing(void)
{
    unsigned char *p = NULL;
    size_t had = 0, n = 1;
    for (int i = 0; i < 2000; i++, n = (n * 7919 + 13) % 20011) {
        unsigned char *q = realloc(p, n + 1);
        CHECK(q && aligned(q, strictest()) && malloc_usable_size(q) >= n + 1);
        CHECK(holds(q, (i - 1) & 0xff, had < n + 1 ? had : n + 1));
        p = filled(q, i & 0xff, n + 1);
        had = n + 1;
    }
    free(p);
}

/* Without a cache: a block has what was requested, and what is too small to be one. */
static void no_slack(void)
{
    char *p = malloc(2000);
    for (size_t size = 2000; size < 20000; size += 2) {
        CHECK((p = realloc(p, size)) != NULL);
        CHECK(malloc_usable_size(p) < size + 32);
    }
    free(p);
}

static void alignments(void)
{
    for (size_t a = 1; a <= (size_t)1 << 20; a *= 2) {
        void *p = memalign(a, 33), *q = aligned_alloc(a, a), *r = (void *)1;
        CHECK(p && aligned(p, a) && malloc_usable_size(p) >= 33);
        CHECK(q && aligned(q, a) && malloc_usable_size(q) >= a);
        if (a < sizeof(void *)) {
            CHECK(posix_memalign(&r, a, 10) == EINVAL && r == (void *)1);
        } else {
            CHECK(posix_memalign(&r, a, 10) == 0 && r != NULL && aligned(r, a));
            filled(r, 3, 10);
            r = realloc(r, 5000);
            CHECK(r && holds(r, 3, 10));
            free(r);
        }
        free(filled(p, 1, 33)), free(filled(q, 2, a));
    }
    volatile size_t odd = 48, none = 0, above = SIZE_MAX / 2 + 2;
    void *p = memalign(odd, 10), *r = NULL;
    CHECK(p && aligned(p, 64)); /* rounded up */
    free(p);
    p = memalign(none, 10);
    CHECK(p);
    free(p);
    FAILS(EINVAL, memalign(above, 10));
    FAILS(EINVAL, aligned_alloc(odd, 96));
    FAILS(EINVAL, aligned_alloc(none, 96));
    errno = 77;
    CHECK(posix_memalign(&r, odd, 10) == EINVAL && posix_memalign(&r, none, 10) == EINVAL);
    CHECK(posix_memalign(&r, 3 * sizeof(void *), 10) == EINVAL && r == NULL && errno == 77);
    CHECK(posix_memalign(&r, 64, TOO_LARGE) == ENOMEM && r == NULL && errno == 77);
}

static void pages_of(void)
{
    for (size_t n = 0; n < 3 * page; n += 1000) {
        void *v = valloc(n), *pv = pvalloc(n);
        CHECK(v && aligned(v, page) && malloc_usable_size(v) >= n);
        CHECK(pv && aligned(pv, page));
        CHECK(malloc_usable_size(pv) >= (n + page - 1) / page * page);
        free(v), free(pv);
    }
}

/* The first time the cache may take what it will hold. */
static void other_frees(void)
{
    size_t before = 0;
    for (int i = 0; i < 200; i++) {
        if (i == 100)
            before = mallinfo2().uordblks;
        void *p = malloc(5000), *q = malloc(70), *r = aligned_alloc(64, 128);
        KEEP(p);
        KEEP(q);
        KEEP(r);
        CHECK(cfree && free_sized && free_aligned_sized);
        cfree(p), free_sized(q, 70), free_aligned_sized(r, 64, 128);
    }
    CHECK(mallinfo2().uordblks == before);
}

static void usable(void)
{
    for (size_t n = 0; n < 2000; n++) {
        void *p = malloc(n);
        size_t m = malloc_usable_size(p);
        CHECK(m >= n);
        filled(p, 0xee, m);
        void *q = malloc(1);
        KEEP(q);
        CHECK(holds(p, 0xee, m));
        free(p), free(q);
    }
}

static void info(void)
{
    void *before = malloc(1);
    size_t used = mallinfo2().uordblks;
    void *p = malloc(1000000);
    KEEP(p);
    struct mallinfo2 m = mallinfo2();
    CHECK(m.uordblks >= used + 1000000 && m.uordblks < used + 1001000);
    CHECK(m.arena >= m.uordblks && m.hblks == 0);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    CHECK((size_t)mallinfo().uordblks == m.uordblks);
#pragma GCC diagnostic pop
    free(p), free(before);
    CHECK(mallopt(M_MMAP_THRESHOLD, 1 << 20) == 1 && mallopt(M_ARENA_MAX, 1) == 1);
    FILE *to = tmpfile();
    char line[200] = "";
    CHECK(to && malloc_info(0, to) == 0);
    rewind(to);
    CHECK(fgets(line, sizeof line, to) && strncmp(line, "<malloc version=", 16) == 0);
    fclose(to);
    CHECK(malloc_info(1, stderr) == EINVAL);
}

static void stats(void)
{
    void *p = malloc(100);
    KEEP(p);
    malloc_stats();
    free(p);
}

/* Ends in another folder, without a stderr, as careful programs do. */
static void elsewhere(void)
{
    CHECK(chdir("/") == 0);
    fclose(stderr);
    close(2);
}

static void children(void)
{
    for (int i = 0; i < 2; i++)
        if (fork() == 0)
            exit(0);
    while (wait(NULL) > 0)
        ;
}

/* Bytes of the process that are resident. */
static size_t resident(void)
{
    size_t all, here;
    FILE *f = fopen("/proc/self/statm", "r");
    CHECK(f && fscanf(f, "%zu %zu", &all, &here) == 2);
    fclose(f);
    return here * page;
}

#define MEGA ((size_t)1 << 20)

static void resident_top(void)
{
    size_t before = resident();
    for (int turn = 0; turn < 3; turn++) {
        void *p[64];
        for (int i = 0; i < 64; i++)
            p[i] = filled(malloc(MEGA), 1, MEGA);
        CHECK(resident() > before + 60 * MEGA);
        for (int i = 0; i < 64; i++)
            free(p[i]);
        malloc_trim(0);
        CHECK(resident() < before + 16 * MEGA);
    }
}

/* Without being asked, and with blocks in use above. */
static void resident_inside(void)
{
    size_t before = resident();
    void *p[128], *between[128];
    for (int i = 0; i < 128; i++) {
        p[i] = filled(malloc(MEGA), 1, MEGA);
        between[i] = filled(malloc(100), 2, 100);
    }
    size_t most = resident();
    for (int i = 0; i < 128; i++)
        free(p[i]);
    for (int i = 0; i < 1000; i++) { /* a second, in which little is done */
        void *q = malloc(64);
        KEEP(q);
        free(q);
        usleep(1000);
    }
    CHECK(most > before + 120 * MEGA && resident() < before + 5 * MEGA);
    for (int i = 0; i < 128; i++)
        CHECK(holds(between[i], 2, 100));
}

/* Pages that are wanted again at once do not go each time. */
static void hysteresis(void)
{
    void *hold = filled(malloc(MEGA), 1, MEGA);
    size_t least = SIZE_MAX;
    for (int i = 0; i < 50; i++) {
        void *p = filled(malloc(8 * MEGA), 1, 8 * MEGA);
        KEEP(p);
        free(p);
        if (i >= 20 && resident() < least)
            least = resident();
    }
    CHECK(least > 8 * MEGA);
    free(hold);
}

/* Two bytes are written, of much: before, and where something was freed. */
static void resident_calloc(void)
{
    size_t before = resident(), size = sizeof(size_t) > 4 ? 1024 * MEGA : 64 * MEGA;
    for (int turn = 0; turn < 3; turn++) {
        char *p = calloc(1, size);
        CHECK(p != NULL && p[0] == 0 && p[size / 2] == 0 && p[size - 1] == 0);
        p[0] = p[size / 2] = 1;
        KEEP(p);
        CHECK(resident() < before + size / 64); /* some of it is index */
        free(p);
        malloc_trim(0);
    }
}

static double cpu_ms(void)
{
    struct timespec t;
    CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) == 0);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* It does not depend on how many blocks there are. */
static void info_is_quick(void)
{
    enum { N = 300000 };
    void **p = calloc(N, sizeof *p);
    for (int i = 0; i < N; i++)
        p[i] = malloc(64);
    double begun = cpu_ms();
    for (int i = 0; i < 100; i++)
        CHECK(mallinfo2().uordblks >= (size_t)N * 64);
    CHECK(cpu_ms() - begun < 10);
    for (int i = 0; i < N; i++)
        free(p[i]);
    free(p);
}

/* With a heap that is limited from outside. */
static void exhaustion(void)
{
    void **last = NULL, **p;
    size_t count = 0;
    for (size_t n = 4 * MEGA; n >= 16; n /= 2) {
        errno = 0;
        while ((p = malloc(n)) != NULL) {
            filled(p, 0x5a, n);
            *p = last;
            last = p;
            count++;
        }
        CHECK(errno == ENOMEM);
    }
    CHECK(count > 4);
    FAILS(ENOMEM, calloc(1, 100000));
    FAILS(ENOMEM, memalign(4096, 100000));
    p = last;
    FAILS(ENOMEM, realloc(p, 16 * MEGA));
    while (last != NULL) {
        p = *last;
        free(last);
        last = p;
    }
    p = malloc(MEGA);
    CHECK(p != NULL);
    free(p);
}

static void foreign(void)
{
    static char mine[64];
    void *p = mine + 16;
    KEEP(p);
    free(p);
    void *q = malloc(10);
    CHECK(q);
    free(q);
}

static void foreign_realloc(void)
{
    static char mine[64];
    void *p = mine + 16;
    KEEP(p);
    FAILS(ENOMEM, realloc(p, 100));
}

static void foreign_size(void)
{
    static char mine[64];
    void *p = mine + 16;
    KEEP(p);
    CHECK(malloc_usable_size(p) == 0);
}

static void twice(void)
{
    void *p = malloc(100);
    KEEP(p);
    free(p);
    KEEP(p);
    free(p);
}

static const struct a_case cases[] = {
    {"alignment", alignment},
    {"zeroes", zeroes},
    {"too-large", too_large},
    {"keeps-errno", keeps_errno},
    {"nothing", nothing},
    {"realloc-nothing", realloc_nothing},
    {"resizing", resizing},
    {"alignments", alignments},
    {"pages", pages_of},
    {"other-frees", other_frees},
    {"usable", usable},
    {"info", info},
    {"resident-top", resident_top},
    {"resident-inside", resident_inside},
    {"resident-calloc", resident_calloc},
    {"info-is-quick", info_is_quick},
    {"hysteresis", hysteresis},
    {NULL, NULL},
};

/* Not for every run: what they need, or do, is special. */
static const struct a_case special[] = {
    {"stats", stats},
    {"elsewhere", elsewhere},
    {"no-slack", no_slack},
    {"children", children},
    {"exhaustion", exhaustion},
    {"foreign", foreign},
    {"foreign-realloc", foreign_realloc},
    {"foreign-size", foreign_size},
    {"twice", twice},
    {NULL, NULL},
};

int main(int argc, char **argv)
{
    page = (size_t)sysconf(_SC_PAGESIZE);
    int code = run_case(cases, argc, argv);
    return code == 2 ? run_case(special, argc, argv) : code;
}
