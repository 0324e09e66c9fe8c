/* SPDX-License-Identifier: MIT */
/*
 * Finding the modules. The build tree comes first: a command that was not installed must not load
 * a module of an older version that was.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "cli.h"
#include "module.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef HMM_MODULE_DIR
#define HMM_MODULE_DIR "/usr/local/lib/hmm"
#endif

#define PRELOAD "LD_PRELOAD"

/* "A SEPARATOR B", to be given to free. */
static char *join(const char *a, const char *separator, const char *b)
{
    size_t length = strlen(a) + strlen(separator) + strlen(b) + 1;
    char *joined = cli_alloc(length, 1);
    snprintf(joined, length, "%s%s%s", a, separator, b);
    return joined;
}

/* Where libtool leaves a module beside this command. libtool may have moved the command there
 * too. NULL iff the system does not tell. */
static char *build_tree(void)
{
    char self[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length <= 0)
        return NULL;
    self[length] = '\0';
    *strrchr(self, '/') = '\0';
    const char *folder = strrchr(self, '/');
    bool inside = folder != NULL && strcmp(folder, "/.libs") == 0;
    return join(self, inside ? "" : "/.libs", "");
}

static char *find_in(const char *folder, const char *file)
{
    char *path = join(folder, "/", file);
    if (access(path, R_OK) == 0)
        return path;
    free(path);
    return NULL;
}

char *cli_module_find(const char *command, const char *file)
{
    char *beside = build_tree();
    char *path = beside != NULL ? find_in(beside, file) : NULL;
    if (path == NULL)
        path = find_in(HMM_MODULE_DIR, file);
    if (path == NULL) {
        cli_complain(command, "%s is missing: it is neither in %s nor in %s", file, HMM_MODULE_DIR,
                     beside != NULL ? beside : "the build tree");
    } else if (strpbrk(path, ": \t\n") != NULL) {
        cli_complain(command, "'%s' cannot be preloaded: its path has a space or a colon", path);
        free(path);
        path = NULL;
    }
    free(beside);
    return path;
}

bool cli_module_preload(const char *command, const char *path)
{
    const char *before = getenv(PRELOAD);
    bool alone = before == NULL || *before == '\0';
    char *list = join(path, alone ? "" : ":", alone ? "" : before);
    bool good = setenv(PRELOAD, list, 1) == 0;
    if (!good)
        cli_complain(command, "out of memory");
    free(list);
    return good;
}
