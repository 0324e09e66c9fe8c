/* SPDX-License-Identifier: MIT */
#ifndef HMM_REGISTRY_H
#define HMM_REGISTRY_H

#include "base/text.h"
#include "hmm-strategy.h"

/* What a strategy may be called: for the line that refuses another. */
HMM__HIDDEN void hmm__strategy_names(struct text *t);

/* Whether a name is a plug-in's: it has a '/'. */
HMM__HIDDEN bool hmm__strategy_is_path(const char *name);

/* As hmm_strategy_find; adds to `why`, unless that is NULL, for what reason there is none. */
HMM__HIDDEN const struct hmm_strategy *hmm__strategy_find(const char *name, struct text *why);

/* plugin.c: the same, of a path. */
HMM__HIDDEN const struct hmm_strategy *hmm__plugin_load(const char *path, struct text *why);

#endif
