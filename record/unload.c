/* SPDX-License-Identifier: MIT */
/*
 * dlclose, as the recorded program calls it: where it unloads a module, another may come to lie
 * there, and what is known of its addresses no longer holds. A module that somebody else has loaded
 * as well stays.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#define _GNU_SOURCE 1 /* RTLD_NEXT */

#include "stack.h"

#include <dlfcn.h>
#include <link.h>

__attribute__((visibility("default"))) int dlclose(void *handle);

static int (*_Atomic next_dlclose)(void *);

__attribute__((constructor)) static void look_up_at_start(void)
{
    next_dlclose = (int (*)(void *))(uintptr_t)dlsym(RTLD_NEXT, "dlclose");
}

int dlclose(void *handle)
{
    struct record_module module;
    const struct link_map *map = handle;
    if (next_dlclose == NULL)
        look_up_at_start();
    const uintptr_t where = record_depth != 0 && map != NULL ? (uintptr_t)map->l_ld : 0;
    const int result = next_dlclose(handle);
    if (where != 0 && !record_find_module(where, &module))
        record_stacks_unload();
    return result;
}
