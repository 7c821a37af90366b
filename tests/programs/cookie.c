/* Two sockets tell their numbers: one that nobody else asks for, and one that connects. */
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>

static unsigned long cookie(int socket)
{
    uint64_t number = 0;
    socklen_t size = sizeof number;

    getsockopt(socket, SOL_SOCKET, SO_COOKIE, &number, &size);
    return number;
}

int main(void)
{
    struct sockaddr_in address = {AF_INET, htons(8099), {htonl(INADDR_LOOPBACK)}};
    int listening = socket(AF_INET, SOCK_STREAM, 0), connecting = socket(AF_INET, SOCK_STREAM, 0), other = socket(AF_UNIX, SOCK_STREAM, 0);

    bind(listening, (void *)&address, sizeof address);
    listen(listening, 1);
    printf("other %lu\n", cookie(other));
    connect(connecting, (void *)&address, sizeof address);
    printf("connecting %lu\n", cookie(connecting));
    return 0;
}
