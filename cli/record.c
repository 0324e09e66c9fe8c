/* SPDX-License-Identifier: MIT */
/*
 * hmm record: a program's allocations as traces.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "cli.h"

#include <stdlib.h>

enum { OPT_OUTPUT, OPT_NO_FOLLOW, OPT_STACKS, OPT_STRIP_PATHS };

static int run(int argc, char **argv);

static const struct cli_option options[] = {
    [OPT_OUTPUT] = {"output", "FILE", "the trace: format 2 (.ht2), zstd (.zst), else text"},
    [OPT_NO_FOLLOW] = {"no-follow", NULL, "leave out the processes that the command starts"},
    [OPT_STACKS] = {"stacks", "[=DEPTH]", "note who asks: call stacks of 8 frames, or of DEPTH"},
    [OPT_STRIP_PATHS] = {"strip-paths", NULL, "of files that call stacks name, base names only"},
    {NULL, NULL, NULL}};

#ifdef HAVE_ZSTD
#define DEFAULT_ENDING ".trace.zst"
#else
#define DEFAULT_ENDING ".trace"
#endif

const struct cli_command cli_record = {
    .name = "record",
    .usage = "[OPTION]... [--] COMMAND [ARGUMENT]...",
    .summary = "run a command and record its allocations as traces",
    .description =
        "Runs COMMAND on the malloc that it has and writes down what it asks of it. FILE is the\n"
        "trace of the command's own process; without -o it is COMMAND" DEFAULT_ENDING
        " in the current\n"
        "folder. "
        "A trace that is there is replaced, and an empty file.\n\n"
        "Each process that the command starts gets a trace of its own, with its number in the\n"
        "name: for t.trace.zst that is t.PID.trace.zst. Where a process became another program by\n"
        "exec, the name is for the last one, and what it was before is in t.PID-1.trace.zst, and\n"
        "so on. Processes that allocate nothing get no file. Not recorded are static and setuid\n"
        "programs, ones with a malloc of their own, and ones whose environment was cleared; they\n"
        "are counted at the end.\n\n"
        "With --stacks the trace says where each block was asked for, by functions, files and\n"
        "lines of the program: think of it before you pass the trace on.\n\n"
        "Recording ends when all processes have ended; if some outlive the command, Ctrl-C ends\n"
        "it. At the end it says on stderr what was recorded.\n\n"
        "Exit status: the command's, and 128+N if signal N ended it; 127 if there is no such\n"
        "command, 126 if it cannot be run; 1 if it succeeded and could not be recorded; 2 if an\n"
        "argument is bad, and then nothing has been run.\n",
    .options = options,
    .letters = "o",
    .run = run,
};

#ifdef HAVE_RECORD
#include "collect.h"
#include "module.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST_ROWS 20
#define DEPTH 8u /* of call stacks */
#define CANNOT_RUN 126
#define NO_COMMAND 127
#define PATIENCE 50 /* turns before it says what it waits for: about a second */

struct request {
    const char *file;
    char *default_file;
    bool follow, strip_paths;
    unsigned depth; /* of call stacks; 0: none */
    char **command; /* with a NULL at its end */
};

/* ---- The command line ---- */

static char *default_file(const char *command)
{
    const char *slash = strrchr(command, '/'), *name = slash != NULL ? slash + 1 : command;
    size_t room = strlen(name) + sizeof DEFAULT_ENDING;
    char *file = cli_alloc(room, 1);
    snprintf(file, room, "%s%s", name, DEFAULT_ENDING);
    return file;
}

static bool is_complete(struct request *q)
{
    if (q->command == NULL || q->command[0][0] == '\0') {
        cli_complain("record", "no command given: hmm record %s", cli_record.usage);
        return false;
    }
    if (q->file != NULL && q->file[0] == '\0') {
        cli_complain("record", "--output: the name is empty");
        return false;
    }
    if (q->file == NULL)
        q->file = q->default_file = default_file(q->command[0]);
    return true;
}

static bool take_depth(struct request *q, const char *text)
{
    char *end = NULL;
    const unsigned long depth = text != NULL ? strtoul(text, &end, 10) : DEPTH;
    if (text != NULL &&
        (*text < '0' || *text > '9' || *end != '\0' || depth == 0 || depth > RECORD_DEEPEST)) {
        cli_complain("record", "--stacks: '%s' is no number from 1 to %d", text, RECORD_DEEPEST);
        return false;
    }
    q->depth = (unsigned)depth;
    return true;
}

