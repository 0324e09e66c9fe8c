/* SPDX-License-Identifier: MIT */
/* For a compiler without a C library: the numbers that Zephyr has. */
#ifndef KIT_ERRNO_H
#define KIT_ERRNO_H

#define ENOMEM 12
#define EINVAL 22

#endif
