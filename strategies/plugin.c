/* SPDX-License-Identifier: MIT */
/*
 * Strategies from shared objects. A plug-in that was loaded is never unloaded: heaps may use it.
 */
#include "registry.h"

#if !HMM__SMALL

#if defined(HAVE_DLOPEN) && HMM_WITH_PLUGINS

#include <dlfcn.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct hmm_strategy *refuse_plugin(struct text *why, int code, const char *reason)
{
    if (why != NULL)
        hmm__text_add(why, reason);
    hmm__set_errno(code);
    return NULL;
}

_Static_assert(offsetof(struct hmm_strategy, abi) == 0 &&
                   offsetof(struct hmm_strategy, name) == 2 * sizeof(unsigned),
               "a strategy of any ABI begins with the number, and has its name here");

/* NULL, or the field for which hmm__strategy_is_valid refuses it. */
static const char *missing_field(const struct hmm_strategy *s)
{
    return s->name == NULL         ? "name"
           : s->state_size == NULL ? "state_size"
           : s->find == NULL       ? "find"
           : s->insert == NULL     ? "insert"
           : s->remove == NULL     ? "remove"
                                   : NULL;
}

/* The granule that a strategy of this ABI is for, as HMM_STRATEGY_ABI has it. */
static unsigned granule_of(unsigned abi)
{
    return abi >> 16 != 0 ? abi >> 16 : HMM_GRANULE_USUAL;
}

/* Of another ABI only the head is known. */
static void refuse_abi(struct text *why, const struct hmm_strategy *s)
{
    if (why == NULL)
        return;
    hmm__text_add(why, "its strategy ");
    hmm__text_add(why, s->name != NULL ? s->name : "without a name");
    if ((s->abi & UINT16_MAX) == HMM_STRATEGY_VERSION) {
        hmm__text_add(why, " is for granules of ");
        hmm__text_decimal(why, granule_of(s->abi));
        hmm__text_add(why, " bytes, this hmm has granules of ");
        hmm__text_decimal(why, HMM_GRANULE);
    } else {
        hmm__text_add(why, " is of strategy ABI ");
        hmm__text_decimal(why, s->abi & UINT16_MAX);
        hmm__text_add(why, ", this hmm takes ABI ");
        hmm__text_decimal(why, HMM_STRATEGY_VERSION);
    }
}

static void refuse_field(struct text *why, const char *field)
{
    if (why == NULL)
        return;
    hmm__text_add(why, "the field ");
    hmm__text_add(why, field);
    hmm__text_add(why, " of its hmm_plugin_strategy is NULL");
}

static const char *linker_reason(void)
{
    const char *reason = dlerror();
    return reason != NULL ? reason : "the linker refuses it";
}

const struct hmm_strategy *hmm__plugin_load(const char *path, struct text *why)
{
    struct stat status;
    if (stat(path, &status) != 0 && errno != EACCES)
        return refuse_plugin(why, ENOENT, "no such strategy");
    if (access(path, R_OK) != 0)
        return refuse_plugin(why, EINVAL, "it may not be read");
    if (!S_ISREG(status.st_mode)) /* to open a FIFO is to wait for its other end */
        return refuse_plugin(why, EINVAL, "is no regular file");
    void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (object == NULL)
        return refuse_plugin(why, EINVAL, linker_reason());
    const struct hmm_strategy *s = dlsym(object, "hmm_plugin_strategy");
    if (s == NULL)
        refuse_plugin(why, EINVAL, "it exports no hmm_plugin_strategy");
    else if (s->abi != HMM_STRATEGY_ABI)
        refuse_abi(why, s);
    else if (missing_field(s) != NULL)
        refuse_field(why, missing_field(s));
    else
        return s;
    dlclose(object);
    hmm__set_errno(EINVAL);
    return NULL;
}

#else

const struct hmm_strategy *hmm__plugin_load(const char *path, struct text *why)
{
    (void)path;
    if (why != NULL)
        hmm__text_add(why, "this build has no plug-ins");
    hmm__set_errno(ENOTSUP);
    return NULL;
}

#endif

#endif
