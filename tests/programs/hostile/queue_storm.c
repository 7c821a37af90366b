/* expect: any */
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

int main(void) { sigset_t s; sigfillset(&s); sigprocmask(SIG_SETMASK, &s, 0); union sigval v = {1}; for (int i = 0; i < 50000; i++) if (sigqueue(getpid(), SIGRTMIN + 1, v)) return errno == EAGAIN ? 0 : 1; return 0; }
