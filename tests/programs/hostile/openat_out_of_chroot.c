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
    int top = open("/", O_RDONLY);
    mkdir("jail", 0700); chroot("jail"); fchdir(top);
    for (int i = 0; i < 64; i++) chdir("..");
    struct stat a, b;
    fstat(top, &a); stat(".", &b);
    return a.st_ino != b.st_ino; /* out of the chroot perhaps, as on Linux; never above the view's root */
}
