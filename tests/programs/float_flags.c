/* The flags of floating-point exceptions, as <fenv.h> shows them. */
#include <fenv.h>
#include <math.h>
#include <stdio.h>

#define FLAGS(what) \
    do { \
        feclearexcept(FE_ALL_EXCEPT); \
        what; \
        printf("%s: %x\n", #what, fetestexcept(FE_ALL_EXCEPT)); \
    } while (0)

static volatile double zero, one = 1, three = 3, huge = 1e308, tiny = 1e-308, result;
static volatile long double long_zero, long_one = 1, long_three = 3, long_result;
static volatile float narrow;
static volatile int integer;

int main(void)
{
    volatile double nothing = nan("");

    FLAGS(result = one / zero);
    FLAGS(result = zero / zero);
    FLAGS(result = huge * huge);
    FLAGS(result = tiny * tiny);
    FLAGS(result = one / three);
    FLAGS(result = one + three);
    FLAGS(result = sqrt(-one));
    FLAGS(integer = huge);
    FLAGS(integer = one / three);
    FLAGS(narrow = huge);
    FLAGS(integer = nothing < one);
    FLAGS(integer = nothing == one);
    FLAGS(result = rint(2.5 * one));
    FLAGS(result = exp(huge));
    FLAGS(result = log(zero));
    FLAGS(long_result = long_one / long_zero);
    FLAGS(long_result = long_one / long_three);
    FLAGS(long_result = sqrtl(-long_one));
    FLAGS(feraiseexcept(FE_OVERFLOW | FE_INVALID));
    FLAGS(result = one / three; fesetround(FE_UPWARD); result = one / three);
    printf("%a\n", result);
    fenv_t kept;
    FLAGS(feholdexcept(&kept); result = one / zero; fesetenv(&kept));
    FLAGS(feholdexcept(&kept); result = one / zero; feupdateenv(&kept));
    return 0;
}
