/* SPDX-License-Identifier: MIT */
/*
 * Output for a person: lines as wide as the terminal, and names without its control characters.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "cli.h"

#include "base/text.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define WIDTH_ELSEWHERE 80
#define WIDTH_LEAST 20u
#define WIDTH_MOST 4096u

/* ---- Widths ---- */

static unsigned within(unsigned long width)
{
    return width >= WIDTH_LEAST && width <= WIDTH_MOST ? (unsigned)width : 0;
}

unsigned cli_width(FILE *to)
{
    const char *columns = getenv("COLUMNS");
    struct winsize size = {0};
    unsigned width = 0;
    if (isatty(fileno(to)) && ioctl(fileno(to), TIOCGWINSZ, &size) == 0)
        width = within(size.ws_col);
    if (width == 0 && columns != NULL)
        width = within(strtoul(columns, NULL, 10));
    return width != 0 ? width : WIDTH_ELSEWHERE;
}

/* The number of characters of a text in UTF-8. */
static unsigned letters_of(const char *text, size_t length)
{
    unsigned letters = 0;
    for (size_t i = 0; i < length; i++)
        letters += ((unsigned char)text[i] & 0xc0) != 0x80;
    return letters;
}

size_t cli_letters(const char *text)
{
    return letters_of(text, strlen(text));
}

void cli_fill(FILE *to, unsigned indent, const char *text)
{
    const unsigned width = cli_width(to), most = width > indent + WIDTH_LEAST ? width : UINT_MAX;
    unsigned at = indent;
    for (bool first = true; *text != '\0'; first = false) {
        const size_t length = strcspn(text, " ");
        const unsigned letters = letters_of(text, length);
        if (!first && at + 1 + letters > most) {
            fprintf(to, "\n%*s", (int)indent, "");
            at = indent;
        } else if (!first) {
            putc(' ', to);
            at++;
        }
        fwrite(text, 1, length, to);
        at += letters;
        text += length;
        text += strspn(text, " ");
    }
    putc('\n', to);
}

/* ---- Names ---- */

static bool is_plain(const char *text)
{
    for (const char *s = text; *s != '\0';) {
        const size_t length = hmm__text_utf8_length(s);
        if (length == 0 || hmm__text_is_control(s))
            return false;
        s += length;
    }
    return true;
}

/* As C writes it. */
static int escape(char *to, size_t room, unsigned char c)
{
    static const char letters[] = "\a\b\t\n\v\f\r", names[] = "abtnvfr";
    const char *found = c != '\0' ? strchr(letters, c) : NULL;
    return found != NULL ? snprintf(to, room, "\\%c", names[found - letters])
                         : snprintf(to, room, "\\x%02x", c);
}

const char *cli_visible(const char *text)
{
    static char ring[4][8192];
    static unsigned turn;
    if (is_plain(text))
        return text;
    char *shown = ring[turn++ % 4];
    size_t n = 0;
    for (const char *s = text; *s != '\0' && n + 8 < sizeof *ring;) {
        const size_t length = hmm__text_utf8_length(s), escaped = length == 0 ? 1 : length;
        if (length != 0 && !hmm__text_is_control(s)) {
            memcpy(shown + n, s, length);
            n += length;
        } else {
            for (size_t i = 0; i < escaped; i++)
                n += (size_t)escape(shown + n, sizeof *ring - n, (unsigned char)s[i]);
        }
        s += escaped;
    }
    shown[n] = '\0';
    return shown;
}
