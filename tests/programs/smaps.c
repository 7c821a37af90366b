/* What /proc/self/smaps says of a mapping, before and after a fork. */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static void show(unsigned long address)
{
    char line[256];
    unsigned long from, to;
    int inside = 0;
    FILE *file = fopen("/proc/self/smaps", "r");

    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "%lx-%lx", &from, &to) == 2 && strchr(line, '-') < strchr(line, ' '))
            inside = from <= address && address < to;
        else if (inside && (strstr(line, "Size:") == line || strstr(line, "Rss") || strstr(line, "Clean") ||
                            strstr(line, "_Dirty:") > line + 3 || strstr(line, "Anonymous")))
            printf("%s", line);
    }
    fclose(file);
    puts("--");
    fflush(stdout);
}

int main(void)
{
    char *map = mmap(0, 5 * 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *middle = map + 4096;

    mprotect(middle, 3 * 4096, PROT_READ | PROT_WRITE);
    show((unsigned long)middle);
    middle[0] = middle[8192] = 1;
    show((unsigned long)middle);
    if (!fork()) {
        show((unsigned long)middle);
        middle[0] = 2;
        show((unsigned long)middle);
        _exit(0);
    }
    wait(0);
    show((unsigned long)middle);
    show((unsigned long)map);
    return 0;
}
