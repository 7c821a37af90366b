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
    const char *names[] = {"/dev/mem", "/dev/kmem", "/dev/port", "/dev/sda", "/dev/kvm", "/proc/kcore", "/proc/sysrq-trigger", "/dev/nvme0n1"};
    for (int i = 0; i < 8; i++) if (open(names[i], O_RDWR) >= 0) return i + 1;
    mknod("mem", S_IFCHR | 0600, 1 << 8 | 1); mknod("disk", S_IFBLK | 0600, 8 << 8);
    return open("mem", O_RDWR) >= 0 || open("disk", O_RDWR) >= 0;
}
