/* SPDX-License-Identifier: MIT */
/*
 * Strategies from shared objects. One once loaded stays: heaps may hold it.
 */
#include "registry.h"

#if defined(HAVE_DLOPEN)

#include <dlfcn.h>
#include <sys/stat.h>

static const struct hmm_strategy *refuse_plugin(struct text *why, int code, const char *reason)
{
    if (why != NULL)
        hmm__text_add(why, reason);
    hmm__set_errno(code);
    return NULL;
}

/* NULL, or the field for which hmm__strategy_is_valid refuses it. */
static const char *malformed_field(const struct hmm_strategy *s)
{
    return s->abi != HMM_STRATEGY_ABI ? "abi"
           : s->name == NULL          ? "name"
           : s->state_size == NULL    ? "state_size"
           : s->find == NULL          ? "find"
           : s->insert == NULL        ? "insert"
           : s->remove == NULL        ? "remove"
                                      : NULL;
}

static const struct hmm_strategy *refuse_field(struct text *why, const struct hmm_strategy *s,
                                               const char *field)
{
    if (why == NULL)
        return refuse_plugin(NULL, EINVAL, "");
    hmm__text_add(why, "the field ");
    hmm__text_add(why, field);
    hmm__text_add(why, " of its hmm_plugin_strategy is ");
    if (s->abi == HMM_STRATEGY_ABI)
        return refuse_plugin(why, EINVAL, "NULL");
    hmm__text_decimal(why, s->abi);
    hmm__text_add(why, ", allowed is ");
    hmm__text_decimal(why, HMM_STRATEGY_ABI);
    return refuse_plugin(why, EINVAL, "");
}

static const char *linker_reason(void)
{
    const char *reason = dlerror();
    return reason != NULL ? reason : "the linker refuses it";
}

const struct hmm_strategy *hmm__plugin_load(const char *path, struct text *why)
{
    struct stat status;
    if (stat(path, &status) != 0)
        return refuse_plugin(why, ENOENT, errno == EACCES ? "may not be read" : "no such strategy");
    if (!S_ISREG(status.st_mode)) /* to open a FIFO is to wait for its other end */
        return refuse_plugin(why, EINVAL, "is no regular file");
    void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (object == NULL)
        return refuse_plugin(why, EINVAL, linker_reason());
    const struct hmm_strategy *s = dlsym(object, "hmm_plugin_strategy");
    if (s == NULL)
        refuse_plugin(why, EINVAL, "it exports no hmm_plugin_strategy");
    else if (malformed_field(s) == NULL)
        return s;
    else
        refuse_field(why, s, malformed_field(s));
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
