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
    int fd = memfd_create("x", 0);
    ftruncate(fd, 4096);
    unsigned char *w = mmap(0, 4096, 3, MAP_SHARED, fd, 0), *x = mmap(0, 4096, 5, MAP_SHARED, fd, 0);
    for (int i = 0; i < 100; i++) {
        w[0] = 0xb8; memcpy(w + 1, &i, 4); w[5] = 0xc3;
        if (((int (*)(void))x)() != i) return 1;
    }
    return 0;
}
