/* SPDX-License-Identifier: MIT */
/*
 * The recorder's side: makes the pool, follows the processes that join it, and turns their events
 * into traces while they run.
 */
#ifndef HMM_RECORD_COLLECT_H
#define HMM_RECORD_COLLECT_H

#include "recording.h"

/* Programs that were started and not recorded, of one reason. */
struct recorder_missing {
    const char *why; /* NULL: not known */
    uint64_t count;
    char path[RECORD_LONGEST_PATH]; /* of the first */
};

#define RECORDER_REASONS 12

struct recorder {
    struct record_pool *pool;
    size_t bytes;
    int fd;
    const char *file;         /* the trace of the command's own process */
    uint32_t granted, shared; /* segments that the pool has got; that all processes may share */
    uint32_t most_running;
    bool strip_paths; /* of call stacks: only base names */
    uint64_t joined;  /* of the pool, when it was last looked at */
    uint64_t processes;
    struct recording *recordings; /* in the order in which they began */
    size_t recording_count, life_room;
    size_t first_running; /* all before it are over */
    struct recorder_missing missing[RECORDER_REASONS];
    bool command_is_missing;              /* what the command's process became was not recorded */
    const char *(*why)(const char *path); /* set by the caller: what keeps this program out */
    double looked;                        /* when ends of processes were looked for */
};

/* Makes the pool. False and errno iff the system does not allow it. */
bool recorder_open(struct recorder *recorder, const char *file, bool follow);

/* Call stacks of so many frames are noted: before the command begins. */
void recorder_stacks(struct recorder *recorder, unsigned depth, bool strip_paths);

/* What the command's environment must have, "NAME=VALUE", until recorder_close. */
void recorder_variable(const struct recorder *recorder, char *text, size_t room);

/* To be called by the command's process, before it becomes the command. */
void recorder_begin(struct recorder *recorder);

/* Does what there is to do. False iff there was nothing. */
bool recorder_work(struct recorder *recorder);

/* Waits until there may be something to do, recorder_wake was called, or a short time has passed;
 * not if that was so since recorder_heard, whose answer is `heard`. */
uint32_t recorder_heard(const struct recorder *recorder);
void recorder_sleep(struct recorder *recorder, uint32_t heard);

/* May be called by a signal handler. */
void recorder_wake(struct recorder *recorder);

/* Recordings that are not over. The end of one may be seen a little late; `now` looks for ends at
 * once. */
size_t recorder_running(struct recorder *recorder, bool now);

/* Whether no process has the pool any more: not even one that was forked and has not joined. Only
 * when none is running. Once true, nobody can join. */
bool recorder_is_alone(struct recorder *recorder);

/* Ends the recording of processes that run on, and all traces. */
void recorder_stop(struct recorder *recorder);

/* When all has ended: fills in `missing`. */
void recorder_find_missing(struct recorder *recorder);

/* Frees the pool and the recordings. */
void recorder_close(struct recorder *recorder);

#endif
