/* SPDX-License-Identifier: MIT */
/*
 * Strategies from shared objects. One once loaded stays: heaps may hold it.
 */
#include "registry.h"

#if defined(HAVE_DLOPEN)

#include <dlfcn.h>

const struct hmm_strategy *hmm__plugin_load(const char *path)
{
    void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const struct hmm_strategy *s = object ? dlsym(object, "hmm_plugin_strategy") : NULL;
    if (s == NULL) {
        hmm__set_errno(object ? EINVAL : ENOENT);
    } else if (!hmm__strategy_is_sound(s)) {
        hmm__set_errno(EINVAL);
        s = NULL;
    }
    if (s == NULL && object != NULL)
        dlclose(object);
    return s;
}

#else

const struct hmm_strategy *hmm__plugin_load(const char *path)
{
    (void)path;
    hmm__set_errno(ENOTSUP);
    return NULL;
}

#endif
