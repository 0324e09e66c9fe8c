/* SPDX-License-Identifier: MIT */
/*
 * One bar, on stderr, and only where a person can see it and has to wait: how much is done, how
 * fast it goes, and how long it will take.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "cli.h"
#include "base/clock.h"

#include <unistd.h>

#define BAR_WIDTH 30
#define PATIENCE 0.3 /* seconds before it shows */
#define INTERVAL 0.05

static struct {
    const char *what;
    double started, drawn; /* drawn: when; 0: it does not show */
    uint64_t ops;          /* done so far; 0: they are not counted */
} bar;

void cli_progress_start(const char *what)
{
    cli_progress_hide();
    bar.what = isatty(STDERR_FILENO) ? what : NULL;
    bar.started = clock_seconds();
    bar.ops = 0;
}

/* "  12.3 M/s  1:05 left", as far as it is known. */
static void draw_pace(double done, double seconds)
{
    if (bar.ops != 0)
        fprintf(stderr, "  %.1f M operations/s", (double)bar.ops / seconds * 1e-6);
    if (done <= 0 || done >= 1)
        return;
    const double left = seconds / done - seconds;
    if (left < 360000)
        fprintf(stderr, "  %d:%02d left", (int)left / 60, (int)left % 60);
}

void cli_progress(double done)
{
    double time = bar.what != NULL ? clock_seconds() : 0;
    if (bar.what == NULL || time - bar.started < PATIENCE || time - bar.drawn < INTERVAL)
        return;
    int filled = done >= 1 ? BAR_WIDTH : done > 0 ? (int)(done * BAR_WIDTH) : 0;
    fprintf(stderr, "\r%s [", bar.what);
    for (int i = 0; i < BAR_WIDTH; i++)
        fputc(i < filled ? '#' : '.', stderr);
    fprintf(stderr, "] %3.0f %%", done * 100);
    draw_pace(done, time - bar.started);
    fputs("\033[K", stderr);
    fflush(stderr);
    bar.drawn = time;
}

void cli_progress_ops(double done, uint64_t ops)
{
    bar.ops = ops;
    cli_progress(done);
}

void cli_progress_hide(void)
{
    if (bar.drawn > 0)
        fputs("\r\033[K", stderr);
    bar.drawn = 0;
}
