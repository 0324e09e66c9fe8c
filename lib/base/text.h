/* SPDX-License-Identifier: MIT */
/*
 * Short texts without stdio, since messages are made inside malloc. A text that would be too long
 * is cut.
 */
#ifndef HMM_TEXT_H
#define HMM_TEXT_H

#include "base/compiler.h"

struct text {
    char chars[1000];
    size_t length;
};

HMM__HIDDEN void hmm__text_add(struct text *t, const char *s);
HMM__HIDDEN void hmm__text_decimal(struct text *t, uint64_t value);
HMM__HIDDEN void hmm__text_hex(struct text *t, uintptr_t value);

/* strlen, and whether strcmp is 0: a freestanding build has neither. */
HMM__HIDDEN size_t hmm__text_length(const char *s);
HMM__HIDDEN bool hmm__text_same(const char *a, const char *b);

/* Escapes the first character of s, which is not empty, for a JSON string. Bytes that are not UTF-8
 * become U+FFFD. Returns the rest of s. */
#define HMM__JSON_ROOM 8
HMM__HIDDEN const char *hmm__text_json(const char *s, char to[HMM__JSON_ROOM]);

/* Bytes of the UTF-8 sequence at s; 0 iff it is not one (overlong forms, surrogates and what lies
 * above U+10FFFF are none). */
HMM__HIDDEN size_t hmm__text_utf8_length(const char *s);

/* Whether a control character stands there (C0, delete, C1): it could steer a terminal. */
HMM__HIDDEN bool hmm__text_is_control(const char *s);

/* How many letters must be put in, left out, changed or swapped with their neighbour to make b of
 * a: a typing error is one or two. HMM__TEXT_UNLIKE if one of them has more than HMM__TEXT_WORD
 * letters. */
#if !HMM__SMALL
#define HMM__TEXT_WORD 31
#define HMM__TEXT_UNLIKE 1000u
#endif
HMM__HIDDEN unsigned hmm__text_edits(const char *a, const char *b);

/* A size, in K, M or G where it is a whole number of them. */
HMM__HIDDEN void hmm__text_size(struct text *t, uint64_t bytes);

/* "4096", "64K", "8MiB", "1.5M", "2g", "12,345", "1.50 MiB", "16 B": bytes, rounded down;
 * UINT64_MAX: more than that. False iff it is none of these. A fraction needs a unit. Not in a
 * freestanding build. */
HMM__HIDDEN bool hmm__text_parse_size(const char *s, uint64_t *bytes);

/* The text as a string. */
HMM__HIDDEN const char *hmm__text_line(struct text *t);

/* Writes the text and a newline, in one write if the file takes it. Returns 0, or errno iff not all
 * could be written. */
HMM__HIDDEN int hmm__text_to(struct text *t, int fd);
HMM__HIDDEN void hmm__text_to_stderr(struct text *t);

#endif
