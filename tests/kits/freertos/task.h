/* SPDX-License-Identifier: MIT */
/* A stand-in for FreeRTOS's task.h, written for tests. */
#ifndef INC_TASK_H
#define INC_TASK_H

#include "FreeRTOS.h"

void vTaskSuspendAll(void) PRIVILEGED_FUNCTION;
BaseType_t xTaskResumeAll(void) PRIVILEGED_FUNCTION;

#endif
