/* expect: exit 0 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile int got;
static void h(int s) { got++; }
int main(void) {
    signal(SIGUSR1, h);
    pid_t me = getpid();
    if (!fork()) { for (int i = 0; i < 3000; i++) kill(me, SIGUSR1); _exit(0); }
    for (int i = 0; i < 3000; i++) raise(SIGUSR1);
    while (wait(0) < 0 && errno == EINTR);
    return got < 3000;
}
