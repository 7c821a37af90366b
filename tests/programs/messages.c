/* POSIX message queues (mq_overview(7)) and the interfaces that getifaddrs(3) finds. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <mqueue.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "show.h"

static void told(int signo, siginfo_t *info, void *context)
{
    printf("told %d %d %d\n", info->si_code == SI_MESGQ, info->si_value.sival_int, info->si_pid == getpid());
}

static void queues(void)
{
    char text[64], name[64];
    unsigned priority;
    struct timespec when;
    sprintf(name, "/pyprobe-test-%d", getpid());
    struct mq_attr attributes = {.mq_maxmsg = 3, .mq_msgsize = 64};
    errno = 0;
    printf("%d %s\n", mq_open(name, O_RDWR) == -1, strerror(errno));
    mqd_t queue = mq_open(name, O_RDWR | O_CREAT | O_EXCL | O_NONBLOCK, 0600, &attributes);
    printf("%d\n", queue > 0);
    errno = 0;
    printf("%d %s\n", mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, NULL) == -1, strerror(errno));
    SHOW(mq_receive(queue, text, 64, &priority));
    SHOW(mq_receive(queue, text, 10, &priority));
    SHOW(mq_send(queue, "low", 4, 1));
    SHOW(mq_send(queue, "high", 5, 9));
    SHOW(mq_send(queue, "low again", 10, 1));
    SHOW(mq_send(queue, "full", 5, 1));
    mq_getattr(queue, &attributes);
    printf("%ld %ld %ld %lo\n", attributes.mq_maxmsg, attributes.mq_msgsize, attributes.mq_curmsgs, attributes.mq_flags);
    for (int i = 0; i < 3; i++) {
        SHOW(mq_receive(queue, text, 64, &priority));
        printf("%s %u\n", text, priority);
    }
    attributes.mq_flags = 0;
    mq_setattr(queue, &attributes, NULL);
    clock_gettime(CLOCK_REALTIME, &when);
    when.tv_sec += 1;
    SHOW(mq_timedreceive(queue, text, 64, NULL, &when));
    sigaction(SIGUSR1, &(struct sigaction){.sa_sigaction = told, .sa_flags = SA_SIGINFO}, NULL);
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 7};
    SHOW(mq_notify(queue, &event));
    SHOW(mq_notify(queue, &event));
    SHOW(mq_send(queue, "a", 2, 1));
    SHOW(mq_send(queue, "b", 2, 1));
    struct pollfd ready = {queue, POLLIN | POLLOUT};
    printf("%d %x\n", poll(&ready, 1, 0), ready.revents);
    mq_receive(queue, text, 64, NULL), mq_receive(queue, text, 64, NULL);
    fflush(stdout);
    if (!fork()) {
        usleep(10000);
        _exit(mq_send(queue, "child", 6, 2));
    }
    SHOW(mq_receive(queue, text, 64, NULL));
    wait(NULL);
    SHOW(mq_send(queue, "x", 2, 40000));
    SHOW(mq_unlink(name));
    SHOW(mq_unlink(name));
    SHOW(mq_send(queue, "still", 6, 0));
    SHOW(mq_close(queue));
    SHOW(mq_close(queue));
}

int main(void)
{
    struct ifaddrs *all;
    char text[64];
    queues();
    printf("%d\n", getifaddrs(&all));
    for (struct ifaddrs *one = all; one; one = one->ifa_next)
        if (!strcmp(one->ifa_name, "lo") && one->ifa_addr && one->ifa_addr->sa_family == AF_INET) {
            inet_ntop(AF_INET, &((struct sockaddr_in *)one->ifa_addr)->sin_addr, text, sizeof text);
            printf("%s %s %x\n", one->ifa_name, text, one->ifa_flags & (IFF_UP | IFF_LOOPBACK | IFF_RUNNING));
            inet_ntop(AF_INET, &((struct sockaddr_in *)one->ifa_netmask)->sin_addr, text, sizeof text);
            printf("%s\n", text);
        }
    printf("%u %s\n", if_nametoindex("lo"), if_indextoname(1, text));
    struct if_nameindex *names = if_nameindex();
    printf("%u %s\n", names[0].if_index, names[0].if_name);
    struct ifreq request = {.ifr_name = "lo"};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    printf("%d %x\n", ioctl(fd, SIOCGIFFLAGS, &request), request.ifr_flags & (IFF_UP | IFF_LOOPBACK));
    printf("%d %d\n", ioctl(fd, SIOCGIFMTU, &request), request.ifr_mtu);
    return 0;
}
