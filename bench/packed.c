/* SPDX-License-Identifier: MIT */
#include "packed.h"
#include "common.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

const struct packed_trace *packed_open(const char *path)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) != 0 || status.st_size < (off_t)sizeof(struct packed_trace))
        bench_die("%s: is no packed trace", path);
    const struct packed_trace *t =
        mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    if (t == MAP_FAILED || t->magic != PACKED_MAGIC ||
        sizeof *t + t->op_count * sizeof *t->ops != (uint64_t)status.st_size)
        bench_die("%s: is no packed trace", path);
    close(fd);
    return t;
}
