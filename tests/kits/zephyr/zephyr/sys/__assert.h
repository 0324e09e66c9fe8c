/* SPDX-License-Identifier: MIT */
/* A stand-in for the header of Zephyr's of this name, written for tests. */
#include <zephyr/kernel.h>
