/* Sockets of many kinds, and what /proc/net says of them. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void show(const char *name)
{
    char text[8192];
    int file = open(name, O_RDONLY);
    ssize_t size;

    printf("%s\n", name);
    fflush(stdout);
    while ((size = read(file, text, sizeof text)) > 0)
        write(1, text, size);
}

int main(void)
{
    struct sockaddr_in address = {AF_INET, htons(8099), {htonl(INADDR_LOOPBACK)}}, any = {AF_INET, htons(53)};
    struct sockaddr_in6 six = {AF_INET6, htons(8098), 0, IN6ADDR_LOOPBACK_INIT};
    struct sockaddr_un named = {AF_UNIX, "/tmp/proc_net"}, hidden = {AF_UNIX, "\0hidden"};
    int listening = socket(AF_INET, SOCK_STREAM, 0), connected = socket(AF_INET, SOCK_STREAM, 0), accepted, pair[2];
    int listening6 = socket(AF_INET6, SOCK_STREAM, 0), connected6 = socket(AF_INET6, SOCK_STREAM, 0), idle = socket(AF_INET, SOCK_STREAM, 0);
    int bound = socket(AF_INET, SOCK_DGRAM, 0), bound6 = socket(AF_INET6, SOCK_DGRAM, 0), sender = socket(AF_INET, SOCK_DGRAM, 0);
    int stream = socket(AF_UNIX, SOCK_STREAM, 0), packets = socket(AF_UNIX, SOCK_DGRAM, 0), other = socket(AF_UNIX, SOCK_STREAM, 0);

    bind(listening, (void *)&address, sizeof address);
    listen(listening, 1);
    connect(connected, (void *)&address, sizeof address);
    show("/proc/net/tcp");
    accepted = accept(listening, 0, 0);
    write(connected, "hello", 5);
    usleep(300000);
    show("/proc/net/tcp");
    bind(listening6, (void *)&six, sizeof six);
    listen(listening6, 4);
    connect(connected6, (void *)&six, sizeof six);
    show("/proc/net/tcp6");
    bind(bound, (void *)&any, sizeof any);
    address.sin_port = htons(53);
    connect(sender, (void *)&address, sizeof address);
    six.sin6_port = htons(55);
    bind(bound6, (void *)&six, sizeof six);
    show("/proc/net/udp");
    show("/proc/net/udp6");
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    unlink(named.sun_path);
    bind(stream, (void *)&named, sizeof named);
    listen(stream, 3);
    bind(packets, (void *)&hidden, sizeof(sa_family_t) + 7);
    connect(other, (void *)&named, sizeof named);
    show("/proc/net/unix");
    show("/proc/net/sockstat");
    show("/proc/net/sockstat6");
    show("/proc/net/raw");
    show("/proc/net/arp");
    show("/proc/net/route");
    return 0;
}
