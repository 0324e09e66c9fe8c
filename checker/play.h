/* SPDX-License-Identifier: MIT */
#ifndef HMM_CHECKER_PLAY_H
#define HMM_CHECKER_PLAY_H

#include "checker.h"

/* What is planned, done with the strategy that is watched (watch_begin). */
void checker_play(const struct checker_plan *plan);

#endif
