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

int main(void) { for (long n = 500; n < 5000; n++) if (syscall(n, 0) != -1 || errno != ENOSYS) return 1; return syscall(-1L) == -1 && syscall(0x40000000L) == -1 ? 0 : 2; }
