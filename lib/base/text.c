/* SPDX-License-Identifier: MIT */
/*
 * Short texts without stdio. Calls write only.
 */
#include "base/text.h"

#if HMM_HOSTED
#include <unistd.h>
#endif

void hmm__text_add(struct text *t, const char *s)
{
    while (*s != '\0' && t->length < sizeof t->chars - 2)
        t->chars[t->length++] = *s++;
}

bool hmm__text_same(const char *a, const char *b)
{
    while (*a == *b && *a != '\0')
        a++, b++;
    return *a == *b;
}

/* hmm__forget: else compilers recognise the loop and call strlen, which a freestanding build does
 * not have. */
size_t hmm__text_length(const char *s)
{
    size_t n = 0;
    while (s[n] != '\0') {
        n++;
        hmm__forget(n);
    }
    return n;
}

static void add_number(struct text *t, uint64_t value, unsigned base)
{
    char digits[24];
    size_t i = sizeof digits - 1;
    digits[i] = '\0';
    do {
        digits[--i] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value != 0);
    hmm__text_add(t, digits + i);
}

void hmm__text_decimal(struct text *t, uint64_t value)
{
    add_number(t, value, 10);
}

void hmm__text_hex(struct text *t, uintptr_t value)
{
    hmm__text_add(t, "0x");
    add_number(t, value, 16);
}

void hmm__text_size(struct text *t, uint64_t bytes)
{
    static const char *const units[] = {"", "K", "M", "G"};
    unsigned unit = 0;
    while (unit < 3 && bytes != 0 && bytes % 1024 == 0) {
        bytes /= 1024;
        unit++;
    }
    hmm__text_decimal(t, bytes);
    hmm__text_add(t, units[unit]);
}

const char *hmm__text_line(struct text *t)
{
    t->chars[t->length] = '\0';
    return t->chars;
}

int hmm__text_to(struct text *t, int fd)
{
#if HMM_HOSTED
    t->chars[t->length] = '\n';
    for (size_t done = 0; done <= t->length;) {
        ssize_t written = write(fd, t->chars + done, t->length + 1 - done);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return written < 0 ? errno : ENOSPC;
        done += (size_t)written;
    }
#else
    (void)t, (void)fd;
#endif
    return 0;
}

void hmm__text_to_stderr(struct text *t)
{
    (void)hmm__text_to(t, 2); /* a failure cannot be reported anywhere */
}
