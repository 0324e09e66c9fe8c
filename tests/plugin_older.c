/* SPDX-License-Identifier: MIT */
/*
 * A plug-in for the tests whose strategy is of ABI 1, as one is that was built for an older
 * version. All that the two ABIs have in common is the head.
 */
struct strategy_1 {
    unsigned abi, flags;
    const char *name, *summary;
    void (*functions[15])(void);
};

static void crash(void)
{
    __builtin_trap();
}

extern const struct strategy_1 hmm_plugin_strategy;
const struct strategy_1 hmm_plugin_strategy = {
    .abi = 1,
    .name = "older",
    .functions = {crash, crash, crash, crash},
};
