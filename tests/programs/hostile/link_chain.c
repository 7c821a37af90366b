/* expect: exit 40 */
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
    symlink("l1", "l0"); char a[9], b[9];
    for (int i = 1; i < 100; i++) { sprintf(a, "l%d", i + 1); sprintf(b, "l%d", i); symlink(a, b); }
    return open("l0", O_RDONLY) < 0 ? errno : 0;
}
