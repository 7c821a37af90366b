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
    struct stat a, b;
    char path[4000] = "";
    for (int i = 0; i < 1000; i++) strcat(path, "../");
    stat("/", &a); stat(path, &b);
    return a.st_ino != b.st_ino || a.st_dev != b.st_dev;
}
