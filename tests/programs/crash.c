/* Ends by a fault: reads a bad address in `reader`, or with an argument jumps to one. */
#define NOINLINE __attribute__((noinline, noclone))
NOINLINE int reader(int *p) { return *p + 1; }
int main(int argc, char **argv)
{
    if (argc > 1)
        ((void (*)(void))0x1234)();
    return reader((int *)8);
}
