// Calls of `mark` under stacks of every shape: plain calls, a C library's, variable frames, a signal's handler, a thread.
#include <alloca.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define NOINLINE __attribute__((noinline))

volatile int sink;

NOINLINE void mark(int n) {
    sink = n;
    __asm__ volatile("");
}

NOINLINE int plain(int n) {
    volatile int room[16];
    memset((void *)room, n, sizeof room);
    mark(1);
    return room[n & 15];
}

static int compare(const void *a, const void *b) {
    mark(2);
    return *(const int *)a - *(const int *)b;
}

NOINLINE void sorted(void) {
    int pair[2] = {2, 1};
    qsort(pair, 2, sizeof *pair, compare);
    sink = pair[0];
}

NOINLINE void variable(int n) {
    volatile char *room = alloca(n * 16);
    room[0] = 1;
    mark(3);
    sink = room[0];
}

NOINLINE int recursive(int n) {
    if (!n) {
        mark(4);
        return 1;
    }
    return recursive(n - 1) + sink;
}

static void handler(int number) {
    mark(5);
    sink = number;
}

NOINLINE void interrupted(void) {
    raise(SIGUSR1);
    sink = 9;
}

static void *thread(void *argument) {
    mark(6);
    sink = 10;
    return argument;
}

int main(void) {
    pthread_t other;
    signal(SIGUSR1, handler);
    sink = plain(3);
    sorted();
    variable(5);
    recursive(3);
    interrupted();
    pthread_create(&other, 0, thread, 0);
    pthread_join(other, 0);
    return 0;
}
