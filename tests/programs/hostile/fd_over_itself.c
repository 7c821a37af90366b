/* expect: any */
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
#include <sys/socket.h>

int main(void) { int s[2]; socketpair(AF_UNIX, SOCK_DGRAM, 0, s); for (int i = 0; i < 100; i++) { union { char b[CMSG_SPACE(4)]; struct cmsghdr h; } u; struct iovec v = {"x", 1}; struct msghdr m = {0, 0, &v, 1, u.b, sizeof u.b, 0}; u.h.cmsg_level = SOL_SOCKET; u.h.cmsg_type = SCM_RIGHTS; u.h.cmsg_len = CMSG_LEN(4); *(int *)CMSG_DATA(&u.h) = s[i & 1]; if (sendmsg(s[0], &m, MSG_DONTWAIT) < 0) break; } return 0; }
