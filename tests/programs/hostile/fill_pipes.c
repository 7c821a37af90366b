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

int main(void) { int p[2]; static char b[65536]; while (!pipe2(p, O_NONBLOCK)) while (write(p[1], b, sizeof b) > 0); return errno == EMFILE ? 0 : 1; }
