/* expect: exit 0 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

int main(void) {
    struct sockaddr_in a = {AF_INET, htons(80)};
    inet_pton(AF_INET, "1.1.1.1", &a.sin_addr);
    int s = socket(AF_INET, SOCK_STREAM, 0);
    return connect(s, (void *)&a, sizeof a) == 0 || socket(AF_PACKET, SOCK_RAW, 0) >= 0;
}
