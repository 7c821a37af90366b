/* A call that is inlined into another, so that the source places of one address are three. */
__attribute__((noinline)) int leaf(int n) {
    __asm__ volatile("" ::: "memory");
    return n;
}

static inline __attribute__((always_inline)) int inner(int n) {
    return leaf(n) + 1;
}

static inline __attribute__((always_inline)) int outer(int n) {
    return inner(n + 1) * 2;
}

int main(void) {
    return outer(3) == 0;
}
