/* SPDX-License-Identifier: MIT */
/*
 * The built-in strategies, by name and in order.
 */
#include "registry.h"

#if !HMM__SMALL

static const struct hmm_strategy *const *const builtin[] = {
#if HMM_WITH_FIRST_FIT
    &HMM_FIRST_FIT,
#endif
#if HMM_WITH_NEXT_FIT
    &HMM_NEXT_FIT,
#endif
#if HMM_WITH_BEST_FIT
    &HMM_BEST_FIT,
#endif
#if HMM_WITH_SEGREGATED
    &HMM_SEGREGATED,
#endif
};

#define BUILTINS (sizeof builtin / sizeof builtin[0])

const struct hmm_strategy *hmm_strategy_at(unsigned index)
{
    return index < BUILTINS ? *builtin[index] : NULL;
}

static bool same(const char *a, const char *b)
{
    while (*a != '\0' && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

bool hmm__strategy_is_path(const char *name)
{
    while (*name != '\0')
        if (*name++ == '/')
            return true;
    return false;
}

const struct hmm_strategy *hmm__strategy_find(const char *name, struct text *why)
{
    if (name != NULL && hmm__strategy_is_path(name))
        return hmm__plugin_load(name, why);
    for (unsigned i = 0; name != NULL && i < BUILTINS; i++)
        if (same((*builtin[i])->name, name))
            return *builtin[i];
    if (why != NULL)
        hmm__text_add(why, "no such strategy");
    hmm__set_errno(ENOENT);
    return NULL;
}

const struct hmm_strategy *hmm_strategy_find(const char *name)
{
    return hmm__strategy_find(name, NULL);
}

void hmm__strategy_names(struct text *t)
{
    for (unsigned i = 0; i < BUILTINS; i++) {
        hmm__text_add(t, i ? ", " : "");
        hmm__text_add(t, (*builtin[i])->name);
    }
    hmm__text_add(t, ", or the path of a plug-in (with a '/')");
}

const char *hmm_strategy_name(const struct hmm_strategy *strategy)
{
    return strategy->name;
}

const char *hmm_strategy_summary(const struct hmm_strategy *strategy)
{
    return strategy->summary ? strategy->summary : "";
}

#endif
