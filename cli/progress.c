/* SPDX-License-Identifier: MIT */
/*
 * One bar, on stderr, and only where a person can see it and has to wait.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "cli.h"

#include <time.h>
#include <unistd.h>

#define BAR_WIDTH 30
#define PATIENCE 0.3 /* seconds before it shows */
#define INTERVAL 0.05

static struct {
    const char *what;
    double started, drawn; /* drawn: when; 0: it does not show */
} bar;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void cli_progress_start(const char *what)
{
    cli_progress_hide();
    bar.what = isatty(STDERR_FILENO) ? what : NULL;
    bar.started = now();
}

void cli_progress(double done)
{
    double time = bar.what != NULL ? now() : 0;
    if (bar.what == NULL || time - bar.started < PATIENCE || time - bar.drawn < INTERVAL)
        return;
    int filled = done >= 1 ? BAR_WIDTH : done > 0 ? (int)(done * BAR_WIDTH) : 0;
    fprintf(stderr, "\r%s [", bar.what);
    for (int i = 0; i < BAR_WIDTH; i++)
        fputc(i < filled ? '#' : '.', stderr);
    fprintf(stderr, "] %3.0f %%", done * 100);
    fflush(stderr);
    bar.drawn = time;
}

void cli_progress_hide(void)
{
    if (bar.drawn > 0)
        fputs("\r\033[K", stderr);
    bar.drawn = 0;
}
