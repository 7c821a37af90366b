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
#include <sys/epoll.h>

int main(void) { int a = epoll_create1(0), b = epoll_create1(0); struct epoll_event e = {EPOLLIN}; epoll_ctl(a, EPOLL_CTL_ADD, b, &e); return epoll_ctl(b, EPOLL_CTL_ADD, a, &e) == 0 ? 1 : 0; }
