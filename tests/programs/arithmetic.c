/* Results and flags of x86-64 instructions for operands at the edges: a checksum for each, of what Intel's manual defines. */
#include <stdint.h>
#include <stdio.h>

enum { CF = 1, PF = 4, AF = 16, ZF = 64, SF = 128, OF = 0x800, ALL = CF | PF | AF | ZF | SF | OF };

static const uint64_t values[] = {
    0, 1, 2, 3, 0x7f, 0x80, 0x81, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x10000, 0x12345678, 0x7fffffff, 0x80000000, 0x80000001, 0xffffffff,
    0x100000000, 0x123456789abcdef, 0x7fffffffffffffff, 0x8000000000000000, 0x8000000000000001, 0xfedcba9876543210, 0xffffffffffffffff,
};
enum { N = sizeof values / sizeof *values };

static uint64_t sum;

static void add(uint64_t value)
{
    sum = (sum ^ value) * 0x9e3779b97f4a7c15;
    sum ^= sum >> 29;
}

#define SHOW(title) (printf("%s %016lx\n", title, sum), sum = 0)

/* `code` works on %0 (rax) and %1 (rbx), with the flags of `before`; `defined` may use a, b. */
#define RUN(code, before, a, b, mask) \
    do { \
        uint64_t x_ = a, y_ = b, f_ = 0x202 | (before); \
        asm volatile("pushq %2; popfq; " code "; pushfq; popq %2" : "+a"(x_), "+b"(y_), "+r"(f_) : : "rcx", "rdx", "cc", "memory"); \
        add(x_); \
        add(y_); \
        add(f_ & (mask)); \
    } while (0)

#define TWO(title, code, mask) \
    do { \
        for (int i = 0; i < N; i++) \
            for (int j = 0; j < N; j++) \
                for (int c = 0; c < 2; c++) \
                    RUN(code, c ? ALL : 0, values[i], values[j], mask); \
        SHOW(title); \
    } while (0)

#define SIZES(name, op, mask) \
    TWO(name "b", op "b %%bl, %%al", mask); \
    TWO(name "w", op "w %%bx, %%ax", mask); \
    TWO(name "l", op "l %%ebx, %%eax", mask); \
    TWO(name "q", op "q %%rbx, %%rax", mask)

/* Shifts and rotations: the overflow is defined for one bit only, the carry up to the size, nothing changes for none. */
#define SHIFT(title, code, size, masked, mask) \
    do { \
        for (int i = 0; i < N; i++) \
            for (int n = 0; n < 70; n++) \
                for (int c = 0; c < 2; c++) { \
                    int count = n & (masked), defined = (mask) & ~(count > 1 ? OF : 0) & ~(count ? AF : 0); \
                    if (count > (size)) \
                        defined &= ~CF; \
                    RUN("mov %%bl, %%cl; " code, c ? ALL : 0, values[i], n, count ? defined : ALL); \
                } \
        SHOW(title); \
    } while (0)

#define SHIFTS(name, mask) \
    SHIFT(name "b", name "b %%cl, %%al", 8, 31, mask); \
    SHIFT(name "w", name "w %%cl, %%ax", 16, 31, mask); \
    SHIFT(name "l", name "l %%cl, %%eax", 32, 31, mask); \
    SHIFT(name "q", name "q %%cl, %%rax", 64, 63, mask)

