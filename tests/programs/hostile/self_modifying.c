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
    unsigned char *code = mmap(0, 4096, 7, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < 500; i++) {
        code[0] = 0xb8; memcpy(code + 1, &i, 4); code[5] = 0xc3; /* mov eax, i; ret */
        if (((int (*)(void))code)() != i) return 1;
    }
    return 0;
}
