/* Scheduling policies, nice values and I/O priorities: what is set, refused, inherited and shown (sched(7)). Needs CAP_SYS_NICE. */
#define _GNU_SOURCE
#include <sched.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "show.h"

struct attributes {
    unsigned size, policy;
    unsigned long flags;
    int nice;
    unsigned priority;
    unsigned long runtime, deadline, period;
};

static long setattr(struct attributes wanted)
{
    return syscall(SYS_sched_setattr, 0, &wanted, 0);
}

static void now(const char *what)
{
    struct sched_param param = {9};
    struct attributes found = {0};

    sched_getparam(0, &param);
    syscall(SYS_sched_getattr, 0, &found, 48, 0);
    if (found.policy != SCHED_DEADLINE)
        found.runtime = found.deadline = found.period = 0; /* newer kernels show their slice here */
    printf("%s: %x %d, attributes %u %u %lx %d %u %lu %lu %lu, nice %d\n", what, sched_getscheduler(0), param.sched_priority, found.size,
           found.policy, found.flags, found.nice, found.priority, found.runtime, found.deadline, found.period, getpriority(PRIO_PROCESS, 0));
}

static void set(int policy, int priority)
{
    struct sched_param param = {priority};
    int result = sched_setscheduler(0, policy, &param);

    printf("%x %d: %s\n", policy, priority, result ? strerror(errno) : "done");
    now("  then");
}

static void child(void)
{
    pid_t pid = fork();

    if (!pid) {
        now("child");
        printf("child's I/O %lx\n", syscall(SYS_ioprio_get, 1, 0));
        exit(0);
    }
    waitpid(pid, 0, 0);
}

int main(void)
{
    struct sched_param param = {20};
    unsigned policies[][2] = {{SCHED_BATCH, 0}, {SCHED_IDLE, 0}, {SCHED_OTHER, 1}, {SCHED_FIFO, 0}, {SCHED_FIFO, 10}, {SCHED_RR, 99},
                              {SCHED_RR, 100},  {4, 0},          {SCHED_DEADLINE, 0}, {-1, 0}};

    setvbuf(stdout, 0, _IONBF, 0);
    now("start");
    for (unsigned i = 0; i < sizeof policies / sizeof *policies; i++)
        set(policies[i][0], policies[i][1]);
    SHOW(sched_setparam(0, &param));
    now("round robin");
    param.sched_priority = 0;
    SHOW(sched_setparam(0, &param));
    child();
    set(SCHED_FIFO | SCHED_RESET_ON_FORK, 5);
    child();
    set(SCHED_OTHER, 0);
    SHOW(setpriority(PRIO_PROCESS, 0, 5));
    set(SCHED_BATCH | SCHED_RESET_ON_FORK, 0);
    child();
    SHOW(setattr((struct attributes){48, SCHED_OTHER, 0, 7}));
    now("nice");
    SHOW(setattr((struct attributes){48, SCHED_DEADLINE, 0, 0, 0, 10000000, 30000000, 30000000}));
    now("deadline");
    SHOW(fork());
    SHOW(setattr((struct attributes){48, SCHED_DEADLINE, 0, 0, 0, 10, 30000000, 30000000}));
    SHOW(setattr((struct attributes){48, SCHED_DEADLINE, 0, 0, 0, 10000000, 3000, 30000000}));
    SHOW(setattr((struct attributes){48, SCHED_OTHER, 0x1000}));
    SHOW(setattr((struct attributes){48, SCHED_OTHER, 0, 30}));
    now("nicest");
    SHOW(setattr((struct attributes){20}));
    SHOW(setattr((struct attributes){0, SCHED_OTHER, 0, 3}));
    SHOW(setattr((struct attributes){48, SCHED_FIFO, 8, 3, 50}));
    SHOW(setattr((struct attributes){48, SCHED_FIFO, 0x10, 3, 50}));
    now("kept");
    SHOW(sched_setscheduler(0, 0, 0));
    SHOW(sched_getscheduler(999999));
    SHOW(sched_getscheduler(-1));
    SHOW(sched_getparam(0, 0));
    SHOW(syscall(SYS_sched_getattr, 0, &param, 40, 0));
    for (int policy = -1; policy < 7; policy++)
        printf("%d: %d to %d\n", policy, sched_get_priority_min(policy), sched_get_priority_max(policy));
    SHOW(syscall(SYS_ioprio_get, 1, 0));
    SHOW(syscall(SYS_ioprio_set, 1, 0, 3 << 13));
    SHOW(syscall(SYS_ioprio_get, 1, 0));
    SHOW(syscall(SYS_ioprio_set, 1, 0, 2 << 13 | 4));
    SHOW(syscall(SYS_ioprio_get, 1, 0));
    SHOW(syscall(SYS_ioprio_get, 1, getpid()));
    SHOW(syscall(SYS_ioprio_set, 1, 0, 7 << 13));
    SHOW(syscall(SYS_ioprio_set, 9, 0, 2 << 13));
    SHOW(syscall(SYS_ioprio_get, 1, 999999));
    child();
    return 0;
}