/* The first operand ends hmm's options: those behind it are the command's. */
static int parse(struct request *q, int argc, char **argv)
{
    struct cli_args args = {.command = &cli_record, .argc = argc, .argv = argv, .next = 1};
    for (int arg; q->command == NULL && (arg = cli_args_next(&args)) != CLI_ARG_END;) {
        if (arg == CLI_ARG_BAD || arg == CLI_ARG_HELP)
            return arg;
        if (arg == OPT_OUTPUT)
            q->file = args.value;
        else if (arg == OPT_NO_FOLLOW)
            q->follow = false;
        else if (arg == OPT_STRIP_PATHS)
            q->strip_paths = true;
        else if (arg == OPT_STACKS && !take_depth(q, args.value))
            return CLI_ARG_BAD;
        else if (arg == OPT_STACKS)
            continue;
        else
            q->command = argv + args.next - 1;
    }
    return is_complete(q) ? CLI_ARG_END : CLI_ARG_BAD;
}

/* ---- Signals: the terminal's reach the command as well; others are passed on to it. ---- */

static struct recorder recorder;
static volatile pid_t child; /* 0: the command has ended, and a signal ends the recording */
static volatile sig_atomic_t stop;

static void on_signal(int number, siginfo_t *info, void *context)
{
    (void)context;
    int code = errno;
    if (number != SIGCHLD && child == 0)
        stop = 1;
    else if (number != SIGCHLD && child > 0 && info->si_code <= 0)
        kill(child, number);
    recorder_wake(&recorder);
    errno = code;
}

/* Signals that were ignored, as after nohup or the shell's &, stay so, here and in the command. */
static void catch_signals(void)
{
    static const int numbers[] = {SIGCHLD, SIGINT, SIGQUIT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        struct sigaction before, action = {.sa_flags = SA_SIGINFO};
        action.sa_sigaction = on_signal;
        sigemptyset(&action.sa_mask);
        if (sigaction(numbers[i], NULL, &before) == 0 &&
            (before.sa_handler != SIG_IGN || numbers[i] == SIGCHLD))
            sigaction(numbers[i], &action, NULL);
    }
}

/* ---- Limits that the recorder raises for itself and restores for the command: on open files, one
 * a trace, and on the size of files, since the pool counts as one. What exceeds them is an error,
 * not a signal. ---- */

static const int limited[] = {RLIMIT_NOFILE, RLIMIT_FSIZE}, ignored[] = {SIGXFSZ, SIGPIPE};
static struct rlimit old_limits[2];
static struct sigaction old_actions[2];

static void make_room(void)
{
    struct sigaction ignore = {.sa_flags = 0};
    ignore.sa_handler = SIG_IGN;
    for (int i = 0; i < 2; i++) {
        sigaction(ignored[i], &ignore, &old_actions[i]);
        if (getrlimit((unsigned)limited[i], &old_limits[i]) == 0) {
            struct rlimit all = {old_limits[i].rlim_max, old_limits[i].rlim_max};
            setrlimit((unsigned)limited[i], &all);
        }
    }
}

static void restore_room(void)
{
    for (int i = 0; i < 2; i++) {
        sigaction(ignored[i], &old_actions[i], NULL);
        setrlimit((unsigned)limited[i], &old_limits[i]);
    }
}

/* ---- Starting ---- */

static void become_command(const struct request *q, const char *module, int report)
{
    char variable[64];
    restore_room();
    recorder_variable(&recorder, variable, sizeof variable);
    recorder_begin(&recorder);
    int code = ENOMEM;
    if (cli_module_preload("record", module) && putenv(variable) == 0) {
        execvp(q->command[0], q->command);
        code = errno;
    }
    while (write(report, &code, sizeof code) < 0 && errno == EINTR)
        ;
    _exit(NO_COMMAND);
}

/* 0, or why it could not be run. */
static int start(const struct request *q, const char *module)
{
    int report[2], code = 0;
    if (pipe2(report, O_CLOEXEC) != 0)
        return errno;
    pid_t pid = fork();
    if (pid < 0)
        code = errno;
    else if (pid == 0)
        become_command(q, module, report[1]);
    else
        child = pid;
    close(report[1]);
    ssize_t got;
    while (pid > 0 && (got = read(report[0], &code, sizeof code)) < 0 && errno == EINTR)
        ;
    close(report[0]);
    return code;
}

/* ---- Until the end ---- */

