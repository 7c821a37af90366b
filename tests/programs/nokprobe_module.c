/* What a kernel module has that no kprobe may enter: functions listed by NOKPROBE_SYMBOL, and those of two sections. */
#define SECTION(name) __attribute__((noinline, section(name)))

int plain(int x) { return x * 3; }
int marked(int x) { return x * 5; }
static int (*listed)(int) __attribute__((used, section("_kprobe_blacklist"))) = marked;

SECTION(".kprobes.text") int in_section(int x) { return x * 7; }
SECTION(".noinstr.text") int uninstrumented(int x) { return x * 9; }
