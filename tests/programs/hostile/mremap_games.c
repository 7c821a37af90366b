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

int main(void) { char *p = mmap(0, 65536, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); for (int i = 0; i < 200; i++) { mremap(p, 65536, 1L << 46, MREMAP_MAYMOVE); mremap(p, 0, 4096, MREMAP_MAYMOVE); mremap(p + i, 4096, 8192, 3, p); mremap(p, 65536, 4096, 0); } return 0; }
