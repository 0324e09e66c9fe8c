/* SPDX-License-Identifier: MIT */
/*
 * A stand-in for Zephyr's kernel.h, written for tests: as much of it as a heap needs. The names and
 * their meanings are Zephyr's; the rest is not. Here for all of the headers beside it.
 */
#ifndef ZEPHYR_INCLUDE_KERNEL_H_
#define ZEPHYR_INCLUDE_KERNEL_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define __aligned(x) __attribute__((aligned(x)))

/* spinlock.h: the test counts who holds one. */
struct k_spinlock {
    int held;
};
typedef struct {
    int key;
} k_spinlock_key_t;
k_spinlock_key_t k_spin_lock(struct k_spinlock *lock);
void k_spin_unlock(struct k_spinlock *lock, k_spinlock_key_t key);

void k_panic(void);

/* sys/__assert.h */
void kit_test_assert(int holds, const char *what);
#define __ASSERT(test, ...) kit_test_assert((test) != 0, #test)

/* init.h: one a program, which the test calls. */
#define SYS_INIT(function, level, priority)                                                        \
    int kit_test_init(void);                                                                       \
    int kit_test_init(void)                                                                        \
    {                                                                                              \
        return function();                                                                         \
    }

#endif
