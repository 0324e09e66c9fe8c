/* SPDX-License-Identifier: MIT */
/*
 * The child process that loads a plug-in and uses it. Whatever the plug-in does there, write where
 * it must not, crash, end the program or never come back, the parent learns what was running.
 */
#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1 /* MAP_ANONYMOUS, RTLD_NOLOAD */
#endif
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "play.h"
#include "registry.h"
#include "watch.h"
#include "base/clock.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifdef HAVE_DLOPEN
#include <dlfcn.h>
#endif

/* ---- In the child: signals ---- */

/* How often a function is looked at, of its time. */
#define TICKS 4

static volatile uint64_t calls_then;
static volatile unsigned ticks;

static struct checker_verdict *here;

/* The heap's own code has no loop that a broken index could make endless: `hook` is running. */
static void say_endless(void)
{
    const char *hook = here->hook != NULL ? here->hook : "the plug-in";
    watch_broken("endless", "%s does not come back", hook);
}

static void on_tick(int number)
{
    (void)number;
    if (here->calls != calls_then) {
        calls_then = here->calls;
        ticks = 0;
    } else if (++ticks > TICKS) {
        say_endless();
    }
}

static void on_fault(int number, siginfo_t *info, void *context)
{
    const char *hook = here->hook != NULL ? here->hook : "the plug-in";
    (void)context;
    if (number == SIGSEGV && watch_is_guard(info->si_addr))
        watch_broken("writes-outside", "%s touches memory beside its state", hook);
    if (number == SIGSEGV && watch_is_old(info->si_addr))
        watch_broken("holds-pointer", "%s goes to where its state was before it moved", hook);
    watch_broken("crash", "%s is ended by signal %d (%s)", hook, number, strsignal(number));
}

static void catch_signals(const struct checker_limits *limits)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
    static char stack[64 << 10];
    stack_t other = {.ss_sp = stack, .ss_size = sizeof stack};
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_ONSTACK};
    action.sa_sigaction = on_fault;
    sigaltstack(&other, NULL);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
        sigaction(faults[i], &action, NULL);
    action.sa_flags = SA_ONSTACK;
    action.sa_handler = on_tick;
    sigaction(SIGVTALRM, &action, NULL);
    long us = (long)limits->cpu_ms * 1000 / TICKS;
    struct itimerval timer = {{us / 1000000, us % 1000000}, {us / 1000000, us % 1000000}};
    setitimer(ITIMER_VIRTUAL, &timer, NULL);
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
}

/* ---- In the child: loading ---- */

static void find_scan(const char *path)
{
#ifdef HAVE_DLOPEN
    void *object = dlopen(path, RTLD_NOW | RTLD_NOLOAD);
    void *symbol = object != NULL ? dlsym(object, "hmm_plugin_scan") : NULL;
    memcpy(&watch.scan, &symbol, sizeof symbol);
    here->has_scan = symbol != NULL;
#else
    (void)path;
#endif
}

/* So many addresses that no ref leads to memory that is somebody's. */
static char *reserve(size_t room)
{
    size_t most = sizeof(size_t) > 4 ? (size_t)((uint64_t)UINT32_MAX * HMM_GRANULE) : room;
    for (;; most /= 2) {
        most = most > room ? most : room;
        char *p = mmap(NULL, most, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p != MAP_FAILED && mprotect(p, room, PROT_READ | PROT_WRITE) == 0)
            return p;
        if (most == room)
            return NULL;
    }
}

static _Noreturn void end_as(enum checker_outcome outcome, const char *text)
{
    snprintf(here->text, sizeof here->text, "%s", text);
    here->outcome = (int)outcome;
    _exit(outcome != CHECKER_SOUND);
}

static _Noreturn void be_child(const char *path, const struct checker_plan *plan,
                               const struct checker_limits *limits)
{
    struct text why = {0};
    size_t room = (plan->region * 2 + 4095) / 4096 * 4096;
    catch_signals(limits);
    watch.verdict = here;
    here->hook = "loading it";
    const struct hmm_strategy *rule = hmm__strategy_find(path, &why);
    here->hook = NULL;
    if (rule == NULL && access(path, F_OK) != 0 && errno == ENOENT)
        end_as(CHECKER_NOT_LOADABLE, "there is no such plug-in");
    if (rule == NULL)
        end_as(CHECKER_NOT_LOADABLE, hmm__text_line(&why));
    snprintf(here->name, sizeof here->name, "%s", rule->name);
    char *region = reserve(room);
    if (region == NULL)
        end_as(CHECKER_FAILED, "there is no memory for a heap");
    watch_begin(rule, region, room, here);
    if (hmm__strategy_is_path(path))
        find_scan(path);
    checker_play(plan);
    end_as(CHECKER_SOUND, "");
}

/* ---- In the parent ---- */

static void pause_us(long us)
{
    nanosleep(&(struct timespec){0, us * 1000}, NULL);
}

static uint64_t now_ms(void)
{
    return clock_ns(CLOCK_MONOTONIC) / 1000000;
}

static void set(struct checker_verdict *v, enum checker_outcome outcome, const char *rule)
{
    v->outcome = (int)outcome;
    snprintf(v->rule, sizeof v->rule, "%s", rule);
}

/* The plug-in sleeps, or keeps the signals from us. */
static void end_child(pid_t child, struct checker_verdict *v)
{
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    set(v, CHECKER_UNSOUND, "endless");
    snprintf(v->text, sizeof v->text, "%s does not come back",
             v->hook != NULL ? v->hook : "the plug-in");
}

static void wait_for(pid_t child, const struct checker_limits *limits, struct checker_verdict *v)
{
    uint64_t calls = 0, since = now_ms();
    int status = 0;
    long us = 100;
    for (pid_t ended; (ended = waitpid(child, &status, WNOHANG)) == 0; pause_us(us)) {
        us = us < 5000 ? us + us / 4 : us;
        if (v->calls != calls) {
            calls = v->calls;
            since = now_ms();
        } else if (now_ms() - since > limits->wall_ms) {
            end_child(child, v);
            return;
        }
    }
    if (v->outcome >= 0)
        return;
    set(v, CHECKER_UNSOUND, "crash");
    const char *hook = v->hook != NULL ? v->hook : "the plug-in";
    if (WIFSIGNALED(status))
        snprintf(v->text, sizeof v->text, "%s is ended by signal %d (%s)", hook, WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else
        snprintf(v->text, sizeof v->text, "%s ends the program with exit code %d", hook,
                 WEXITSTATUS(status));
}

void checker_run(const char *path, const struct checker_plan *plan,
                 const struct checker_limits *limits, struct checker_verdict *verdict)
{
    *verdict = (struct checker_verdict){.outcome = CHECKER_FAILED};
    here = mmap(NULL, sizeof *here, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (here == MAP_FAILED) {
        snprintf(verdict->text, sizeof verdict->text, "there is no shared memory");
        return;
    }
    here->outcome = -1;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0)
        be_child(path, plan, limits);
    if (child > 0)
        wait_for(child, limits, here);
    if (child > 0)
        *verdict = *here;
    else
        snprintf(verdict->text, sizeof verdict->text, "no process can be started");
    munmap(here, sizeof *here);
}
