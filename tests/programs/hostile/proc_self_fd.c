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
    char path[64], text[4096] = "";
    int d = open("/", O_PATH);
    sprintf(path, "/proc/self/fd/%d/../../../etc/..", d);
    struct stat a, b;
    stat("/", &a); stat(path, &b);
    for (int i = 0; i < 1024; i++) { sprintf(path, "/proc/self/fd/%d", i); int n = readlink(path, text, 4096); if (n > 0 && memmem(text, n, "pyprobe", 7)) return 1; }
    return a.st_ino != b.st_ino;
}
