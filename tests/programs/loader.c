/* Loads a library, calls it, unloads it and loads another in its place. The libraries are this file with -DLIBRARY=NUMBER. */
#ifdef LIBRARY
__attribute__((noinline)) int answer(int n) { return n + LIBRARY; }
#else
#include <dlfcn.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    for (int round = 0; round < 2; round++)
        for (int i = 1; i < argc; i++) {
            void *library = dlopen(argv[i], RTLD_NOW);
            int (*answer)(int) = (int (*)(int))dlsym(library, "answer");
            printf("%d ", answer(i));
            dlclose(library);
        }
    printf("\n");
    return 0;
}
#endif
