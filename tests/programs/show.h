/* Prints a call, what it returned, and its error: the same lines from every kernel that answers alike. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SHOW(call)                                                                     \
    do {                                                                               \
        errno = 0;                                                                     \
        long result_ = (long)(call);                                                   \
        printf("%s: %ld %s\n", #call, result_, result_ == -1 ? strerror(errno) : ""); \
    } while (0)
