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

int main(void) { int f = open("/etc/passwd", O_RDWR); char *p = mmap(0, 4096, 3, MAP_SHARED, f, 0); if (p == MAP_FAILED) return 0; p[0] = 'Z'; msync(p, 4096, MS_SYNC); truncate("/etc/group", 0); unlink("/etc/hostname"); return 0; }
