/* SPDX-License-Identifier: MIT */
/*
 * Output for the tests of the kits, on the host and on a bare machine (target/start.c), where it
 * needs no C library. With KIT_TARGET it is for the latter.
 */
#ifndef KIT_SAY_H
#define KIT_SAY_H

#include <stddef.h>
#include <stdint.h>

#if defined(KIT_TARGET)
void target_say(const char *text);
#else
#include <stdio.h>
static inline void target_say(const char *text)
{
    fputs(text, stdout);
}
#endif

static inline void say_number(size_t value)
{
    char text[24];
    unsigned i = sizeof text - 1;
    text[i] = 0;
    do {
        text[--i] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    target_say(text + i);
}

static int faults;

/* Says what does not hold, the first twenty times. */
static inline void expect(int holds, const char *what, size_t number)
{
    if (holds || faults++ >= 20)
        return;
    target_say("not so: ");
    target_say(what);
    target_say(", ");
    say_number(number);
    target_say("\n");
}

#define EXPECT(x, number) expect((x) != 0, #x, (size_t)(number))

static inline uint32_t random_below(uint32_t n)
{
    static uint32_t state = 12345;
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return (state >> 8) % n;
}

/* The program's last line and its exit code. */
static inline int verdict(void)
{
    target_say(faults == 0 ? "all is well\n" : "not well\n");
    return faults != 0;
}

#endif