int main(void)
{
    SIZES("add", "add", ALL);
    SIZES("adc", "adc", ALL);
    SIZES("sub", "sub", ALL);
    SIZES("sbb", "sbb", ALL);
    SIZES("cmp", "cmp", ALL);
    SIZES("and", "and", ALL & ~AF);
    SIZES("or", "or", ALL & ~AF);
    SIZES("xor", "xor", ALL & ~AF);
    SIZES("test", "test", ALL & ~AF);
    SIZES("xadd", "xadd", ALL);
    SIZES("cmpxchg", "mov %%rbx, %%rcx; cmpxchg", ALL);
    TWO("inc", "inc %%al; inc %%bx", ALL);
    TWO("dec", "dec %%eax; dec %%rbx", ALL);
    TWO("neg", "neg %%al; neg %%rbx", ALL);
    TWO("not", "not %%ax; not %%ebx", ALL);
    SHIFTS("shl", ALL);
    SHIFTS("shr", ALL);
    SHIFTS("sar", ALL);
    SHIFTS("rol", ALL);
    SHIFTS("ror", ALL);
    SHIFT("rclb", "rclb %%cl, %%al", 99, 31, ALL);
    SHIFT("rclw", "rclw %%cl, %%ax", 99, 31, ALL);
    SHIFT("rcll", "rcll %%cl, %%eax", 99, 31, ALL);
    SHIFT("rclq", "rclq %%cl, %%rax", 99, 63, ALL);
    SHIFT("rcrb", "rcrb %%cl, %%al", 99, 31, ALL);
    SHIFT("rcrw", "rcrw %%cl, %%ax", 99, 31, ALL);
    SHIFT("rcrl", "rcrl %%cl, %%eax", 99, 31, ALL);
    SHIFT("rcrq", "rcrq %%cl, %%rax", 99, 63, ALL);
    SHIFT("shldl", "mov $0x9e3779b9, %%edx; shld %%cl, %%edx, %%eax", 32, 31, ALL);
    SHIFT("shldq", "mov $0x9e3779b97f4a7c15, %%rdx; shld %%cl, %%rdx, %%rax", 64, 63, ALL);
    SHIFT("shrdl", "mov $0x9e3779b9, %%edx; shrd %%cl, %%edx, %%eax", 32, 31, ALL);
    SHIFT("shrdq", "mov $0x9e3779b97f4a7c15, %%rdx; shrd %%cl, %%rdx, %%rax", 64, 63, ALL);
    TWO("shl $1", "shl $1, %%al; shl $1, %%rbx", ALL & ~AF);
    TWO("rcl $1", "rcl $1, %%al; rcl $1, %%rbx", CF | OF);
    TWO("mulb", "mul %%bl", CF | OF);
    TWO("mulw", "mul %%bx; mov %%dx, %%bx", CF | OF);
    TWO("mull", "mul %%ebx; mov %%edx, %%ebx", CF | OF);
    TWO("mulq", "mul %%rbx; mov %%rdx, %%rbx", CF | OF);
    TWO("imulb", "imul %%bl", CF | OF);
    TWO("imulw", "imul %%bx, %%ax", CF | OF);
    TWO("imull", "imul %%ebx; mov %%edx, %%ebx", CF | OF);
    TWO("imulq", "imul %%rbx, %%rax", CF | OF);
    TWO("imulq $", "imul $-7, %%rbx, %%rax", CF | OF);
    TWO("div", "xor %%edx, %%edx; or $1, %%rbx; div %%rbx; mov %%rdx, %%rbx", 0);
    TWO("idivl", "shr $2, %%eax; xor %%edx, %%edx; or $1, %%ebx; idiv %%ebx; mov %%edx, %%ebx", 0);
    TWO("bsf", "bsf %%rbx, %%rax", ZF);
    TWO("bsr", "bsr %%rbx, %%rax", ZF);
    TWO("bsfw", "bsf %%bx, %%ax", ZF);
    TWO("lzcnt", "lzcnt %%ebx, %%eax", CF | ZF);
    TWO("popcnt", "popcnt %%rbx, %%rax", ALL);
    TWO("btw", "bt %%bx, %%ax", CF | ZF);
    TWO("btsl", "bts %%ebx, %%eax", CF | ZF);
    TWO("btrq", "btr %%rbx, %%rax", CF | ZF);
    TWO("btcq", "btc $77, %%rax", CF | ZF);
    TWO("movbe", "push %%rbx; movbe (%%rsp), %%rax; pop %%rbx", ALL);
    TWO("crc32", "crc32q %%rbx, %%rax", ALL);
    TWO("bswap", "bswap %%rax; bswap %%ebx", ALL);
    TWO("cbw", "cbw; cwde; cdqe; cqo; mov %%rdx, %%rbx", ALL);
    TWO("cmov", "cmovc %%ebx, %%eax; cmovs %%rax, %%rbx", ALL);
    TWO("setcc", "seto %%al; setp %%ah; setl %%bl; seta %%bh", ALL);
    TWO("lahf", "lahf; sahf", ALL);
    TWO("xchg", "xchg %%al, %%bh; xchg %%eax, %%ebx", ALL);
    TWO("stc", "cmc; stc; clc", ALL);
    TWO("adc again", "adc %%al, %%bl; adc %%ax, %%bx; sbb %%eax, %%ebx; rcl $1, %%rax; adc $0, %%rbx", CF);
    TWO("loop", "and $7, %%ebx; lea 1(%%rbx), %%rcx; 1: add $3, %%rax; loop 1b", ALL);
    return 0;
}
