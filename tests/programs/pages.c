/* What madvise(2), fallocate(2) and truncation do to memory that is mapped, inherited or read through /proc/PID/mem. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "show.h"

#define PAGE 4096

static sigjmp_buf fault;
static volatile int signalled;

static void faulted(int signo)
{
    signalled = signo;
    siglongjmp(fault, 1);
}

/* The byte there, or the negative number of the signal that reading it gives. */
static int peek(const char *at)
{
    if (sigsetjmp(fault, 1))
        return -signalled;
    return *(const volatile unsigned char *)at;
}

static void inherited(const char *what, const char *memory)
{
    pid_t pid = fork();

    if (!pid) {
        printf("%s: %d %d %d %d\n", what, peek(memory), peek(memory + PAGE), peek(memory + 2 * PAGE), peek(memory + 3 * PAGE));
        exit(0);
    }
    waitpid(pid, 0, 0);
}

static void forks(void)
{
    char *memory = mmap(0, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *other;
    int file = memfd_create("pages", 0);

    memset(memory, 7, 4 * PAGE);
    SHOW(madvise(memory + PAGE, PAGE, MADV_WIPEONFORK));
    inherited("wiped", memory);
    SHOW(madvise(memory + 2 * PAGE, PAGE, MADV_DONTFORK));
    inherited("left out", memory);
    mprotect(memory + PAGE, PAGE, PROT_READ);
    inherited("read only", memory);
    SHOW(madvise(memory, 4 * PAGE, MADV_KEEPONFORK));
    inherited("kept", memory);
    SHOW(madvise(memory, 4 * PAGE, MADV_DOFORK));
    inherited("all", memory);
    SHOW(madvise(memory, PAGE, MADV_WIPEONFORK));
    SHOW(madvise(memory, PAGE, MADV_DONTNEED));
    memory[0] = 9;
    inherited("wiped", memory);
    ftruncate(file, PAGE);
    other = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
    SHOW(madvise(other, PAGE, MADV_WIPEONFORK));
    SHOW(madvise(other, PAGE, MADV_FREE));
    other = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    SHOW(madvise(other, PAGE, MADV_WIPEONFORK));
    munmap(memory + 2 * PAGE, PAGE);
    SHOW(madvise(memory, 4 * PAGE, MADV_WILLNEED));
    SHOW(madvise(memory, 4 * PAGE, MADV_NORMAL));
    SHOW(madvise(memory, PAGE, 77));
    SHOW(madvise(memory, 0, 77));

    char buffer[2 * PAGE];
    long at = (long)memory;
    int self = open("/proc/self/mem", O_RDWR);
    SHOW(pread(self, buffer, 1, at + 2 * PAGE));
    SHOW(pread(self, buffer, 2 * PAGE, at + PAGE));
    SHOW(pread(self, buffer, 1, 0));
    SHOW(pwrite(self, "x", 1, at + 2 * PAGE));
    SHOW(pwrite(self, "x", 1, at + PAGE));
    printf("%c\n", memory[PAGE]);
}

static void truncated(const char *what, int file, int how)
{
    char bytes[3 * PAGE], *memory;

    memset(bytes, 5, sizeof bytes);
    pwrite(file, bytes, sizeof bytes, 0);
    memory = mmap(0, 3 * PAGE, PROT_READ | PROT_WRITE, how, file, 0);
    memset(memory, 7, 3 * PAGE);
    ftruncate(file, PAGE + 100);
    printf("%s: %d %d %d %d", what, peek(memory + PAGE - 1), peek(memory + PAGE + 99), peek(memory + PAGE + 100), peek(memory + 2 * PAGE));
    ftruncate(file, 3 * PAGE);
    printf(", %d %d %d %d", peek(memory + PAGE - 1), peek(memory + PAGE + 99), peek(memory + PAGE + 100), peek(memory + 2 * PAGE));
    memory[2 * PAGE] = 9;
    pread(file, bytes, sizeof bytes, 0);
    printf(", file %d %d %d %d", bytes[0], bytes[PAGE + 99], bytes[PAGE + 100], bytes[2 * PAGE]);
    ftruncate(file, 0);
    printf(", %d\n", peek(memory));
    munmap(memory, 3 * PAGE);
}

static void files(int file, int memory)
{
    struct rlimit room = {2 * PAGE, RLIM_INFINITY};

    truncated("file", file, MAP_SHARED);
    truncated("file, private", file, MAP_PRIVATE);
    truncated("memory", memory, MAP_SHARED);
    truncated("memory, private", memory, MAP_PRIVATE);
    ftruncate(memory, 2 * PAGE);
    SHOW(fallocate(memory, FALLOC_FL_ZERO_RANGE, 0, PAGE));
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &room);
    SHOW(fallocate(file, 0, 0, 2 * PAGE));
    SHOW(fallocate(file, 0, 0, 2 * PAGE + 1));
    SHOW(fallocate(file, FALLOC_FL_KEEP_SIZE, 0, 3 * PAGE));
    SHOW(ftruncate(file, 2 * PAGE + 1));
    SHOW(truncate("pages.tmp", 2 * PAGE + 1));
    SHOW(pwrite(file, "x", 1, 2 * PAGE));
}

/* The time that a process has used is its parent's to know, however short it was. */
static void used(void)
{
    struct rusage usage;

    if (!fork()) {
        for (volatile int i = 0; i < 3000000; i++)
            ;
        _exit(0);
    }
    wait(0);
    getrusage(RUSAGE_CHILDREN, &usage);
    printf("%d\n", usage.ru_utime.tv_sec * 1000000 + usage.ru_utime.tv_usec > 0);
}

int main(void)
{
    static const char *devices[] = {"/dev/null", "/dev/zero", "/dev/full", "/dev/urandom"};

    setvbuf(stdout, 0, _IONBF, 0);
    signal(SIGSEGV, faulted);
    signal(SIGBUS, faulted);
    forks();
    files(open("pages.tmp", O_RDWR | O_CREAT | O_TRUNC, 0600), memfd_create("pages", 0));
    unlink("pages.tmp");
    used();
    for (int i = 0; i < 4; i++) {
        int device = open(devices[i], O_RDWR);
        SHOW(lseek(device, -5, SEEK_END));
        SHOW(lseek(device, 5, SEEK_SET));
        SHOW(lseek(device, 0, 9));
    }
    return 0;
}
