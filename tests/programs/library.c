/* A shared library; LIBRARY_USER makes the program that calls it through its PLT. */
#define NOINLINE __attribute__((noinline, noclone))
#ifdef LIBRARY_USER
#include <stdio.h>
#include <unistd.h>
#include <sys/wait.h>
int library_add(int a, int b);
int library_twice(int a);
int main(void)
{
    int sum = 0;
    for (int i = 0; i < 3; i++)
        sum += library_add(i, 10);
    if (fork() == 0)
        _exit(library_twice(4));
    int status;
    wait(&status);
    printf("%d %d\n", sum, WEXITSTATUS(status));
    return 0;
}
#else
NOINLINE int library_add(int a, int b) { return a + b; }
NOINLINE int library_twice(int a) { return library_add(a, a); }
#endif
