/* SPDX-License-Identifier: MIT */
/*
 * C++'s operators new and delete, by the names that the C++ ABI gives them.
 *
 * Where the next operator belongs to the library that next.h has found, an allocator that brings
 * both families, it is the same as malloc or free of that library, and is recorded as that. Where
 * it belongs to another, it is called as it is: libstdc++'s, and those by which a program replaces
 * them, call malloc, which is recorded then. Where there is none in the order of look-up (a C
 * program has loaded a C++ library for itself alone), it is malloc and free too.
 *
 * A new that fails does so by the operator that the caller would have got: it knows the new
 * handler, and how to throw. That passes through here, so this file is compiled with -fexceptions.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#define _GNU_SOURCE 1 /* dladdr, RTLD_NEXT */

#include "next.h"

#include <dlfcn.h>
#include <stdlib.h>

#define EXPORT __attribute__((visibility("default")))

extern void *memalign(size_t, size_t);

struct cpp_operator {
    const char *name;
    _Atomic(void *) next; /* NULL: none, or not looked for */
    _Atomic int is_known, is_passed_on;
};

static void find(struct cpp_operator *o)
{
    bool ours = record_next_enter();
    void *next = dlsym(RTLD_NEXT, o->name);
    if (ours)
        record_next_leave();
    atomic_store(&o->next, next);
    atomic_store(&o->is_passed_on, next != NULL && record_object_of(next) != record_next.object);
    atomic_store(&o->is_known, 1);
}

static bool is_passed_on(struct cpp_operator *o)
{
    if (RECORD_SELDOM(!atomic_load_explicit(&o->is_known, memory_order_acquire)))
        find(o);
    return atomic_load_explicit(&o->is_passed_on, memory_order_relaxed);
}

/* The operator that the caller's library would have without this one. */
static void *to_fail_by(struct cpp_operator *o, const void *caller)
{
    Dl_info at;
    void *next = atomic_load(&o->next);
    if (next == NULL && dladdr(caller, &at) != 0) {
        void *library = dlopen(at.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
        next = library != NULL ? dlsym(library, o->name) : NULL;
        if (record_object_of(next) == record_object_of(&record_next))
            next = NULL;
    }
    if (next == NULL)
        abort(); /* nobody here can throw */
    return next;
}

/* What an operator itself got. */
static void *noted(void *p, size_t size)
{
    if (p != NULL)
        record_emit(RECORD_ALLOC, p, size);
    return p;
}

#define NEW(symbol, get, parameters, arguments)                                                    \
    EXPORT void *symbol parameters;                                                                \
    void *symbol parameters                                                                        \
    {                                                                                              \
        static struct cpp_operator o = {.name = #symbol};                                          \
        typedef void *next parameters;                                                             \
        if (is_passed_on(&o))                                                                      \
            return ((next *)(uintptr_t)atomic_load(&o.next))arguments;                             \
        void *p = get;                                                                             \
        if (RECORD_SELDOM(p == NULL))                                                              \
            p = noted(((next *)(uintptr_t)to_fail_by(&o, __builtin_return_address(0)))arguments,   \
                      size);                                                                       \
        return p;                                                                                  \
    }
#define DELETE(symbol, parameters, arguments)                                                      \
    EXPORT void symbol parameters;                                                                 \
    void symbol parameters                                                                         \
    {                                                                                              \
        static struct cpp_operator o = {.name = #symbol};                                          \
        typedef void next parameters;                                                              \
        if (is_passed_on(&o))                                                                      \
            ((next *)(uintptr_t)atomic_load(&o.next)) arguments;                                   \
        else                                                                                       \
            free(p);                                                                               \
    }

/* How the ABI spells size_t. */
#if __SIZEOF_SIZE_T__ == __SIZEOF_LONG__ && __SIZEOF_LONG__ == 8
#define SIZED(before, after) before##m##after
#else
#define SIZED(before, after) before##j##after
#endif
#define NEW_SIZED(before, after, get, parameters, arguments)                                       \
    NEW_NAMED(SIZED(before, after), get, parameters, arguments)
#define NEW_NAMED(symbol, get, parameters, arguments) NEW(symbol, get, parameters, arguments)
#define DELETE_SIZED(before, after, parameters, arguments)                                         \
    DELETE_NAMED(SIZED(before, after), parameters, arguments)
#define DELETE_NAMED(symbol, parameters, arguments) DELETE(symbol, parameters, arguments)

NEW_SIZED(_Znw, , malloc(size), (size_t size), (size))
NEW_SIZED(_Zna, , malloc(size), (size_t size), (size))
NEW_SIZED(_Znw, RKSt9nothrow_t, malloc(size), (size_t size, const void *tag), (size, tag))
NEW_SIZED(_Zna, RKSt9nothrow_t, malloc(size), (size_t size, const void *tag), (size, tag))
NEW_SIZED(_Znw, St11align_val_t, memalign(align, size), (size_t size, size_t align), (size, align))
NEW_SIZED(_Zna, St11align_val_t, memalign(align, size), (size_t size, size_t align), (size, align))
NEW_SIZED(_Znw, St11align_val_tRKSt9nothrow_t, memalign(align, size),
          (size_t size, size_t align, const void *tag), (size, align, tag))
NEW_SIZED(_Zna, St11align_val_tRKSt9nothrow_t, memalign(align, size),
          (size_t size, size_t align, const void *tag), (size, align, tag))

DELETE(_ZdlPv, (void *p), (p))
DELETE(_ZdaPv, (void *p), (p))
DELETE(_ZdlPvRKSt9nothrow_t, (void *p, const void *tag), (p, tag))
DELETE(_ZdaPvRKSt9nothrow_t, (void *p, const void *tag), (p, tag))
DELETE_SIZED(_ZdlPv, , (void *p, size_t size), (p, size))
DELETE_SIZED(_ZdaPv, , (void *p, size_t size), (p, size))
DELETE(_ZdlPvSt11align_val_t, (void *p, size_t align), (p, align))
DELETE(_ZdaPvSt11align_val_t, (void *p, size_t align), (p, align))
DELETE_SIZED(_ZdlPv, St11align_val_t, (void *p, size_t size, size_t align), (p, size, align))
DELETE_SIZED(_ZdaPv, St11align_val_t, (void *p, size_t size, size_t align), (p, size, align))
DELETE(_ZdlPvSt11align_val_tRKSt9nothrow_t, (void *p, size_t align, const void *tag),
       (p, align, tag))
DELETE(_ZdaPvSt11align_val_tRKSt9nothrow_t, (void *p, size_t align, const void *tag),
       (p, align, tag))
