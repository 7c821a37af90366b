/* Whether /proc/cpuinfo and the auxiliary vector say of the processor what it says itself. */
#include <cpuid.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>

enum { A, B, C, D };

static const struct { const char *name; unsigned leaf, reg, bit; } features[] = {
    {"fpu", 1, D, 0}, {"tsc", 1, D, 4}, {"cx8", 1, D, 8}, {"cmov", 1, D, 15}, {"clflush", 1, D, 19}, {"mmx", 1, D, 23}, {"fxsr", 1, D, 24},
    {"sse", 1, D, 25}, {"sse2", 1, D, 26}, {"pni", 1, C, 0}, {"pclmulqdq", 1, C, 1}, {"ssse3", 1, C, 9}, {"fma", 1, C, 12}, {"cx16", 1, C, 13},
    {"sse4_1", 1, C, 19}, {"sse4_2", 1, C, 20}, {"movbe", 1, C, 22}, {"popcnt", 1, C, 23}, {"aes", 1, C, 25}, {"xsave", 1, C, 26},
    {"avx", 1, C, 28}, {"fsgsbase", 7, B, 0}, {"bmi1", 7, B, 3}, {"avx2", 7, B, 5}, {"bmi2", 7, B, 8}, {"erms", 7, B, 9},
    {"syscall", 0x80000001, D, 11}, {"nx", 0x80000001, D, 20}, {"rdtscp", 0x80000001, D, 27}, {"lm", 0x80000001, D, 29},
    {"lahf_lm", 0x80000001, C, 0}, {"abm", 0x80000001, C, 5}, {"xsaveopt", 0xd, A, 0},
};

int main(void)
{
    char line[8192], word[32], brand[49] = "";
    FILE *file = fopen("/proc/cpuinfo", "r");
    unsigned r[4];

    __get_cpuid_count(1, 0, &r[A], &r[B], &r[C], &r[D]);
    printf("AT_HWCAP %d\n", (unsigned)getauxval(AT_HWCAP) == r[D]);
    for (int i = 0; i < 3; i++)
        __get_cpuid_count(0x80000002 + i, 0, (unsigned *)brand + 4 * i, (unsigned *)brand + 4 * i + 1, (unsigned *)brand + 4 * i + 2, (unsigned *)brand + 4 * i + 3);
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        if (!strncmp(line, "model name", 10))
            printf("brand %d\n", !strncmp(strstr(line, ": ") + 2, brand, strlen(strstr(line, ": ") + 2)));
        if (strncmp(line, "flags", 5))
            continue;
        strcat(line, " ");
        for (unsigned i = 0; i < sizeof features / sizeof *features; i++) {
            __get_cpuid_count(features[i].leaf, features[i].leaf == 0xd, &r[A], &r[B], &r[C], &r[D]);
            sprintf(word, " %s ", features[i].name);
            printf("%s %d\n", features[i].name, (strstr(line, word) != NULL) == (r[features[i].reg] >> features[i].bit & 1));
        }
        break;
    }
    return 0;
}
