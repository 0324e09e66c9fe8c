/* SPDX-License-Identifier: MIT */
/*
 * Choosing strategies.
 */
#include "choice.h"

#include <stdlib.h>
#include <string.h>

static void add(struct cli_choice *c, const struct hmm_strategy *s)
{
    for (size_t i = 0; i < c->count; i++)
        if (c->strategies[i] == s)
            return;
    const struct hmm_strategy **grown = cli_alloc(c->count + 1, sizeof *grown);
    if (c->count != 0)
        memcpy(grown, c->strategies, c->count * sizeof *grown);
    free(c->strategies);
    c->strategies = grown;
    c->strategies[c->count++] = s;
}

void cli_choose_all(struct cli_choice *c)
{
    const struct hmm_strategy *s;
    for (unsigned i = 0; (s = hmm_strategy_at(i)) != NULL; i++)
        add(c, s);
}

static bool choose_one(struct cli_choice *c, const char *command, const char *name)
{
    if (strcmp(name, "all") == 0) {
        cli_choose_all(c);
        return true;
    }
    const struct hmm_strategy *s = cli_find_strategy(command, name, "all");
    if (s != NULL)
        add(c, s);
    return s != NULL;
}

bool cli_choose(struct cli_choice *c, const char *command, const char *list)
{
    char *names = cli_alloc(strlen(list) + 1, 1), *name = strcpy(names, list);
    bool good = true;
    while (good && name != NULL) {
        char *comma = strchr(name, ',');
        if (comma != NULL)
            *comma++ = '\0';
        good = choose_one(c, command, name);
        name = comma;
    }
    free(names);
    return good;
}

void cli_choice_free(struct cli_choice *c)
{
    free(c->strategies);
    *c = (struct cli_choice){NULL, 0};
}
