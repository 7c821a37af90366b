/* Capabilities as user ids change, as they are set, and across exec; what they allow. Run as root. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "show.h"
#define CASE if (!fork()) { printf("-- line %d\n", __LINE__);
#define DONE fflush(stdout); _exit(0); } wait(0);

static struct __user_cap_data_struct data[2];
static struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};

static void sets(const char *when)
{
    memset(data, 0, sizeof data);
    syscall(SYS_capget, &header, data);
    const unsigned low = ~(1u << CAP_SYS_RESOURCE); /* some hosts keep it to themselves */
    printf("%s: e %x %x p %x %x i %x\n", when, data[0].effective & low, data[1].effective & 0x1ff, data[0].permitted & low,
           data[1].permitted & 0x1ff, data[0].inheritable);
}

static int set(unsigned effective, unsigned permitted, unsigned inheritable)
{
    memset(data, 0, sizeof data);
    data[0].effective = effective;
    data[0].permitted = permitted;
    data[0].inheritable = inheritable;
    return syscall(SYS_capset, &header, data);
}

static int port(int number)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(number), .sin_addr.s_addr = htonl(0x7f000001)};
    int file = socket(AF_INET, SOCK_STREAM, 0), result = bind(file, (void *)&address, sizeof address);
    close(file);
    return result;
}

int main(int count, char **arguments)
{
    setvbuf(stdout, 0, _IOLBF, 0);
    if (count > 1) {
        sets("after exec");
        printf("secure %ld ambient %d\n", getauxval(AT_SECURE), prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_NET_BIND_SERVICE, 0, 0));
        return 0;
    }
    char *again[] = {arguments[0], "x", 0};
    int secret = open("/tmp/pyprobe-secret", O_CREAT | O_WRONLY, 0600);

    sets("at first");
    CASE SHOW(setuid(1000)); sets("dropped"); SHOW(setuid(0)); SHOW(port(83)); SHOW(open("/tmp/pyprobe-secret", O_RDONLY)); execv(again[0], again); DONE
    CASE SHOW(seteuid(1000)); sets("set aside"); SHOW(port(83)); SHOW(seteuid(0)); sets("back"); SHOW(port(83)); DONE
    CASE SHOW(prctl(PR_SET_KEEPCAPS, 1)); SHOW(setresuid(1000, 1000, 1000)); sets("kept"); SHOW(port(83));
        SHOW(set(1 << CAP_NET_BIND_SERVICE, 1 << CAP_NET_BIND_SERVICE, 0)); sets("one"); SHOW(port(83)); SHOW(setuid(0));
        SHOW(set(3, 3, 0)); SHOW(kill(getppid(), 0)); SHOW(open("/tmp/pyprobe-secret", O_RDONLY)); execv(again[0], again); DONE
    CASE SHOW(prctl(PR_SET_KEEPCAPS, 1)); SHOW(setresuid(1000, 1000, 1000)); unsigned some = 1 << CAP_NET_BIND_SERVICE;
        SHOW(set(some, some, some)); SHOW(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_CHOWN, 0, 0));
        SHOW(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_BIND_SERVICE, 0, 0)); execv(again[0], again); DONE
    CASE SHOW(set(0, 0, 0)); sets("none"); SHOW(open("/tmp/pyprobe-secret", O_RDONLY) > 0); SHOW(port(83)); SHOW(setuid(5)); SHOW(chroot("/"));
        SHOW(fchmod(secret, 0400)); SHOW(open("/tmp/pyprobe-secret", O_WRONLY)); SHOW(access("/tmp/pyprobe-secret", W_OK)); SHOW(fchown(secret, 1, 1));
        SHOW(setgroups(0, 0)); SHOW(mknod("/tmp/pyprobe-node", S_IFCHR | 0600, 259)); execv(again[0], again); DONE
    CASE unsigned search = 1 << CAP_DAC_READ_SEARCH | 1 << CAP_SETUID; SHOW(set(search, search, 0)); SHOW(setfsuid(1000)); SHOW(setfsuid(-1));
        SHOW(open("/tmp/pyprobe-secret", O_RDONLY)); sets("other files"); SHOW(setfsuid(0)); sets("own files"); DONE
    CASE SHOW(prctl(PR_CAPBSET_READ, 63)); SHOW(prctl(PR_CAPBSET_DROP, CAP_CHOWN)); SHOW(prctl(PR_CAPBSET_READ, CAP_CHOWN)); execv(again[0], again); DONE
    CASE header.pid = 1; SHOW(syscall(SYS_capset, &header, data)); header.pid = -1; SHOW(syscall(SYS_capget, &header, data)); header.version = 5; header.pid = 0;
        SHOW(syscall(SYS_capget, &header, data)); printf("%x\n", header.version); header.version = 5; SHOW(syscall(SYS_capget, &header, 0));
        header.version = 5; SHOW(syscall(SYS_capset, &header, data)); DONE
    unlink("/tmp/pyprobe-secret");
    return 0;
}
