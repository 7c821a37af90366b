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

int main(void) { int fd = open("sparse", O_RDWR | O_CREAT, 0600); ftruncate(fd, 1L << 62); pwrite(fd, "x", 1, 1L << 40); return 0; }