static int exit_status(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void complain_of_signal(int status)
{
    if (WIFSIGNALED(status))
        cli_complain("record", "the command was ended by signal %d (%s)%s", WTERMSIG(status),
                     strsignal(WTERMSIG(status)), WCOREDUMP(status) ? ", core dumped" : "");
}

static int record_command(void)
{
    int status = 0;
    for (pid_t ended = 0; ended != child && (ended == 0 || errno == EINTR);) {
        uint32_t heard = recorder_heard(&recorder);
        ended = waitpid(child, &status, WNOHANG);
        if (ended == 0 && !recorder_work(&recorder))
            recorder_sleep(&recorder, heard);
    }
    child = 0;
    complain_of_signal(status);
    return exit_status(status);
}

static bool others_are_there(void)
{
    return recorder_running(&recorder, true) != 0 || !recorder_is_alone(&recorder);
}

static void record_others(void)
{
    bool several = recorder.processes > 1;
    unsigned turns = 0;
    while (!stop && (others_are_there() || several)) {
        uint32_t heard = recorder_heard(&recorder);
        several = false; /* a process may just be executing another program */
        if (!stop && !recorder_work(&recorder))
            recorder_sleep(&recorder, heard);
        if (turns++ == PATIENCE)
            cli_complain("record", "the command has ended; waiting for the processes that it left "
                                   "running: Ctrl-C ends the recording");
    }
    recorder_stop(&recorder);
}

/* ---- What was recorded ---- */

static void add_row(struct cli_table *table, const struct recording *l)
{
    cli_table_add(table, "%s", l->path);
    cli_table_add(table, "%s", l->program);
    cli_table_add(table, "%ld", (long)l->pid);
    cli_table_add(table, "%s", cli_count(l->ops).chars);
    cli_table_add(table, "%s", cli_bytes(l->peak_bytes).chars);
}

/* The command's own first, then the longest. */
static int compare_recordings(const void *a, const void *b)
{
    const struct recording *x = a, *y = b;
    if (x->is_first != y->is_first)
        return x->is_first ? -1 : 1;
    if (x->is_first) /* its last program first */
        return x->number > y->number ? -1 : 1;
    return x->ops != y->ops ? (x->ops > y->ops ? -1 : 1) : (x->number < y->number ? -1 : 1);
}

static void print_files(size_t files)
{
    struct cli_table table = {.columns = 5, .left_columns = 2};
    static const char *const titles[] = {"trace", "program", "process", "operations", "peak live"};
    size_t rows = 0;
    for (size_t i = 0; i < 5; i++)
        cli_table_add(&table, "%s", titles[i]);
    qsort(recorder.recordings, recorder.recording_count, sizeof *recorder.recordings,
          compare_recordings);
    for (size_t i = 0; i < recorder.recording_count && rows < MOST_ROWS; i++)
        if (recorder.recordings[i].has_file) {
            add_row(&table, &recorder.recordings[i]);
            rows++;
        }
    cli_table_print(&table, stderr);
    if (files > rows)
        fprintf(stderr, "and %s more\n", cli_count(files - rows).chars);
}

static bool print_losses(void)
{
    static const char *const reasons[RECORD_LOSSES] = {
        [RECORD_LOST_TOO_MANY] = "too many ran at a time",
        [RECORD_LOST_MEMORY] = "no address space for it (ulimit -v)",
        [RECORD_LOST_SYSTEM] = "the system is too old",
        [RECORD_LOST_BYPASSED] = "another malloc comes before the recorder's",
        [RECORD_LOST_CLEARED] = "a shell whose environment was cleared of LD_PRELOAD",
    };
    bool any = false;
    for (int i = 0; i < RECORD_LOSSES; i++) {
        unsigned lost = atomic_load(&recorder.pool->lost[i]);
        any = any || (lost != 0 && i < RECORD_LOST_BYPASSED);
        if (lost != 0)
            cli_complain("record", "not recorded: %u process%s: %s", lost, lost == 1 ? "" : "es",
                         reasons[i]);
    }
    return any || atomic_load(&recorder.pool->first_lost);
}

/* Says which processes were not recorded. It is a failure only if the command itself is among them.
 */
static bool print_missing(void)
{
    for (int i = 0; i < RECORDER_REASONS; i++) {
        const struct recorder_missing *m = &recorder.missing[i];
        if (m->count != 0)
            cli_complain("record", "not recorded: %s process%s%s%s: %s", cli_count(m->count).chars,
                         m->count == 1 ? "" : "es",
                         m->path[0] == '\0' ? ""
                         : m->count == 1    ? ", "
                                            : ", the first ",
                         m->path, m->why != NULL ? m->why : "it ended before it loaded libraries");
    }
    return recorder.command_is_missing;
}

/* False iff something is missing that should be there. */
static bool print_summary(void)
{
    uint64_t ops = 0, peak = 0, unknown = 0, lost = 0;
    size_t files = 0, failed = 0;
    for (size_t i = 0; i < recorder.recording_count; i++) {
        const struct recording *l = &recorder.recordings[i];
        ops += l->ops;
        unknown += l->unknown;
        lost += l->lost;
        peak = l->peak_bytes > peak ? l->peak_bytes : peak;
        files += l->has_file;
        failed += l->failed;
    }
    cli_complain("record", "%s process%s, %s operations, peak live %s, %s file%s",
                 cli_count(recorder.processes).chars, recorder.processes == 1 ? "" : "es",
                 cli_count(ops).chars, cli_bytes(peak).chars, cli_count(files).chars,
                 files == 1 ? "" : "s");
    if (files != 0)
        print_files(files);
    if (failed > 1)
        cli_complain("record", "not written, or not to their end: %s traces",
                     cli_count(failed).chars);
    if (lost != 0)
        cli_complain("record", "not in any file: %s operations and their peak",
                     cli_count(lost).chars);
    if (unknown != 0)
        cli_complain("record",
                     "left out: %s free or realloc of blocks that were allocated before "
                     "the recording, or before a fork",
                     cli_count(unknown).chars);
    const unsigned stackless = atomic_load(&recorder.pool->stacks_lost);
    if (stackless != 0)
        cli_complain("record", "too many call stacks: of %s allocations it is not known who asked",
                     cli_count(stackless).chars);
    const bool missing = print_missing();
    return !print_losses() && !missing && failed == 0;
}

static void complain_refused(const struct request *q, const char *why)
{
    cli_complain("record", "'%s' was not recorded%s%s", q->command[0], why ? ", since " : "",
                 why ? why
                     : ": it ended before it loaded libraries, or was started without LD_PRELOAD");
}

/* The command's own trace is there even if it did not allocate. */
static bool is_recorded(const struct request *q)
{
    struct hmm_trace_error error;
    for (size_t i = 0; i < recorder.recording_count; i++)
        if (recorder.recordings[i].is_first &&
            (recorder.recordings[i].has_file || recorder.recordings[i].failed))
            return true;
    const char *why = cli_module_refused(q->command[0]);
    if (why != NULL || recorder.recording_count == 0) {
        if (why == NULL && print_losses())
            return false;
        complain_refused(q, why);
        return false;
    }
    struct hmm_trace_writer *writer = hmm_trace_writer_open(q->file, &error);
    if (writer != NULL && hmm_trace_writer_close(writer, &error))
        return true;
    cli_trace_error(q->file, &error);
    return false;
}

/* ---- All of it ---- */

static int record(const struct request *q, const char *module, bool is_new)
{
    catch_signals();
    int code = start(q, module);
    if (code != 0) {
        cli_complain("record", "cannot run '%s': %s", q->command[0], strerror(code));
        if (is_new)
            unlink(q->file);
        return code == ENOENT ? NO_COMMAND : CANNOT_RUN;
    }
    recorder.why = cli_module_refused;
    int status = record_command();
    record_others();
    recorder_find_missing(&recorder);
    bool good = is_recorded(q);
    if (good)
        good = print_summary();
    else if (is_new)
        unlink(q->file);
    return status == 0 && !good ? CLI_FAILED : status;
}

static int prepare_and_record(const struct request *q)
{
    struct hmm_trace_error error;
    char *module = cli_module_find("record", RECORD_MODULE);
    if (module == NULL)
        return CLI_FAILED;
    bool is_new = access(q->file, F_OK) != 0;
    make_room();
    int status = CLI_USAGE;
    if (!hmm_trace_may_replace(q->file, &error)) {
        cli_complain("record", "'%s' is not overwritten: it is neither empty nor a trace", q->file);
    } else if (!hmm_trace_writer_check(q->file, &error)) {
        cli_trace_error(q->file, &error);
    } else if (!recorder_open(&recorder, q->file, q->follow)) {
        cli_complain("record", "cannot get shared memory: %s", strerror(errno));
        status = CLI_FAILED;
    } else {
        if (q->depth != 0 && !RECORD_HAS_STACKS)
            cli_complain("record", "--stacks: left out: call stacks are noted on x86 only");
        recorder_stacks(&recorder, RECORD_HAS_STACKS ? q->depth : 0, q->strip_paths);
        status = record(q, module, is_new);
        recorder_close(&recorder);
    }
    free(module);
    return status;
}
#else
struct request {
    char *default_file;
    bool follow;
};

static int parse(struct request *q, int argc, char **argv)
{
    struct cli_args args = {.command = &cli_record, .argc = argc, .argv = argv, .next = 1};
    int arg = cli_args_next(&args);
    (void)q;
    return arg == CLI_ARG_HELP || arg == CLI_ARG_BAD ? arg : CLI_ARG_END;
}

static int prepare_and_record(const struct request *q)
{
    (void)q;
    cli_complain("record", "this build cannot record: that needs Linux and glibc");
    return CLI_FAILED;
}
#endif

static int run(int argc, char **argv)
{
    struct request q = {.follow = true};
    int code = CLI_USAGE;
    switch (parse(&q, argc, argv)) {
    case CLI_ARG_END:
        code = prepare_and_record(&q);
        break;
    case CLI_ARG_HELP:
        cli_command_help(&cli_record);
        code = CLI_OK;
        break;
    default:
        break;
    }
    free(q.default_file);
    return code;
}
