/* Functions that are overloaded, in a namespace, members, operators and templates, each of which calls the next. */
#define APART __attribute__((noinline, noclone))

namespace ns {
struct W {
    int v;
    APART W operator+(const W &other) const { asm(""); return W{v + other.v}; }
    APART int get(int k) const { asm(""); return v + k; }
};
APART int fn(int a) { asm(""); return a + 1; }
APART int fn(const char *s) { asm(""); return s[0]; }
template <class T> APART T same(T a) { asm(""); return a; }
} // namespace ns

extern "C" APART int plain(int a) { asm(""); return ns::fn(a) + 1; }

int main()
{
    ns::W w{3}, z{4};
    return (ns::fn("a") + w.get(2) + ns::same(3) + (w + z).v + plain(1)) == 0;
}
