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

int main(void) {
    struct stat a, b, c;
    stat("/", &a); stat("/proc/self/root/../../", &b); stat("/proc/1000/root/..", &c);
    return a.st_ino != b.st_ino || a.st_ino != c.st_ino;
}
