/* SPDX-License-Identifier: MIT */
/*
 * Interposes the functions that start other programs (exec, posix_spawn, system, popen): each
 * leaves a note for the recorder, then calls the next function of that name. A started program that
 * loads this library joins the pool. If one was noted and never joins, its recording is lost: its
 * environment lacks the two variables, or the program is of a kind that loads no library (static,
 * set-user-ID). The environment of a program is not changed.
 *
 * The note is written before the call, in shared memory, so that it is valid in a child of vfork
 * too; it is taken back if the call fails. Nothing here allocates or locks: a child of fork may
 * call it.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#define _GNU_SOURCE 1 /* execvpe, RTLD_NEXT */

#include "next.h"

#include <alloca.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

typedef int spawn_function(pid_t *, const char *, const posix_spawn_file_actions_t *,
                           const posix_spawnattr_t *, char *const[], char *const[]);
typedef int exec_function(const char *, char *const[], char *const[]);

/* Looked up by the constructor: a child of fork must not call dlsym. */
static exec_function *next_execve, *next_execvpe;
static int (*next_fexecve)(int, char *const[], char *const[]);
static spawn_function *next_spawn, *next_spawnp;
static int (*next_system)(const char *);
static FILE *(*next_popen)(const char *, const char *);

#define LOOK_UP(to, name) ((to) = (__typeof__(to))(uintptr_t)dlsym(RTLD_NEXT, name))

__attribute__((constructor)) static void look_up_at_start(void)
{
    LOOK_UP(next_execve, "execve");
    LOOK_UP(next_execvpe, "execvpe");
    LOOK_UP(next_fexecve, "fexecve");
    LOOK_UP(next_spawn, "posix_spawn");
    LOOK_UP(next_spawnp, "posix_spawnp");
    LOOK_UP(next_system, "system");
    LOOK_UP(next_popen, "popen");
}

/* Constructors of libraries that the program is linked with run before this one's. */
static void look_up_at_need(void)
{
    if (next_popen == NULL)
        look_up_at_start();
}

/* ---- Notes ---- */

static bool begins(const char *word, const char *with)
{
    return strncmp(word, with, strlen(with)) == 0;
}

/* Whether a program with this environment would find the library and the recorder. */
static bool is_complete(char *const *environment)
{
    bool library = false, recorder = false;
    for (; environment != NULL && *environment != NULL; environment++) {
        library = library || (begins(*environment, "LD_PRELOAD=") &&
                              strstr(*environment, RECORD_MODULE) != NULL);
        recorder = recorder || begins(*environment, RECORD_VARIABLE "=");
    }
    return library && recorder;
}

/* Makes the path absolute, since the recorder has another working folder. */
static void put_path(char *to, size_t room, const char *path)
{
    size_t used = 0, length = path != NULL ? strlen(path) : 0;
    if (length == 0)
        path = "";
    if (path[0] != '/' && strchr(path, '/') != NULL) {
        long got = syscall(SYS_getcwd, to, room - 1);
        used = got > 0 ? (size_t)got : 0;
        if (used != 0)
            to[used - 1] = '/';
    }
    if (used + length >= room)
        length = 0, used = 0; /* not known */
    memcpy(to + used, path, length);
    to[used + length] = '\0';
}

static struct record_start *note(const char *path, char *const *environment)
{
    struct record_pool *pool = record_pool;
    if (pool == NULL || !pool->follow || atomic_load(&pool->stopped))
        return NULL;
    for (int i = 0; i < RECORD_STARTS; i++) {
        struct record_start *s = &pool->starts[i];
        uint32_t expected = RECORD_START_FREE;
        if (atomic_load(&s->state) != expected ||
            !atomic_compare_exchange_strong(&s->state, &expected, RECORD_START_CLAIMED))
            continue;
        s->pid = record_own_pid();
        s->number = atomic_load(&pool->numbers);
        atomic_store(&s->is_bypassed, 0);
        s->is_cleared = !is_complete(environment);
        put_path(s->path, sizeof s->path, path);
        return s;
    }
    return NULL; /* all notes are in use: the recorder cannot report this program */
}

static void set_state(struct record_start *s, uint32_t state)
{
    if (s != NULL)
        atomic_store(&s->state, state);
}

/* ---- Becoming another program ---- */

static int run(exec_function *next, const char *path, char *const argv[], char *const envp[])
{
    int code = errno;
    struct record_start *s = note(path, envp);
    set_state(s, RECORD_START_USED);
    errno = code;
    int result = next != NULL ? next(path, argv, envp) : (int)syscall(SYS_execve, path, argv, envp);
    set_state(s, RECORD_START_FREE);
    return result;
}

