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

int main(int c, char **v) {
    static char *words[200001]; static char word[131072 + 8];
    if (c > 1) return 9;
    for (int i = 0; i < 200000; i++) words[i] = "0123456789012345678901234567890123456789";
    if (execv(v[0], words) != -1 || errno != E2BIG) return 1;
    memset(word, 'x', sizeof word - 1); words[1] = word; words[2] = 0;
    return execv(v[0], words) != -1 || errno != E2BIG;
}
