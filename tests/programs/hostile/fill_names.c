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

int main(void) { char name[40]; for (int i = 0; i < 100000; i++) { sprintf(name, "f%d", i); if (mkdir(name, 0700)) return 0; } return 0; }
