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

static const unsigned long values[] = {0, 1, 0xffffffff, -1UL, 0x7fffffffffffffff, 0x8000000000000000, 0x1000, 0xdead000000000000, 0x7ffffffff000, 4096};
int main(void) {
    unsigned seed = 1;
    for (int number = 0; number < 470; number++) {
        /* not: those that end, wait or replace the program */
        switch (number) { case 15: case 34: case 35: case 58: case 57: case 56: case 59: case 60: case 61: case 62: case 200: case 231: case 234: case 322: case 130: case 435: case 7: case 23:
        case 270: case 271: case 232: case 281: case 441: case 128: case 247: case 0: case 230: case 202: case 13: case 14: case 11: case 9: case 10: case 25: case 12: case 31: case 67: case 449: case 219: case 73: case 72: case 3: case 436: case 158: case 33: case 292: case 28: case 129: case 297: case 424: case 112: case 157: case 317: case 38: case 37: case 222: case 223: case 65: case 220: case 69: case 70: case 242: case 243: continue; }
        for (int i = 0; i < 20; i++) {
            unsigned long a[6];
            for (int j = 0; j < 6; j++) { seed = seed * 1103515245 + 12345; a[j] = values[(seed >> 16) % 10]; }
            syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
        }
    }
    _exit(0);
}
