/* SPDX-License-Identifier: MIT */
#include "dies.h"
#include "harness.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST 65536u

static _Noreturn void be_child(void (*act)(void *), void *arg, int to)
{
    const struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    dup2(to, 2);
    act(arg);
    exit(0);
}

static char *read_all(int from)
{
    char *text = calloc(1, MOST);
    size_t length = 0;
    ck_assert_ptr_nonnull(text);
    for (ssize_t n; (n = read(from, text + length, MOST - 1 - length)) > 0;)
        length += (size_t)n;
    return text;
}

/* Valgrind's lines begin so. */
static void drop_valgrind(char *text)
{
    char *to = text;
    for (char *line = text, *next; *line != '\0'; line = next) {
        char *end = strchr(line, '\n');
        next = end ? end + 1 : line + strlen(line);
        if (strncmp(line, "==", 2) == 0 || strncmp(line, "**", 2) == 0)
            continue;
        memmove(to, line, (size_t)(next - line));
        to += next - line;
    }
    *to = '\0';
}

char *said_by_child(void (*act)(void *), void *arg, int *status)
{
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    fflush(NULL);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        close(ends[0]);
        be_child(act, arg, ends[1]);
    }
    close(ends[1]);
    char *text = read_all(ends[0]);
    close(ends[0]);
    ck_assert_int_eq(waitpid(child, status, 0), child);
    drop_valgrind(text);
    return text;
}

void assert_aborts_saying(void (*act)(void *), void *arg, const char *line)
{
    int status;
    char *said = said_by_child(act, arg, &status), want[1024];
    snprintf(want, sizeof want, "%s\n", line);
    ck_assert_str_eq(said, want);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    free(said);
}

void assert_says(void (*act)(void *), void *arg, const char *text)
{
    int status;
    char *said = said_by_child(act, arg, &status);
    ck_assert_str_eq(said, text);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child ended with status %x",
                  (unsigned)status);
    free(said);
}
