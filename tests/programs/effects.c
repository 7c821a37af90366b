/* What probes change from outside shows in what it prints: a result, a signal, its memory, a system call. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char text[32] = "as it was";
static volatile int got;

static void handler(int number) { got = number; }
__attribute__((noinline)) int answer(int n) { __asm__ volatile(""); return n + 1; }
__attribute__((noinline)) long loop(char *what, long n) { for (long i = 0; i < n; i++) __asm__ volatile("" ::: "memory"); return n + (what == NULL); }

int main(void)
{
    signal(SIGUSR1, handler);
    printf("%d\n", answer(1));
    printf("%ld\n", loop(text, 1000));
    printf("signal %d\n", got);
    printf("%s\n", text);
    errno = 0;
    int fd = open("/etc/passwd", O_RDONLY);
    printf("open %d %s\n", fd < 0, strerror(errno));
    printf("uid %d\n", getuid());
    fflush(stdout);
    return answer(5);
}
