/* SPDX-License-Identifier: MIT */
/*
 * Secret words: SipHash-2-4 (Aumasson, Bernstein, 2012) of a counter, keyed by the random bytes
 * that the system gave the process. The C library makes its stack canary and its pointer guard of
 * the same bytes. They stay secret, since the key cannot be computed from a word.
 */
#include "base/secret.h"

#if HMM__CACHE

#if defined(__linux__)
#include <sys/auxv.h>
#endif

struct secret_key {
    uint64_t k0, k1;
};

static uint64_t rotated(uint64_t x, unsigned by)
{
    return x << by | x >> (64 - by);
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotated(v[1], 13) ^ v[0];
    v[3] = rotated(v[3], 16) ^ v[2];
    v[0] = rotated(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotated(v[1], 17) ^ v[2];
    v[3] = rotated(v[3], 21) ^ v[0];
    v[2] = rotated(v[2], 32);
}

/* SipHash-2-4 of the eight bytes of `word`, low byte first. */
static uint64_t sip_hash(struct secret_key key, uint64_t word)
{
    uint64_t v[4] = {
        key.k0 ^ UINT64_C(0x736f6d6570736575),
        key.k1 ^ UINT64_C(0x646f72616e646f6d),
        key.k0 ^ UINT64_C(0x6c7967656e657261),
        key.k1 ^ UINT64_C(0x7465646279746573),
    };
    const uint64_t blocks[2] = {word, UINT64_C(8) << 56}; /* the last has the length on top */
    for (int i = 0; i < 2; i++) {
        v[3] ^= blocks[i];
        sip_round(v);
        sip_round(v);
        v[0] ^= blocks[i];
    }
    v[2] ^= 0xff;
    for (int i = 0; i < 4; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* For systems that give no random bytes. */
static struct secret_key key_of_addresses(void)
{
    static char data;
    char stack;
    uint64_t code = (uint64_t)(uintptr_t)&hmm__secret_next;
    return (struct secret_key){code ^ rotated((uint64_t)(uintptr_t)&stack, 32),
                               (uint64_t)(uintptr_t)&data};
}

static struct secret_key process_key(void)
{
    struct secret_key key = key_of_addresses();
#if defined(__linux__)
    const void *random = (const void *)(uintptr_t)getauxval(AT_RANDOM);
    if (random != NULL)
        memcpy(&key, random, sizeof key);
#endif
    return key;
}

uint64_t hmm__secret_next(void)
{
    static uintptr_t calls;
    return sip_hash(process_key(), __atomic_fetch_add(&calls, 1, __ATOMIC_RELAXED));
}

#endif
