/* SPDX-License-Identifier: MIT */
/*
 * What a program on a bare machine of QEMU needs: it begins, prints, writes files
 * and ends by semihosting. For mps2-an386 (ARMv7-M) and virt (RISC-V). memcpy and the like are the
 * caller's C library's, or these.
 */
#include <stddef.h>
#include <stdint.h>

int main(void);
void target_say(const char *text);
int target_open(const char *name);
int target_write(int file, const void *bytes, size_t count);
_Noreturn void target_begin(void);

enum {
    SYS_OPEN = 1,
    SYS_WRITE0 = 4,
    SYS_WRITE = 5,
    SYS_EXIT_EXTENDED = 0x20,
    EXIT_BY_ITSELF = 0x20026
};

static long semihosting(long operation, const void *argument)
{
#if defined(__arm__)
    register long r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
#else
    register long a0 __asm__("a0") = operation;
    register const void *a1 __asm__("a1") = argument;
    __asm__ volatile(".balign 16\n\t.option push\n\t.option norvc\n\t"
                     "slli x0, x0, 0x1f\n\tebreak\n\tsrai x0, x0, 7\n\t.option pop"
                     : "+r"(a0)
                     : "r"(a1)
                     : "memory");
    return a0;
#endif
}

void target_say(const char *text)
{
    semihosting(SYS_WRITE0, text);
}

/* Creates it, beside where QEMU was started; what it was is gone. Above 0; or it cannot be. */
int target_open(const char *name)
{
    enum { CREATE_BINARY = 5 };
    size_t length = 0;
    while (name[length] != 0)
        length++;
    const struct {
        const char *name;
        long mode;
        size_t length;
    } file = {name, CREATE_BINARY, length};
    return (int)semihosting(SYS_OPEN, &file);
}

/* 0: not all of it was written. */
int target_write(int file, const void *bytes, size_t count)
{
    const struct {
        long file;
        const void *bytes;
        size_t count;
    } what = {file, bytes, count};
    return semihosting(SYS_WRITE, &what) == 0;
}

_Noreturn void target_begin(void)
{
    const long why[2] = {EXIT_BY_ITSELF, main()};
    semihosting(SYS_EXIT_EXTENDED, why);
    for (;;)
        ;
}

#if defined(__arm__)
extern char target_stack[];
__attribute__((section(".begin"), used)) static const void *const vectors[2] = {
    target_stack, (const void *)target_begin};
#else
__attribute__((section(".begin"), naked, used)) void target_entry(void);
void target_entry(void)
{
    __asm__("la sp, target_stack\n\tj target_begin");
}
#endif

/* As plain as can be: the compiler must not make calls of themselves of them. */
__attribute__((weak, optimize("no-tree-loop-distribute-patterns"))) void *memset(void *to, int byte,
                                                                                 size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        ((unsigned char *)to)[i] = (unsigned char)byte;
    return to;
}

__attribute__((weak, optimize("no-tree-loop-distribute-patterns"))) void *
memmove(void *to, const void *from, size_t bytes)
{
    unsigned char *t = to;
    const unsigned char *f = from;
    for (size_t i = 0; i < bytes; i++) {
        size_t at = (uintptr_t)t < (uintptr_t)f ? i : bytes - 1 - i;
        t[at] = f[at];
    }
    return to;
}

__attribute__((weak)) void *memcpy(void *restrict to, const void *restrict from, size_t bytes)
{
    return memmove(to, from, bytes);
}
