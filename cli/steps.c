/* SPDX-License-Identifier: MIT */
/*
 * Instructions of a short piece of code, counted by the processor's trap flag: after each
 * instruction there is a signal, whose handler adds one. Exact, whatever else the machine does; no
 * permission and no second process is needed. A microsecond or so for each.
 *
 * A string instruction (rep movs, rep stos) traps after each round of it. The handler carries out
 * the rest at once, and counts one for every 32 bytes, as a loop of vector instructions would have.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "compare.h"

#include <signal.h>
#include <string.h>
#include <ucontext.h>

#if defined(__linux__) && defined(__x86_64__)
#define HAS_STEPS 1
#define PLACE REG_RIP
#define COUNT REG_RCX
#define SOURCE REG_RSI
#define TARGET REG_RDI
#define VALUE REG_RAX
#elif defined(__linux__) && defined(__i386__)
#define HAS_STEPS 1
#define PLACE REG_EIP
#define COUNT REG_ECX
#define SOURCE REG_ESI
#define TARGET REG_EDI
#define VALUE REG_EAX
#endif

#ifdef HAS_STEPS

#define TRAP_FLAG 0x100
#define DIRECTION_FLAG 0x400
#define BYTES_A_STEP 32

static volatile bool counting;
static volatile uint64_t steps;
static struct sigaction before;
static sigset_t mask_before;

/* The string instruction that is at `code`: its letter, with the bytes that it takes at once and
 * its own length. False iff it is another one. */
static bool is_string(const unsigned char *code, unsigned char *letter, size_t *width,
                      size_t *length)
{
    size_t i = 1;
    *width = 4;
    if (code[0] != 0xf3)
        return false;
#ifdef __x86_64__
    if (code[1] == 0x48) {
        *width = 8;
        i = 2;
    }
#endif
    *letter = code[i] & 0xfe;
    *width = (code[i] & 1) == 0 ? 1 : *width;
    *length = i + 1;
    return *letter == 0xa4 || *letter == 0xaa;
}

/* What remains of a string instruction, byte after byte as it would have. */
static void carry_out(greg_t *r, unsigned char letter, size_t width)
{
    const size_t bytes = (size_t)r[COUNT] * width;
    volatile unsigned char *to = (unsigned char *)r[TARGET];
    const volatile unsigned char *from =
        letter == 0xa4 ? (const unsigned char *)r[SOURCE] : (const unsigned char *)&r[VALUE];
    for (size_t i = 0; i < bytes; i++)
        to[i] = letter == 0xa4 ? from[i] : from[i % width];
    r[TARGET] += (greg_t)bytes;
    r[SOURCE] += letter == 0xa4 ? (greg_t)bytes : 0;
    r[COUNT] = 0;
    steps += bytes / BYTES_A_STEP;
}

static void on_trap(int number, siginfo_t *info, void *context)
{
    greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
    unsigned char letter;
    size_t width, length;
    (void)number;
    if (info->si_code == SI_KERNEL) { /* the breakpoint of steps_begin or steps_end */
        counting = !counting;
        if (counting)
            r[REG_EFL] |= TRAP_FLAG;
        else
            r[REG_EFL] &= ~(greg_t)TRAP_FLAG;
        return;
    }
    steps++;
    if (is_string((const unsigned char *)r[PLACE], &letter, &width, &length) &&
        (r[REG_EFL] & DIRECTION_FLAG) == 0) {
        carry_out(r, letter, width);
        r[PLACE] += (greg_t)length;
        steps++;
    }
}

/* A process may have been started with the signal blocked: a trap would then end it. */
void steps_begin(void)
{
    struct sigaction action = {.sa_flags = SA_SIGINFO};
    sigset_t trap;
    action.sa_sigaction = on_trap;
    sigaction(SIGTRAP, &action, &before);
    sigemptyset(&trap);
    sigaddset(&trap, SIGTRAP);
    sigprocmask(SIG_UNBLOCK, &trap, &mask_before);
    steps = 0;
    __asm__ volatile("int3" : : : "memory");
}

uint64_t steps_end(void)
{
    if (counting)
        __asm__ volatile("int3" : : : "memory");
    sigprocmask(SIG_SETMASK, &mask_before, NULL);
    sigaction(SIGTRAP, &before, NULL);
    return steps;
}

/* Whether a loop's instructions are counted: an emulator may have no such flag, and a debugger may
 * keep the signals. */
bool steps_are_possible(void)
{
    const unsigned loop = 200, around = 200;
    unsigned left = loop;
    steps_begin();
    __asm__ volatile("1: dec %0\n\tjnz 1b" : "+r"(left) : : "cc");
    const uint64_t counted = steps_end();
    return counted >= 2 * loop && counted < 2 * loop + around;
}

#else

bool steps_are_possible(void)
{
    return false;
}

void steps_begin(void)
{
}

uint64_t steps_end(void)
{
    return 0;
}

#endif
