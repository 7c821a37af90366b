/* A program that suspects to be probed: it looks at its code, compares it with its file, reads its return addresses and times itself. */
#include <stdio.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

extern char __executable_start[], etext[];
static void *returns_to;
volatile int sink;

__attribute__((noinline)) int victim(int n)
{
    returns_to = __builtin_return_address(0);
    sink = n;
    return n + 1;
}

__attribute__((noinline)) int twin(int n)
{
    returns_to = __builtin_return_address(0);
    sink = n;
    return n + 1;
}

static int breakpoint_instruction(void)
{
#ifdef __x86_64__
    const unsigned char *code = (const unsigned char *)victim;
    return code[0] == 0xcc;
#else
    const uint32_t *code = (const uint32_t *)victim;
    return (code[0] & 0xffe0001f) == 0xd4200000;
#endif
}

static int changed_code(void)
{
    static unsigned char content[4096];
    FILE *file = fopen("/proc/self/exe", "rb");
    long offset = (char *)victim - __executable_start, length = etext - (char *)victim;
    int changed = 0;

    if (!file || fseek(file, offset, SEEK_SET))
        return -1;
    for (long done = 0; done < length;) {
        size_t n = fread(content, 1, length - done < 4096 ? length - done : 4096, file);
        if (!n)
            return -1;
        changed |= memcmp(content, (char *)victim + done, n) != 0;
        done += n;
    }
    fclose(file);
    return changed;
}

static int strange_return(void)
{
    victim(1);
    return (char *)returns_to < __executable_start || (char *)returns_to > etext;
}

static long duration(int (*function)(int))
{
    struct timespec begin, end;

    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (int i = 0; i < 100; i++)
        function(i);
    clock_gettime(CLOCK_MONOTONIC, &end);
    return (end.tv_sec - begin.tv_sec) * 1000000000L + end.tv_nsec - begin.tv_nsec;
}

static int slow(void)
{
    return duration(victim) > 3 * duration(twin);
}

int main(void)
{
    printf("breakpoint instruction: %d\n", breakpoint_instruction());
    printf("changed code: %d\n", changed_code());
    printf("strange return address: %d\n", strange_return());
    printf("slow: %d\n", slow());
    return 0;
}
