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

int main(void) {
    mkdir("a", 0700); mkdir("a/b", 0700); mkdir("c", 0700);
    if (!fork()) for (int i = 0; i < 2000; i++) { rename("a/b", "c/b"); rename("c/b", "a/b"); }
    for (int i = 0; i < 2000; i++) { int f = open("a/b/../../a/b/..", O_PATH); if (f >= 0) close(f); }
    kill(0, 0); wait(0); return 0;
}
