/* Ends by a fault: reads a bad address in `reader`, with the argument `null` a null pointer, with another jumps to a bad one. */
#define NOINLINE __attribute__((noinline, noclone))
NOINLINE int reader(int *p) { return *p + 1; }
int main(int argc, char **argv)
{
    if (argc > 1 && argv[1][0] == 'n')
        return reader(0);
    if (argc > 1)
        ((void (*)(void))0x1234)();
    return reader((int *)8);
}
