/* SPDX-License-Identifier: MIT */
/*
 * Short texts without stdio. Calls write only.
 */
#include "base/text.h"

#if HMM_WITH_MESSAGES || !HMM__SMALL

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

#if !HMM__SMALL

static unsigned at_most(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* The cheapest way to make b[0..j) of a[0..i), from the three that end with one letter of both, of
 * a or of b; row and above are those of i and i - 1. */
static unsigned edits_to(const unsigned char *above, const unsigned char *row, size_t j, bool same)
{
    unsigned both = above[j - 1] + (same ? 0u : 1u);
    return at_most(both, at_most(above[j], row[j - 1]) + 1u);
}

/*
 * The distance of Damerau and Levenshtein, with each letter edited once: row[j] is that of a[0..i)
 * to b[0..j), and above and higher are the rows of i - 1 and i - 2.
 */
unsigned hmm__text_edits(const char *a, const char *b)
{
    unsigned char rows[3][HMM__TEXT_WORD + 1];
    unsigned char *row = rows[0], *above = rows[1], *higher = rows[2];
    size_t m = hmm__text_length(a), n = hmm__text_length(b);
    if (m > HMM__TEXT_WORD || n > HMM__TEXT_WORD)
        return HMM__TEXT_UNLIKE;
    for (size_t j = 0; j <= n; j++)
        row[j] = (unsigned char)j;
    for (size_t i = 1; i <= m; i++) {
        unsigned char *next = higher;
        higher = above;
        above = row;
        row = next;
        row[0] = (unsigned char)i;
        for (size_t j = 1; j <= n; j++) {
            unsigned d = edits_to(above, row, j, a[i - 1] == b[j - 1]);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                d = at_most(d, higher[j - 2] + 1u);
            row[j] = (unsigned char)d;
        }
    }
    return row[n];
}

#endif

/* Divides the number whose digits in base 2^16 are `rest` and *digit by `base`, of at most 16 bits:
 * *digit becomes the quotient. Returns the remainder. 32-bit compilers call their run-time library
 * to divide larger numbers, and for quotient and remainder together. */
static uint32_t divide_digit(uint32_t *digit, uint32_t rest, uint32_t base)
{
    uint32_t value = rest << 16 | *digit, quotient = value / base;
    hmm__forget(quotient);
    *digit = quotient;
    return value - quotient * base;
}

static uint32_t divide(uint64_t *value, uint32_t base)
{
    uint32_t high = (uint32_t)(*value >> 32), low = (uint32_t)*value, rest = 0;
    uint32_t digits[4] = {high >> 16, high & 0xffff, low >> 16, low & 0xffff};
    for (int i = 0; i < 4; i++)
        rest = divide_digit(&digits[i], rest, base);
    high = digits[0] << 16 | digits[1];
    low = digits[2] << 16 | digits[3];
    *value = (uint64_t)high << 32 | low;
    return rest;
}

static void add_number(struct text *t, uint64_t value, uint32_t base)
{
    char digits[24];
    size_t i = sizeof(digits) - 1;
    digits[i] = '\0';
    do {
        digits[--i] = "0123456789abcdef"[divide(&value, base)];
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

/* Sizes are read where there are files and environments; it takes arithmetic of 64 bits. */
#if HMM_HOSTED
static unsigned unit_shift(char letter)
{
    switch (letter) {
    case 'K':
    case 'k':
        return 10;
    case 'M':
    case 'm':
        return 20;
    case 'G':
    case 'g':
        return 30;
    default:
        return 0;
    }
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* A comma before the last three digits, or before three that another follows. */
static bool is_separator(const char *s)
{
    return s[0] == ',' && is_digit(s[1]) && is_digit(s[2]) && is_digit(s[3]) && !is_digit(s[4]);
}

/* Whole numbers up to here keep their unit within 64 bits. */
#define LARGEST_WHOLE (UINT64_MAX >> 31)

bool hmm__text_parse_size(const char *s, uint64_t *bytes)
{
    uint64_t whole = 0, part = 0, scale = 1;
    bool too_large = false, has_part = false;
    if (!is_digit(*s))
        return false;
    for (; is_digit(*s) || is_separator(s); s++) {
        if (*s == ',')
            continue;
        whole = whole * 10 + (uint64_t)(*s - '0');
        too_large = too_large || whole > UINT64_MAX / 10 - 1;
    }
    if (*s == '.')
        for (s++; is_digit(*s); s++, has_part = true)
            if (scale < 1000000000) {
                part = part * 10 + (uint64_t)(*s - '0');
                scale *= 10;
            }
    if (s[-1] == '.')
        return false;
    if (s[0] == ' ' && s[1] != '\0')
        s++;
    if (s[0] == 'B' && s[1] == '\0' && !has_part)
        s++;
    unsigned shift = unit_shift(*s);
    if (shift == 0 && (has_part || *s != '\0'))
        return false;
    if (shift != 0 && s[1] == 'i' && s[2] == 'B')
        s += 2;
    if (shift != 0 && s[1] != '\0')
        return false;
    too_large = too_large || (shift != 0 && whole > LARGEST_WHOLE);
    *bytes = too_large ? UINT64_MAX : (whole << shift) + (part << shift) / scale;
    return true;
}
#endif

size_t hmm__text_utf8_length(const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t length = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    if (s[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
        (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return length;
}

bool hmm__text_is_control(const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    return *s < ' ' || *s == 0x7f || (*s == 0xc2 && s[1] < 0xa0);
}

static void escape_code(char *to, unsigned char c)
{
    static const char digits[] = "0123456789abcdef";
    memcpy(to, "\\u00", 4);
    to[4] = digits[c >> 4];
    to[5] = digits[c & 15];
    to[6] = '\0';
}

const char *hmm__text_json(const char *s, char to[HMM__JSON_ROOM])
{
    unsigned char c = (unsigned char)*s;
    size_t length = hmm__text_utf8_length(s), at = 0;
    if (length == 0) {
        memcpy(to, "\\ufffd", 7);
        return s + 1;
    }
    if (hmm__text_is_control(s)) {
        escape_code(to, length == 1 ? c : (unsigned char)s[1]);
        return s + length;
    }
    if (c == '"' || c == '\\')
        to[at++] = '\\';
    memcpy(to + at, s, length);
    to[at + length] = '\0';
    return s + length;
}

const char *hmm__text_line(struct text *t)
{
    t->chars[t->length] = '\0';
    return t->chars;
}

int hmm__text_to(struct text *t, int fd)
{
#if HMM_HOSTED && HMM_WITH_MESSAGES
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

#endif
