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

int main(void) { for (int i = 0; i < 70000; i++) if (mmap(0, 4096, i & 1, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED) return 0; return 0; }
