/* Functions with parameters of many types, for debug information. */
#include <string.h>

struct inner { int x; unsigned char y; };
enum colour { RED, GREEN = 5, BLUE };
struct thing {
    char letter; short s; int i; long l;
    unsigned low : 3, high : 5;
    int narrow : 4;
    char name[8];
    int numbers[3];
    struct inner in;
    struct thing *next;
    enum colour colour;
    _Bool flag;
    union { int a; long b; };
    int grid[2][2];
};
typedef struct thing thing_t;

__attribute__((noinline)) int take(thing_t *t, int n, const char *s, enum colour c, long big, unsigned char small) {
    __asm__ volatile("" ::: "memory");
    return n + (int)strlen(s) + t->i + (int)c + (int)big + small;
}
__attribute__((noinline)) double half(double d, volatile int *p, int (*call)(int, long)) { __asm__ volatile("" ::: "memory"); return d / 2 + *p; }
__attribute__((noinline)) void nothing(void) { __asm__ volatile("" ::: "memory"); }

int main(void) {
    volatile int one = 1;
    static struct thing b = { .name = "second", .i = 7 };
    static struct thing a; a = (struct thing){ 'A', -2, 30, -4000000000L, 5, 17, -3, "firstxyz", {1, -2, 3}, {9, 200}, &b, GREEN, 1, { 77 }, {{1, 2}, {3, 4}} };
    take(&a, 3, "abc", BLUE, 1L << 40, 250);
    half(3, &one, 0);
    nothing();
    return 0;
}
