/* SPDX-License-Identifier: MIT */
/*
 * Ctrl-C: the first asks for what is known so far, the second ends the process.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "cli.h"

#include <signal.h>
#include <stdlib.h>

static volatile sig_atomic_t interrupted;

static void interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

/* If SIGINT is ignored, as after nohup or the shell's &, it stays so. */
void cli_heed_interrupts(void)
{
    struct sigaction now, action = {.sa_handler = interrupt, .sa_flags = (int)SA_RESETHAND};
    if (sigaction(SIGINT, NULL, &now) == 0 && now.sa_handler == SIG_DFL)
        sigaction(SIGINT, &action, NULL);
}

bool cli_interrupted(void)
{
    return interrupted != 0;
}

void cli_end_interrupted(void)
{
    cli_progress_hide();
    fflush(NULL);
    signal(SIGINT, SIG_DFL);
    raise(SIGINT);
    exit(130); /* it was blocked */
}