EXPORT int execve(const char *path, char *const argv[], char *const envp[])
{
    look_up_at_need();
    return run(next_execve, path, argv, envp);
}

EXPORT int execv(const char *path, char *const argv[])
{
    look_up_at_need();
    return run(next_execve, path, argv, environ);
}

EXPORT int execvpe(const char *file, char *const argv[], char *const envp[])
{
    look_up_at_need();
    return run(next_execvpe, file, argv, envp);
}

EXPORT int execvp(const char *file, char *const argv[])
{
    look_up_at_need();
    return run(next_execvpe, file, argv, environ);
}

EXPORT int fexecve(int fd, char *const argv[], char *const envp[])
{
    char link[40], path[RECORD_LONGEST_PATH];
    int code = errno;
    look_up_at_need();
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    long length = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
    path[length > 0 ? length : 0] = '\0';
    struct record_start *s = note(path, envp);
    set_state(s, RECORD_START_USED);
    errno = code;
    int result = next_fexecve(fd, argv, envp);
    set_state(s, RECORD_START_FREE);
    return result;
}

/* The number of arguments up to the NULL that ends the list, the first one, which is not NULL,
 * included. */
static size_t count_list(va_list list)
{
    size_t n = 1;
    while (va_arg(list, char *) != NULL)
        n++;
    return n;
}

#define LIST(argv, first)                                                                          \
    va_list list;                                                                                  \
    va_start(list, first);                                                                         \
    const char *volatile head = first; /* declared as nonnull, but some programs pass NULL */      \
    const size_t count = head != NULL ? count_list(list) : 0;                                      \
    va_end(list);                                                                                  \
    char **argv = alloca((count + 1) * sizeof *argv);                                              \
    argv[0] = (char *)(uintptr_t)first;                                                            \
    va_start(list, first);                                                                         \
    for (size_t i = 1; i <= count; i++)                                                            \
    argv[i] = va_arg(list, char *)

EXPORT int execl(const char *path, const char *first, ...)
{
    LIST(argv, first);
    va_end(list);
    return execv(path, argv);
}

EXPORT int execlp(const char *file, const char *first, ...)
{
    LIST(argv, first);
    va_end(list);
    return execvp(file, argv);
}

EXPORT int execle(const char *path, const char *first, ...)
{
    LIST(argv, first);
    char *const *envp = va_arg(list, char *const *);
    va_end(list);
    return execve(path, argv, envp);
}

/* ---- In a process of its own ---- */

/* The child's process number is known only after the call, and only as this pid namespace has it.
 */
static struct record_start *note_keeping_errno(const char *path, char *const envp[])
{
    int code = errno;
    struct record_start *s = note(path, envp);
    errno = code;
    return s;
}

/* The call that s is of has returned `result`, and made this child. */
static int spawned(struct record_start *s, int result, pid_t child, pid_t *pid)
{
    if (result == 0 && pid != NULL)
        *pid = child;
    bool is_known = result == 0 && s != NULL && s->pid == getpid();
    if (s != NULL)
        s->pid = child;
    set_state(s, is_known ? RECORD_START_USED : RECORD_START_FREE);
    return result;
}

EXPORT int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                       const posix_spawnattr_t *attributes, char *const argv[], char *const envp[])
{
    pid_t child = 0;
    look_up_at_need();
    struct record_start *s = note_keeping_errno(path, envp);
    int result = next_spawn(&child, path, actions, attributes, argv, envp);
    return spawned(s, result, child, pid);
}

EXPORT int posix_spawnp(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                        const posix_spawnattr_t *attributes, char *const argv[], char *const envp[])
{
    pid_t child = 0;
    look_up_at_need();
    struct record_start *s = note_keeping_errno(path, envp);
    int result = next_spawnp(&child, path, actions, attributes, argv, envp);
    return spawned(s, result, child, pid);
}

/* system and popen start the shell inside libc, with the present environment. */
static void count_shell(void)
{
    if (record_pool != NULL && record_pool->follow && !is_complete(environ))
        atomic_fetch_add(&record_pool->lost[RECORD_LOST_CLEARED], 1);
}

EXPORT int system(const char *command)
{
    look_up_at_need();
    if (command != NULL)
        count_shell();
    return next_system(command);
}

EXPORT FILE *popen(const char *command, const char *mode)
{
    look_up_at_need();
    count_shell();
    return next_popen(command, mode);
}
