// C++ exceptions that jump over frames, also out of recursion and through a destructor.
#include <cstdio>
#include <stdexcept>

#define NOINLINE __attribute__((noinline, noclone))
#define KEEP __asm__ volatile("" ::: "memory")

struct Guard {
    int &n;
    NOINLINE ~Guard() { n++; }
};
extern "C" NOINLINE int thrower(int depth)
{
    KEEP;
    if (depth == 0)
        throw std::runtime_error("deep");
    int r = thrower(depth - 1);
    KEEP;
    return r + 1;
}
extern "C" NOINLINE int catcher(int depth)
{
    int guards = 0;
    try {
        Guard guard{guards};
        thrower(depth);
        KEEP;
    } catch (const std::runtime_error &) {
        return 100 + guards;
    }
    return -1;
}
extern "C" NOINLINE int plain(int n) { KEEP; return n + 1; }
int main()
{
    int total = 0;
    for (int i = 0; i < 3; i++)
        total += catcher(i) + plain(i);
    std::printf("%d\n", total);
}
