/* SPDX-License-Identifier: MIT */
/*
 * Delta debugging (Zeller and Hildebrandt, Simplifying and Isolating Failure-Inducing Input, 2002):
 * of the operations that break a rule, ever smaller parts are left out, as long as what is left
 * breaks the same one.
 */
#include "checker.h"
#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

struct shrinking {
    const char *path;
    struct checker_plan *plan;
    struct checker_verdict *verdict;
    struct checker_limits limits;
    unsigned runs_left;
    double end;
};

static bool may_go_on(const struct shrinking *s)
{
    return s->runs_left != 0 && clock_seconds() < s->end;
}

/* Whether the plan without [from, from + length) breaks the same rule; then it is the plan. */
static bool try_without(struct shrinking *s, size_t from, size_t length)
{
    struct checker_plan *plan = s->plan, less = {plan->region, plan->count - length, NULL};
    struct checker_verdict verdict;
    less.ops = malloc((less.count + 1) * sizeof *less.ops);
    if (less.ops == NULL)
        abort();
    memcpy(less.ops, plan->ops, from * sizeof *less.ops);
    memcpy(less.ops + from, plan->ops + from + length, (less.count - from) * sizeof *less.ops);
    s->runs_left--;
    checker_run(s->path, &less, &s->limits, &verdict);
    bool same = verdict.outcome == CHECKER_UNSOUND && strcmp(verdict.rule, s->verdict->rule) == 0;
    if (same) {
        free(plan->ops);
        *plan = less;
        plan->count = verdict.op + 1 < plan->count ? verdict.op + 1 : plan->count;
        *s->verdict = verdict;
    } else {
        free(less.ops);
    }
    return same;
}

void checker_shrink(const char *path, struct checker_plan *plan,
                    const struct checker_limits *limits, struct checker_verdict *verdict,
                    unsigned most, double seconds)
{
    struct shrinking s = {path, plan, verdict, *limits, most, clock_seconds() + seconds};
    if (verdict->op + 1 < plan->count)
        plan->count = verdict->op + 1;
    for (size_t part = plan->count / 2; part != 0; part /= 2) {
        bool any = true;
        while (any && may_go_on(&s)) {
            any = false;
            /* From behind: what came last is needed most. */
            for (size_t end = plan->count; end != 0 && may_go_on(&s);) {
                size_t from = end > part ? end - part : 0;
                if (plan->count > 1 && end - from < plan->count &&
                    try_without(&s, from, end - from))
                    any = true;
                end = from < plan->count ? from : plan->count;
            }
            any = any && part == 1;
        }
    }
}
