/* What receivers of packets are told with each: where it went, its time to live, when it came. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void receive(int from)
{
    char data[16], control[512], text[64];
    struct iovec piece = {data, sizeof data};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};

    printf("%zd", recvmsg(from, &message, 0));
    printf(" controllen %zu flags %x\n", message.msg_controllen, message.msg_flags);
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
        printf("  level %d type %d len %zu:", c->cmsg_level, c->cmsg_type, c->cmsg_len);
        if (c->cmsg_level != SOL_SOCKET)
            for (int i = 0; i < c->cmsg_len - CMSG_LEN(0); i++)
                printf(" %d", CMSG_DATA(c)[i]);
        puts("");
    }
}

int main(void)
{
    int one = 1;
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(34567)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(34568)};
    int a = socket(AF_INET, SOCK_DGRAM, 0), b = socket(AF_INET6, SOCK_DGRAM, 0), c = socket(AF_INET, SOCK_DGRAM, 0), d = socket(AF_INET6, SOCK_DGRAM, 0);

    printf("%d %d\n", bind(a, (void *)&four, sizeof four), bind(b, (void *)&six, sizeof six));
    four.sin_addr.s_addr = htonl(0x7f000001);
    six.sin6_addr = in6addr_loopback;
    sendto(c, "none", 4, 0, (void *)&four, sizeof four);
    receive(a);
    for (int option = 0; option < 3; option++)
        setsockopt(a, IPPROTO_IP, (int[]){IP_PKTINFO, IP_RECVTTL, IP_RECVTOS}[option], &one, 4);
    for (int option = 0; option < 3; option++)
        setsockopt(b, IPPROTO_IPV6, (int[]){IPV6_RECVPKTINFO, IPV6_RECVHOPLIMIT, IPV6_RECVTCLASS}[option], &one, 4);
    sendto(c, "one", 3, 0, (void *)&four, sizeof four);
    receive(a);
    four.sin_addr.s_addr = htonl(0x7f010203);
    connect(c, (void *)&four, sizeof four);
    send(c, "two", 3, 0);
    receive(a);
    setsockopt(a, SOL_SOCKET, SO_TIMESTAMP, &one, 4);
    send(c, "three", 5, 0);
    receive(a);
    setsockopt(a, SOL_SOCKET, SO_TIMESTAMPNS, &one, 4);
    send(c, "four", 4, 0);
    receive(a);
    sendto(d, "five", 4, 0, (void *)&six, sizeof six);
    receive(b);
    four.sin_port = htons(34568);
    sendto(d, "six", 3, 0, (void *)&four, sizeof four);
    receive(b);
    setsockopt(b, IPPROTO_IP, IP_PKTINFO, &one, 4);
    sendto(d, "seven", 5, 0, (void *)&four, sizeof four);
    receive(b);
    return 0;
}
