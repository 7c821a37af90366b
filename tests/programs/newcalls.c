/* Calls that few programs make: several futexes, other processes' memory and descriptors, holes, namespaces, and what is refused. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/kcmp.h>
#include <mqueue.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "show.h"

static uint32_t words[3];
static struct { uint64_t val, uaddr; uint32_t flags, reserved; } waits[3];

static void *waker(void *argument)
{
    usleep(20000);
    words[1] = 1;
    syscall(SYS_futex, &words[1], FUTEX_WAKE_PRIVATE, 1, 0, 0, 0);
    return 0;
}

static void futexes(void)
{
    pthread_t thread;
    struct timespec when;

    for (int i = 0; i < 3; i++) {
        waits[i].uaddr = (uintptr_t)&words[i];
        waits[i].flags = 2 | 128;
    }
    clock_gettime(CLOCK_MONOTONIC, &when);
    when.tv_nsec += 1000000;
    if (when.tv_nsec >= 1000000000) {
        when.tv_sec++;
        when.tv_nsec -= 1000000000;
    }
    SHOW(syscall(449, waits, 3, 0, &when, CLOCK_MONOTONIC));
    SHOW(syscall(449, waits, 3, 0, &when, CLOCK_BOOTTIME));
    SHOW(syscall(449, waits, 3, 1, 0, 0));
    SHOW(syscall(449, waits, 0, 0, 0, 0));
    SHOW(syscall(449, waits, 129, 0, 0, 0));
    waits[2].val = 7;
    SHOW(syscall(449, waits, 3, 0, 0, 0));
    waits[2].val = 0;
    waits[2].flags = 3;
    SHOW(syscall(449, waits, 3, 0, 0, 0));
    waits[2].flags = 2 | 128;
    waits[2].reserved = 1;
    SHOW(syscall(449, waits, 3, 0, 0, 0));
    waits[2].reserved = 0;
    pthread_create(&thread, 0, waker, 0);
    SHOW(syscall(449, waits, 3, 0, 0, 0));
    pthread_join(thread, 0);
}

static void others(void)
{
    static char shared[8192] = "before", here[8192];
    struct iovec local = {here, 100}, far[2] = {{shared, 7}, {shared + 4096, 5}}, bad = {(void *)16, 4};
    int ends[2], back[2];
    char byte;
    pid_t child;

    pipe(ends);
    pipe(back);
    strcpy(shared + 4096, "more");
    child = fork();
    if (!child) {
        strcpy(shared, "inside");
        int null = open("/dev/null", O_WRONLY);
        dup2(null, 90);
        write(back[1], "x", 1);
        read(ends[0], &byte, 1);
        printf("the child has: %s %s\n", shared, shared + 4096);
        fflush(stdout);
        _exit(0);
    }
    read(back[0], &byte, 1);
    SHOW(syscall(SYS_process_vm_readv, child, &local, 1, far, 2, 0));
    printf("%s %s\n", here, here + 7);
    strcpy(here, "EDITED.LATE");
    local.iov_len = 12;
    far[0].iov_len = 7;
    SHOW(syscall(SYS_process_vm_writev, child, &local, 1, far, 2, 0));
    SHOW(syscall(SYS_process_vm_readv, child, &local, 1, &bad, 1, 0));
    SHOW(syscall(SYS_process_vm_readv, child, &bad, 1, far, 1, 0));
    SHOW(syscall(SYS_process_vm_readv, child, &local, 1, far, 1, 1));
    SHOW(syscall(SYS_process_vm_readv, child, &local, 1025, far, 1, 0));
    SHOW(syscall(SYS_process_vm_readv, 999999, &local, 1, far, 1, 0));
    SHOW(syscall(SYS_process_vm_readv, 999999, &local, 0, far, 1, 0));
    int process = syscall(SYS_pidfd_open, child, 0), got = syscall(SYS_pidfd_getfd, process, 90, 0);
    SHOW(write(got, "abc", 3));
    SHOW(fcntl(got, F_GETFD));
    SHOW(syscall(SYS_pidfd_getfd, process, 91, 0));
    SHOW(syscall(SYS_pidfd_getfd, 0, 90, 0));
    SHOW(syscall(SYS_pidfd_getfd, process, 90, 1));
    SHOW(syscall(SYS_kcmp, getpid(), child, KCMP_FILE, 1, 1));
    SHOW(syscall(SYS_kcmp, getpid(), child, KCMP_FILE, got, 90));
    SHOW(syscall(SYS_kcmp, getpid(), child, KCMP_FILE, 1, 90) > 0);
    SHOW(syscall(SYS_kcmp, getpid(), child, KCMP_FILE, 1, 190));
    SHOW(syscall(SYS_kcmp, getpid(), getpid(), KCMP_VM, 0, 0));
    SHOW(syscall(SYS_kcmp, getpid(), child, KCMP_VM, 0, 0) > 0);
    SHOW(syscall(SYS_kcmp, getpid(), child, KCMP_FILES, 0, 0) > 0);
    SHOW(syscall(SYS_kcmp, getpid(), child, KCMP_FILES, 0, 0) + syscall(SYS_kcmp, child, getpid(), KCMP_FILES, 0, 0));
    SHOW(syscall(SYS_kcmp, getpid(), child, KCMP_FS, 0, 0) > 0);
    SHOW(syscall(SYS_kcmp, getpid(), child, KCMP_SIGHAND, 0, 0) > 0);
    SHOW(syscall(SYS_kcmp, getpid(), child, 20, 0, 0));
    SHOW(syscall(SYS_kcmp, getpid(), 999999, KCMP_VM, 0, 0));
    int epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN};
    epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event);
    struct kcmp_epoll_slot slot = {epoll, ends[0], 0};
    SHOW(syscall(SYS_kcmp, getpid(), getpid(), KCMP_EPOLL_TFD, ends[0], &slot));
    slot.tfd = 5555;
    SHOW(syscall(SYS_kcmp, getpid(), getpid(), KCMP_EPOLL_TFD, ends[0], &slot));
    SHOW(syscall(448, process, 0));
    SHOW(syscall(440, process, &local, 1, MADV_WILLNEED, 1));
    SHOW(syscall(440, process, far, 2, MADV_COLD, 0) >= 0);
    write(ends[1], "x", 1);
    waitpid(child, 0, 0);
    SHOW(syscall(SYS_pidfd_getfd, process, 90, 0));
}

static void holes(void)
{
    int file = memfd_create("hole", 0);
    struct stat status;
    char *map;
    const long page = 4096;

    ftruncate(file, 64 * page);
    map = mmap(0, 64 * page, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    memset(map, 'x', 64 * page);
    fstat(file, &status);
    printf("%ld blocks\n", (long)status.st_blocks);
    SHOW(fallocate(file, FALLOC_FL_PUNCH_HOLE, 0, page));
    SHOW(fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 10 * page + 100, 20 * page));
    fstat(file, &status);
    printf("%ld blocks, %ld bytes\n", (long)status.st_blocks, (long)status.st_size);
    printf("%d %d %d %d %d\n", map[10 * page + 99], map[10 * page + 100], map[20 * page], map[30 * page + 99], map[30 * page + 100]);
    fstat(file, &status);
    SHOW(lseek(file, 0, SEEK_HOLE) > 0);
    map[15 * page] = 'y';
    char byte = 0;
    SHOW(pread(file, &byte, 1, 15 * page));
    printf("%c\n", byte);
    SHOW(fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 40 * page, 1000 * page));
    fstat(file, &status);
    printf("%ld bytes\n", (long)status.st_size);
    SHOW(lseek(file, 41 * page, SEEK_DATA));
    SHOW(lseek(file, 39 * page, SEEK_HOLE) / page);
    SHOW(madvise(map + 32 * page, 2 * page, MADV_REMOVE));
    printf("%d %d %d\n", map[31 * page], map[32 * page], map[34 * page]);
    SHOW(syscall(SYS_remap_file_pages, map, page, 0, 31, 0));
    printf("%d\n", map[0]);
    SHOW(syscall(SYS_remap_file_pages, map, page, PROT_READ, 31, 0));
    char *mine = mmap(0, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    SHOW(madvise(mine, page, MADV_REMOVE));
    SHOW(syscall(SYS_remap_file_pages, mine, page, 0, 0, 0));
}

static volatile int told;
static void thread(union sigval value)
{
    told = value.sival_int;
}

static void queues(void)
{
    struct mq_attr attributes = {.mq_maxmsg = 4, .mq_msgsize = 16};
    struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = thread, .sigev_value.sival_int = 77};
    mqd_t queue = mq_open("/pyprobe-newcalls", O_RDWR | O_CREAT, 0600, &attributes);
    char text[16];

    mq_unlink("/pyprobe-newcalls");
    SHOW(mq_notify(queue, &event));
    SHOW(mq_notify(queue, &event));
    SHOW(mq_send(queue, "hello", 6, 0));
    for (int i = 0; i < 1000 && !told; i++)
        usleep(1000);
    printf("told %d\n", told);
    SHOW(mq_receive(queue, text, 16, 0));
    SHOW(mq_notify(queue, &event));
    SHOW(mq_notify(queue, 0));
    SHOW(mq_send(queue, "again", 6, 0));
}

static void namespaces(void)
{
    struct stat one, other;
    char link[64], name[32];
    int file = open("/proc/self/ns/uts", O_RDONLY);

    for (const char **kind = (const char *[]){"uts", "mnt", "pid", "net", "ipc", "user", "cgroup", "time", 0}; *kind; kind++) {
        snprintf(name, sizeof name, "/proc/self/ns/%s", *kind);
        ssize_t length = readlink(name, link, sizeof link - 1);
        link[length] = 0;
        *strchr(link, '[') = 0;
        printf("%s %d\n", link, stat(name, &one));
    }
    stat("/proc/self/ns/uts", &one);
    snprintf(name, sizeof name, "/proc/%d/ns/uts", getpid());
    stat(name, &other);
    printf("%d %o\n", one.st_ino == other.st_ino && one.st_dev == other.st_dev, one.st_mode);
    fstat(file, &other);
    printf("%d\n", one.st_ino == other.st_ino && one.st_dev == other.st_dev);
    SHOW(ioctl(file, 0xb703, 0) == CLONE_NEWUTS);
    SHOW(setns(file, CLONE_NEWPID));
    SHOW(setns(1000, 0));
    SHOW(setns(1, 0));
    SHOW(open("/proc/self/ns/uts", O_RDWR));
}

static void barriers(void)
{
    SHOW(syscall(SYS_membarrier, 0, 0, 0) & 0x1f);
    SHOW(syscall(SYS_membarrier, 1, 0, 0));
    SHOW(syscall(SYS_membarrier, 8, 0, 0));
    SHOW(syscall(SYS_membarrier, 16, 0, 0));
    SHOW(syscall(SYS_membarrier, 8, 0, 0));
    SHOW(syscall(SYS_membarrier, 3, 0, 0));
    SHOW(syscall(SYS_membarrier, 8, 1, 0));
    SHOW(syscall(SYS_membarrier, 1 << 20, 0, 0));
}

static void refusals(void)
{
    SHOW(syscall(SYS_pkey_free, 5));
    SHOW(syscall(SYS_pkey_alloc, 1, 0));
    SHOW(syscall(SYS_pkey_mprotect, (long)words & ~4095L, 4096, PROT_READ | PROT_WRITE, -1));
    SHOW(syscall(SYS_pkey_mprotect, (long)words & ~4095L, 4096, PROT_READ | PROT_WRITE, 9));
    SHOW(syscall(SYS_fanotify_mark, 1000, 1, 1, 0, 0));
    SHOW(syscall(SYS_clock_adjtime, 77, 0));
    SHOW(syscall(5000));
}

int main(void)
{
    setvbuf(stdout, 0, _IOLBF, 0);
    futexes();
    others();
    holes();
    queues();
    namespaces();
    barriers();
    refusals();
    return 0;
}
