/* Moving bytes through pipes without reading them: splice(2), tee(2), vmsplice(2), and what a socket that is full leaves in the pipe. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "show.h"

#define ALL 200000

static unsigned char sent[ALL], received[ALL];

int main(void)
{
    int one[2], two[2], pair[2], zero = open("/dev/zero", O_RDONLY), null = open("/dev/null", O_WRONLY), file;
    struct iovec part = {"abc", 3};
    loff_t offset = 0;
    char bytes[99];
    long moved = 0, got = 0, count;

    pipe(one);
    pipe(two);
    SHOW(splice(zero, 0, one[1], 0, 0, 0));
    SHOW(splice(-1, 0, one[1], 0, 0, 0));
    SHOW(splice(zero, 0, null, 0, 100, 0));
    SHOW(splice(one[0], 0, one[1], 0, 10, 0));
    SHOW(splice(zero, 0, one[1], 0, 10, 64));
    SHOW(splice(zero, 0, one[1], 0, 100, 0));
    SHOW(splice(one[0], &offset, null, 0, 100, 0));
    SHOW(tee(one[0], one[1], 5, 0));
    SHOW(tee(one[0], two[1], 0, 0));
    SHOW(tee(one[0], two[1], 5, 0));
    SHOW(tee(one[0], two[1], 5, 99));
    SHOW(splice(one[0], 0, null, 0, 1000, 0));
    SHOW(splice(one[0], 0, null, 0, 1000, SPLICE_F_NONBLOCK));
    SHOW(splice(two[0], 0, one[1], 0, 3, 0));
    SHOW(splice(one[0], 0, two[1], 0, 9, 0));
    SHOW(read(two[0], bytes, sizeof bytes));

    for (int i = 0; i < ALL; i++)
        sent[i] = i * 7 + i / 251;
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    fcntl(pair[0], F_SETFL, O_NONBLOCK);
    fcntl(one[1], F_SETPIPE_SZ, 1 << 20);
    SHOW(write(one[1], sent, ALL));
    do {
        while ((count = splice(one[0], 0, pair[0], 0, ALL, SPLICE_F_NONBLOCK)) > 0)
            moved += count;
        got += recv(pair[1], received + got, 3000, 0);
    } while (got < ALL);
    printf("%ld moved, %d\n", moved, memcmp(sent, received, ALL));

    file = open("splice.tmp", O_RDWR | O_CREAT | O_TRUNC, 0600);
    write(file, "0123456789", 10);
    offset = 2;
    SHOW(splice(file, &offset, one[1], 0, 4, 0));
    printf("%ld %ld\n", (long)offset, (long)lseek(file, 0, SEEK_CUR));
    SHOW(read(one[0], bytes, sizeof bytes));
    offset = 8;
    SHOW(splice(file, &offset, one[1], 0, 99, 0));
    SHOW(splice(file, &offset, one[1], 0, 99, 0));
    offset = 3;
    SHOW(splice(one[0], 0, file, &offset, 2, 0));
    pread(file, bytes, 10, 0);
    printf("%.10s\n", bytes);
    unlink("splice.tmp");
    SHOW(vmsplice(one[1], &part, 1, 0));
    SHOW(vmsplice(one[1], &part, 1, 99));
    SHOW(read(one[0], bytes, sizeof bytes));
    signal(SIGPIPE, SIG_IGN);
    close(one[0]);
    SHOW(splice(zero, 0, one[1], 0, 10, 0));
    close(two[1]);
    SHOW(splice(two[0], 0, null, 0, 10, 0));
    return 0;
}
