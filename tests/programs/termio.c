/* The requests of System V on a terminal (struct termio), and how much there is to read from whatever descriptor 0 is;
   what becomes of finished lines when lines are edited no more. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "show.h"

int main(void)
{
    struct { unsigned short flags[4]; unsigned char line, cc[9]; } old;
    struct termios now;
    int master = posix_openpt(O_RDWR | O_NOCTTY), slave, count = -1;

    grantpt(master);
    unlockpt(master);
    slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    memset(&old, 0xee, sizeof old);
    SHOW(ioctl(slave, TCGETA, &old));
    for (int i = 0; i < 4; i++)
        printf("%x ", old.flags[i]);
    for (int i = 0; i < 9; i++)
        printf("%d%c", old.cc[i], i < 8 ? ' ' : '\n');
    old.flags[3] &= ~ECHO;
    old.cc[4] = 1;
    SHOW(ioctl(slave, TCSETA, &old));
    SHOW(ioctl(slave, TCSETAW, &old));
    SHOW(ioctl(slave, TCSETAF, &old));
    SHOW(tcgetattr(slave, &now));
    printf("%x %x %x %x", now.c_iflag, now.c_oflag, now.c_cflag, now.c_lflag);
    for (int i = 0; i < 17; i++)
        printf(" %d", now.c_cc[i]);
    SHOW(ioctl(slave, TIOCGLCKTRMIOS, &now));
    SHOW(ioctl(master, TCGETA, &old));
    SHOW(ioctl(0, TCGETA, &old));
    SHOW(ioctl(0, FIONREAD, &count));
    printf("%d\n", count);

    now.c_lflag |= ICANON;
    now.c_cc[VEOF] = 4;
    SHOW(tcsetattr(slave, TCSANOW, &now));
    SHOW(write(master, "\4ab\4c\nde", 9));
    for (count = 0; count != 4;) /* the end of the file is none of them; a kernel thread brings them */
        ioctl(slave, FIONREAD, &count);
    now.c_lflag &= ~ICANON;
    SHOW(tcsetattr(slave, TCSADRAIN, &now));
    for (char byte; ioctl(slave, FIONREAD, &count) == 0 && count > 0 && read(slave, &byte, 1) == 1;)
        printf("%d ", byte);
    return 0;
}
