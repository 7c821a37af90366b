/* expect: exit 28 */
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
    static char block[1 << 16];
    int fd = open("big", O_WRONLY | O_CREAT, 0600);
    for (;;) if (write(fd, block, sizeof block) < 0) return errno;
}
