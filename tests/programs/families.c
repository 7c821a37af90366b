/* One function for each family of system calls, each run in a process of its own and printing what every call returned. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/futex.h>
#include <linux/stat.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/times.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <termios.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "show.h"
#define TEST(name) static void name(void)
static char buf[65536];
static void text(const char *p, const char *s)
{
    int f = open(p, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    write(f, s, strlen(s));
    close(f);
}

TEST(locks_ofd)
{
    int a = open("l", O_RDWR | O_CREAT, 0600), b = open("l", O_RDWR);
    struct flock x = {.l_type = F_WRLCK, .l_whence = 0, .l_start = 10, .l_len = 5};
    SHOW(fcntl(a, F_OFD_SETLK, &x));
    x.l_pid = 0;
    x.l_start = 12;
    x.l_len = 1;
    SHOW(fcntl(b, F_OFD_SETLK, &x));
    x.l_type = F_RDLCK;
    x.l_start = 0;
    x.l_len = 0;
    SHOW(fcntl(b, F_OFD_GETLK, &x));
    printf("%d %ld %ld %d\n", x.l_type, (long)x.l_start, (long)x.l_len, x.l_pid);
    x.l_pid = 5;
    SHOW(fcntl(b, F_OFD_SETLK, &x));
    close(a);
    x.l_pid = 0;
    x.l_type = F_WRLCK;
    SHOW(fcntl(b, F_OFD_SETLK, &x));
}
TEST(locks_posix)
{
    int a = open("l2", O_RDWR | O_CREAT, 0600);
    struct flock x = {.l_type = F_WRLCK, .l_len = 100};
    SHOW(fcntl(a, F_SETLK, &x));
    x.l_type = F_UNLCK;
    x.l_start = 40;
    x.l_len = 10;
    SHOW(fcntl(a, F_SETLK, &x));
    fflush(stdout);
    if (!fork()) {
        struct flock y = {.l_type = F_RDLCK, .l_start = 0, .l_len = 0};
        fcntl(a, F_GETLK, &y);
        printf("%d %ld %ld %d\n", y.l_type, (long)y.l_start, (long)y.l_len, y.l_pid == getppid());
        y = (struct flock){.l_type = F_RDLCK, .l_start = 42, .l_len = 3};
        SHOW(fcntl(a, F_SETLK, &y));
        y.l_start = 50;
        SHOW(fcntl(a, F_SETLK, &y));
        fflush(stdout);
        _exit(0);
    }
    wait(0);
    int r = open("l2", O_RDONLY);
    struct flock z = {.l_type = F_WRLCK};
    SHOW(fcntl(r, F_SETLK, &z));
    z.l_len = -1;
    SHOW(fcntl(a, F_SETLK, &z));
    close(r);
    fflush(stdout);
    if (!fork()) {
        struct flock y = {.l_type = F_RDLCK};
        SHOW(fcntl(a, F_SETLK, &y));
        fflush(stdout);
        _exit(0);
    }
    wait(0);
    /* deadlock */ int p[2];
    pipe(p);
    struct flock l0 = {.l_type = F_WRLCK, .l_start = 0, .l_len = 1}, l1 = {.l_type = F_WRLCK, .l_start = 1, .l_len = 1};
    fcntl(a, F_SETLK, &l0);
    int c = fork();
    if (!c) {
        fcntl(a, F_SETLK, &l1);
        write(p[1], "x", 1);
        int q = fcntl(a, F_SETLKW, &l0);
        _exit(q);
    }
    read(p[0], buf, 1);
    usleep(20000);
    SHOW(fcntl(a, F_SETLKW, &l1));
    kill(c, 9);
    wait(0);
}
TEST(flocks)
{
    int a = open("l3", O_RDWR | O_CREAT, 0600), b = open("l3", O_RDWR);
    SHOW(flock(a, LOCK_EX));
    SHOW(flock(b, LOCK_SH | LOCK_NB));
    int d = dup(a);
    close(a);
    SHOW(flock(b, LOCK_SH | LOCK_NB));
    SHOW(flock(d, LOCK_SH));
    SHOW(flock(b, LOCK_SH | LOCK_NB));
    SHOW(flock(d, LOCK_EX | LOCK_NB));
    SHOW(flock(d, LOCK_UN));
    SHOW(flock(b, LOCK_EX | LOCK_NB));
    SHOW(flock(b, 77));
}
TEST(vectors)
{
    int f = open("v", O_RDWR | O_CREAT | O_TRUNC, 0600);
    struct iovec w[2] = {{"hello ", 6}, {"world", 5}};
    SHOW(pwritev2(f, w, 2, 0, 0));
    SHOW(pwritev2(f, w, 1, -1, 0));
    SHOW(pwritev2(f, w, 1, 0, RWF_APPEND));
    char a[4] = {0}, b[20] = {0};
    struct iovec r[2] = {{a, 3}, {b, 19}};
    SHOW(preadv2(f, r, 2, 0, 0));
    printf("%s|%s\n", a, b);
    SHOW(preadv(f, r, 2, 100));
    SHOW(preadv2(f, r, 2, 0, 0x1000));
    SHOW(readv(f, r, -1));
    SHOW(readv(f, r, 0));
    SHOW(pread(f, a, 1, -5));
    SHOW(lseek(f, 0, SEEK_CUR));
}
TEST(copying)
{
    text("c1", "0123456789");
    int a = open("c1", O_RDONLY), b = open("c2", O_RDWR | O_CREAT | O_TRUNC, 0600);
    off_t i = 2, o = 3;
    SHOW(copy_file_range(a, &i, b, &o, 5, 0));
    printf("%ld %ld\n", (long)i, (long)o);
    SHOW(copy_file_range(a, 0, b, 0, 100, 0));
    SHOW(copy_file_range(a, 0, b, 0, 100, 0));
    SHOW(copy_file_range(a, 0, b, 0, 1, 1));
    SHOW(copy_file_range(b, 0, a, 0, 1, 0));
    i = 0;
    SHOW(sendfile(b, a, &i, 4));
    printf("%ld %ld\n", (long)i, (long)lseek(b, 0, SEEK_CUR));
    lseek(b, 0, 0);
    int n = read(b, buf, 100);
    for (int k = 0; k < n; k++)
        printf("%02x", (unsigned char)buf[k]);
    puts("");
    int ap = open("c2", O_WRONLY | O_APPEND);
    SHOW(sendfile(ap, a, &i, 4));
    SHOW(copy_file_range(a, 0, ap, 0, 4, 0));
}
TEST(splices)
{
    int p[2], q[2];
    pipe(p);
    pipe(q);
    text("s", "splice me");
    int f = open("s", O_RDONLY);
    SHOW(splice(f, 0, p[1], 0, 100, 0));
    SHOW(tee(p[0], q[1], 4, 0));
    SHOW(read(q[0], buf, 100));
    int o = open("s2", O_RDWR | O_CREAT | O_TRUNC, 0600);
    loff_t at = 3;
    SHOW(splice(p[0], 0, o, &at, 6, 0));
    printf("%ld\n", (long)at);
    SHOW(splice(p[0], 0, o, 0, 100, SPLICE_F_NONBLOCK));
    SHOW(splice(p[0], 0, o, 0, 100, SPLICE_F_NONBLOCK));
    SHOW(splice(f, 0, o, 0, 10, 0));
    SHOW(splice(p[0], &at, o, 0, 10, 0));
    struct iovec v = {"vmsplice", 8};
    SHOW(vmsplice(p[1], &v, 1, 0));
    SHOW(read(p[0], buf, 100));
    SHOW(fcntl(p[0], F_GETPIPE_SZ));
    SHOW(fcntl(p[0], F_SETPIPE_SZ, 5000));
    SHOW(fcntl(p[0], F_SETPIPE_SZ, 100));
}
TEST(tmpfile_)
{
    int f = open(".", O_TMPFILE | O_RDWR, 0640);
    printf("%d\n", f > 0);
    write(f, "tmp", 3);
    char n[64];
    sprintf(n, "/proc/self/fd/%d", f);
    struct stat s;
    fstat(f, &s);
    printf("%ld %o\n", (long)s.st_nlink, s.st_mode);
    SHOW(linkat(AT_FDCWD, n, AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
    fstat(f, &s);
    printf("%ld\n", (long)s.st_nlink);
    SHOW(open(".", O_TMPFILE | O_RDONLY, 0600));
    SHOW(open("named", O_TMPFILE | O_RDWR, 0600));
    int g = open(".", O_TMPFILE | O_RDWR | O_EXCL, 0600);
    sprintf(n, "/proc/self/fd/%d", g);
    SHOW(linkat(AT_FDCWD, n, AT_FDCWD, "named2", AT_SYMLINK_FOLLOW));
    SHOW(linkat(f, "", AT_FDCWD, "named3", AT_EMPTY_PATH));
}
TEST(renames)
{
    text("r1", "1");
    text("r2", "22");
    SHOW(renameat2(AT_FDCWD, "r1", AT_FDCWD, "r2", RENAME_NOREPLACE));
    SHOW(renameat2(AT_FDCWD, "r1", AT_FDCWD, "r2", RENAME_EXCHANGE));
    struct stat s;
    stat("r1", &s);
    printf("%ld\n", (long)s.st_size);
    SHOW(renameat2(AT_FDCWD, "r1", AT_FDCWD, "none", RENAME_EXCHANGE));
    SHOW(renameat2(AT_FDCWD, "r1", AT_FDCWD, "r2", RENAME_EXCHANGE | RENAME_NOREPLACE));
    mkdir("d1", 0755);
    mkdir("d1/d2", 0755);
    SHOW(rename("d1", "d1/d2/d3"));
    SHOW(rename("r1", "d1"));
    SHOW(rename("d1", "r1"));
    mkdir("d4", 0755);
    SHOW(rename("d4", "d1"));
    SHOW(rename("d1/d2", "d4"));
    SHOW(rename("d1/.", "d5"));
    SHOW(rename("nope", "d5"));
    SHOW(rename("r1", "r1"));
    link("r1", "r1l");
    SHOW(rename("r1", "r1l"));
    SHOW(access("r1", F_OK));
    SHOW(rename("r1/", "x"));
    SHOW(rename("", ""));
}
TEST(limits)
{
    struct rlimit r;
    for (int i = 0; i < 3; i++) {
        getrlimit(RLIMIT_CORE, &r);
    }
    r.rlim_cur = 20;
    r.rlim_max = 30;
    SHOW(setrlimit(RLIMIT_NOFILE, &r));
    SHOW(dup2(0, 20));
    SHOW(dup2(0, 19));
    SHOW(fcntl(0, F_DUPFD, 20));
    int n = 0;
    while (dup(0) >= 0)
        n++;
    printf("%d %s\n", n > 0, strerror(errno));
    SHOW(prlimit(0, RLIMIT_NOFILE, 0, &r));
    printf("%ld %ld\n", (long)r.rlim_cur, (long)r.rlim_max);
    SHOW(prlimit(0, 99, 0, &r));
    r.rlim_cur = 40;
    SHOW(setrlimit(RLIMIT_NOFILE, &r));
    SHOW(prlimit(99999, RLIMIT_NOFILE, 0, &r));
    r.rlim_cur = r.rlim_max = 0;
    SHOW(setrlimit(RLIMIT_FSIZE, &r));
    signal(SIGXFSZ, SIG_IGN);
    close(19);
    int f = open("lim", O_WRONLY | O_CREAT, 0600);
    SHOW(write(f, "x", 1));
    SHOW(ftruncate(f, 5));
}
TEST(caps)
{
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct d[2];
    SHOW(syscall(SYS_capget, &h, d));
    printf("%d\n", d[0].effective != 0);
    h.version = 1;
    SHOW(syscall(SYS_capget, &h, d));
    printf("%x\n", h.version);
    SHOW(prctl(PR_CAPBSET_READ, 0));
    SHOW(prctl(PR_CAPBSET_READ, 99));
    SHOW(prctl(PR_SET_KEEPCAPS, 1));
    SHOW(prctl(PR_GET_KEEPCAPS));
    SHOW(prctl(PR_SET_NAME, "averylongnameforatask"));
    prctl(PR_GET_NAME, buf);
    puts(buf);
    SHOW(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    SHOW(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    SHOW(prctl(PR_SET_DUMPABLE, 5));
    SHOW(prctl(PR_GET_DUMPABLE));
    SHOW(prctl(12345));
    SHOW(prctl(PR_SET_PDEATHSIG, SIGUSR1));
    int v;
    prctl(PR_GET_PDEATHSIG, &v);
    printf("%d\n", v);
    SHOW(prctl(PR_GET_TIMERSLACK));
    SHOW(prctl(PR_SET_TIMERSLACK, 100));
    SHOW(prctl(PR_GET_TIMERSLACK));
    SHOW(prctl(PR_GET_SECCOMP));
}
static volatile int hits;
static siginfo_t last;
static int order[50], norder;
static void onsig(int s, siginfo_t *i, void *c)
{
    hits++;
    last = *i;
    if (norder < 50)
        order[norder++] = s == SIGRTMIN ? 1000 + i->si_value.sival_int : s;
}
static void catch (int s, int f)
{
    struct sigaction a = {.sa_sigaction = onsig, .sa_flags = SA_SIGINFO | f};
    sigaction(s, &a, 0);
}
TEST(sig_queue)
{
    catch (SIGRTMIN, 0);
    catch (SIGUSR1, 0);
    catch (SIGUSR2, 0);
    sigset_t m;
    sigfillset(&m);
    sigprocmask(SIG_BLOCK, &m, 0);
    for (int i = 0; i < 3; i++)
        sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = i});
    kill(getpid(), SIGUSR2);
    kill(getpid(), SIGUSR1);
    kill(getpid(), SIGUSR1);
    sigpending(&m);
    printf("%d %d\n", sigismember(&m, SIGUSR1), sigismember(&m, SIGHUP));
    sigemptyset(&m);
    sigprocmask(SIG_SETMASK, &m, 0);
    for (int i = 0; i < norder; i++)
        printf("%d ", order[i]);
    printf("\n%d %d %d\n", last.si_code, last.si_pid == getpid(), last.si_uid == getuid());
}
TEST(sig_wait)
{
    sigset_t m;
    sigemptyset(&m);
    sigaddset(&m, SIGUSR1);
    sigprocmask(SIG_BLOCK, &m, 0);
    siginfo_t i;
    struct timespec z = {0, 1000000};
    SHOW(sigtimedwait(&m, &i, &z));
    kill(getpid(), SIGUSR1);
    SHOW(sigtimedwait(&m, &i, &z));
    printf("%d %d\n", i.si_code, i.si_signo);
    int f = signalfd(-1, &m, SFD_NONBLOCK);
    struct signalfd_siginfo s;
    SHOW(read(f, &s, sizeof s));
    sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 42});
    SHOW(read(f, &s, sizeof s));
    printf("%d %d %d %d %d\n", s.ssi_signo, s.ssi_code, s.ssi_int, s.ssi_pid == getpid(), s.ssi_uid);
    SHOW(read(f, &s, 10));
    sigaddset(&m, SIGCHLD);
    sigprocmask(SIG_BLOCK, &m, 0);
    fflush(stdout);
    if (!fork()) {
        _exit(7);
    }
    SHOW(sigwaitinfo(&m, &i));
    printf("%d %d %d\n", i.si_code, i.si_status, i.si_uid);
    wait(0);
}
TEST(sig_flags)
{
    catch (SIGUSR1, SA_RESETHAND);
    raise(SIGUSR1);
    struct sigaction a;
    sigaction(SIGUSR1, 0, &a);
    printf("%d %d\n", hits, a.sa_handler == SIG_DFL);
    SHOW(sigaction(SIGKILL, &a, 0));
    SHOW(sigaction(99, 0, &a));
    SHOW((long)signal(SIGKILL, SIG_IGN));
    int p[2];
    pipe(p);
    catch (SIGALRM, SA_RESTART);
    ualarm(20000, 0);
    fflush(stdout);
    if (!fork()) {
        usleep(60000);
        write(p[1], "x", 1);
        _exit(0);
    }
    SHOW(read(p[0], buf, 1));
    wait(0);
    printf("%d\n", hits);
    catch (SIGALRM, 0);
    ualarm(20000, 0);
    SHOW(read(p[0], buf, 1));
    ualarm(20000, 0);
    SHOW(usleep(1000000));
    ualarm(20000, 0);
    struct timespec r = {1, 0};
    SHOW(nanosleep(&r, &r));
    printf("%d\n", r.tv_sec == 0 && r.tv_nsec > 900000000);
    ualarm(20000, 0);
    SHOW(poll(0, 0, 1000));
    ualarm(20000, 0);
    SHOW(pause());
    ualarm(20000, 0);
    SHOW(wait(0));
    catch (SIGALRM, SA_RESTART);
    ualarm(20000, 0);
    SHOW(select(0, 0, 0, 0, &(struct timeval){0, 50000}));
    ualarm(20000, 0);
    SHOW(epoll_wait(epoll_create1(0), (void *)buf, 1, 50));
}
TEST(events)
{
    int f = eventfd(3, EFD_SEMAPHORE | EFD_NONBLOCK);
    unsigned long long n;
    SHOW(read(f, &n, 8));
    printf("%llu\n", n);
    n = 5;
    SHOW(write(f, &n, 8));
    SHOW(read(f, &n, 8));
    n = -1;
    SHOW(write(f, &n, 8));
    SHOW(write(f, &n, 4));
    int g = eventfd(0, EFD_NONBLOCK);
    SHOW(read(g, &n, 8));
    n = 0xfffffffffffffffeULL;
    SHOW(write(g, &n, 8));
    n = 1;
    SHOW(write(g, &n, 8));
    SHOW(read(g, &n, 8));
    printf("%llx\n", n);
    SHOW(lseek(g, 0, 0));
    SHOW(eventfd(0, 999));
}
TEST(epolls)
{
    int e = epoll_create1(0), p[2];
    pipe(p);
    struct epoll_event v = {EPOLLIN | EPOLLET, {.u32 = 7}}, o[4];
    SHOW(epoll_ctl(e, EPOLL_CTL_ADD, p[0], &v));
    SHOW(epoll_ctl(e, EPOLL_CTL_ADD, p[0], &v));
    SHOW(epoll_wait(e, o, 4, 0));
    write(p[1], "a", 1);
    SHOW(epoll_wait(e, o, 4, 0));
    printf("%x %u\n", o[0].events, o[0].data.u32);
    SHOW(epoll_wait(e, o, 4, 0));
    write(p[1], "a", 1);
    SHOW(epoll_wait(e, o, 4, 0));
    v.events = EPOLLIN | EPOLLONESHOT;
    SHOW(epoll_ctl(e, EPOLL_CTL_MOD, p[0], &v));
    SHOW(epoll_wait(e, o, 4, 0));
    SHOW(epoll_wait(e, o, 4, 0));
    v.events = EPOLLIN;
    epoll_ctl(e, EPOLL_CTL_MOD, p[0], &v);
    int e2 = epoll_create1(0);
    SHOW(epoll_ctl(e2, EPOLL_CTL_ADD, e, &v));
    SHOW(epoll_wait(e2, o, 4, 0));
    SHOW(epoll_ctl(e, EPOLL_CTL_ADD, e2, &v));
    SHOW(epoll_ctl(e, EPOLL_CTL_ADD, e, &v));
    int f = open("ep", O_RDWR | O_CREAT, 0600);
    SHOW(epoll_ctl(e, EPOLL_CTL_ADD, f, &v));
    SHOW(epoll_ctl(e, EPOLL_CTL_DEL, f, &v));
    SHOW(epoll_ctl(e, EPOLL_CTL_DEL, p[0], 0));
    SHOW(epoll_wait(e, o, 0, 0));
    SHOW(epoll_create(0));
    v.events = EPOLLOUT | EPOLLIN;
    epoll_ctl(e, EPOLL_CTL_ADD, p[1], &v);
    close(p[0]);
    SHOW(epoll_wait(e, o, 4, 0));
    printf("%x\n", o[0].events);
    SHOW(epoll_ctl(e, EPOLL_CTL_ADD, 99, &v));
    struct timespec z = {0, 1000};
    SHOW(epoll_pwait2(e, o, 4, &z, 0));
}
TEST(polls)
{
    int p[2];
    pipe(p);
    struct pollfd f[4] = {{p[0], POLLIN}, {p[1], POLLOUT}, {-1, POLLIN}, {99, POLLIN}};
    SHOW(poll(f, 4, 0));
    for (int i = 0; i < 4; i++)
        printf("%x ", f[i].revents);
    close(p[1]);
    SHOW(poll(f, 1, -1));
    printf("%x\n", f[0].revents);
    int q[2];
    pipe(q);
    close(q[0]);
    f[0] = (struct pollfd){q[1], POLLOUT};
    SHOW(poll(f, 1, -1));
    printf("%x\n", f[0].revents);
    fd_set r;
    FD_ZERO(&r);
    FD_SET(20, &r);
    SHOW(select(21, &r, 0, 0, 0));
    struct timeval z = {0, 10000};
    FD_ZERO(&r);
    SHOW(select(0, &r, 0, 0, &z));
    printf("%ld\n", (long)z.tv_usec);
    int d = open("/dev/null", O_RDWR);
    FD_SET(d, &r);
    fd_set w = r;
    SHOW(select(d + 1, &r, &w, 0, 0));
    sigset_t m;
    sigfillset(&m);
    catch (SIGUSR1, 0);
    sigprocmask(SIG_BLOCK, &m, 0);
    raise(SIGUSR1);
    sigemptyset(&m);
    SHOW(pselect(0, 0, 0, 0, &(struct timespec){1, 0}, &m));
    printf("%d\n", hits);
    SHOW(ppoll(0, 0, &(struct timespec){0, -1}, 0));
    SHOW(select(-1, 0, 0, 0, 0));
}
TEST(pipes)
{
    int p[2];
    SHOW(pipe2(p, O_DIRECT | O_NONBLOCK));
    SHOW(write(p[1], "abc", 3));
    SHOW(write(p[1], "defg", 4));
    SHOW(read(p[0], buf, 2));
    SHOW(read(p[0], buf, 10));
    SHOW(read(p[0], buf, 10));
    SHOW(pipe2(p, 0x1));
    signal(SIGPIPE, SIG_IGN);
    close(p[0]);
    SHOW(write(p[1], "x", 1));
    pipe2(p, O_NONBLOCK);
    int n = 0;
    while (write(p[1], buf, 4096) > 0)
        n++;
    printf("%d %s\n", n, strerror(errno));
    SHOW(write(p[1], buf, 1));
    read(p[0], buf, 4096);
    SHOW(write(p[1], buf, 1));
    int b;
    ioctl(p[0], FIONREAD, &b);
    printf("%d\n", b);
    SHOW(lseek(p[0], 0, 0));
    SHOW(fcntl(p[0], F_GETFL));
    SHOW(write(p[0], "x", 1));
    SHOW(read(p[1], buf, 1));
    mkfifo("ff", 0600);
    SHOW(open("ff", O_WRONLY | O_NONBLOCK));
    int r = open("ff", O_RDONLY | O_NONBLOCK);
    SHOW(read(r, buf, 1));
    int w = open("ff", O_WRONLY);
    SHOW(read(r, buf, 1));
    close(w);
    SHOW(read(r, buf, 1));
}
TEST(unix_rights)
{
    int s[2], p[2];
    socketpair(AF_UNIX, SOCK_STREAM, 0, s);
    pipe(p);
    char cb[CMSG_SPACE(8)] = {0};
    struct iovec v = {"hi", 2};
    struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = cb, .msg_controllen = CMSG_SPACE(4)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&h);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(4);
    *(int *)CMSG_DATA(c) = p[1];
    SHOW(sendmsg(s[0], &h, 0));
    v.iov_base = buf;
    h.msg_controllen = sizeof cb;
    SHOW(recvmsg(s[1], &h, MSG_CMSG_CLOEXEC));
    c = CMSG_FIRSTHDR(&h);
    int f = *(int *)CMSG_DATA(c);
    printf("%d %ld\n", c->cmsg_type, (long)c->cmsg_len);
    SHOW(write(f, "via", 3));
    SHOW(read(p[0], buf, 9));
    SHOW(fcntl(f, F_GETFD));
    struct ucred u;
    socklen_t l = sizeof u;
    SHOW(getsockopt(s[0], SOL_SOCKET, SO_PEERCRED, &u, &l));
    printf("%d %d\n", u.pid == getpid(), u.uid == getuid());
    int on = 1;
    setsockopt(s[1], SOL_SOCKET, SO_PASSCRED, &on, 4);
    write(s[0], "x", 1);
    char cb2[100];
    h.msg_control = cb2;
    h.msg_controllen = sizeof cb2;
    v.iov_base = buf;
    SHOW(recvmsg(s[1], &h, 0));
    c = CMSG_FIRSTHDR(&h);
    printf("%d %d\n", c->cmsg_type, ((struct ucred *)CMSG_DATA(c))->pid == getpid());
    h.msg_controllen = 0;
    write(s[0], "y", 1);
    SHOW(recvmsg(s[1], &h, MSG_DONTWAIT));
    printf("%x\n", h.msg_flags);
}
TEST(unix_names)
{
    int a = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un u = {AF_UNIX, "us"};
    SHOW(bind(a, (void *)&u, sizeof u));
    SHOW(bind(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&u, sizeof u));
    SHOW(connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&u, sizeof u));
    SHOW(listen(a, 1));
    int b = socket(AF_UNIX, SOCK_STREAM, 0);
    SHOW(connect(b, (void *)&u, sizeof u));
    int c = accept(a, 0, 0);
    printf("%d\n", c > 0);
    SHOW(write(b, "hello", 5));
    SHOW(recv(c, buf, 2, MSG_PEEK));
    SHOW(recv(c, buf, 9, 0));
    SHOW(shutdown(b, SHUT_WR));
    SHOW(read(c, buf, 9));
    SHOW(write(c, "back", 4));
    SHOW(read(b, buf, 9));
    close(c);
    SHOW(read(b, buf, 9));
    socklen_t l = sizeof u;
    struct sockaddr_un n;
    SHOW(getsockname(a, (void *)&n, &l));
    printf("%d %s\n", l, n.sun_path);
    l = sizeof n;
    SHOW(getpeername(b, (void *)&n, &l));
    printf("%d\n", l);
    struct stat s;
    stat("us", &s);
    printf("%o\n", s.st_mode);
    struct sockaddr_un x = {AF_UNIX};
    memcpy(x.sun_path, "\0abs", 4);
    int d = socket(AF_UNIX, SOCK_DGRAM, 0);
    SHOW(bind(d, (void *)&x, 6));
    int e = socket(AF_UNIX, SOCK_DGRAM, 0);
    SHOW(sendto(e, "dg", 2, 0, (void *)&x, 6));
    l = sizeof n;
    SHOW(recvfrom(d, buf, 9, 0, (void *)&n, &l));
    printf("%d\n", l);
    SHOW(sendto(e, "x", 1, 0, (void *)&u, sizeof u));
    SHOW(open("us", O_RDWR));
    SHOW(accept(b, 0, 0));
    SHOW(listen(d, 1));
    int q[2];
    socketpair(AF_UNIX, SOCK_SEQPACKET, 0, q);
    write(q[0], "one", 3);
    write(q[0], "two2", 4);
    SHOW(read(q[1], buf, 2));
    SHOW(read(q[1], buf, 9));
    SHOW(recv(q[1], buf, 9, MSG_DONTWAIT));
}
TEST(udp)
{
    int a = socket(AF_INET, SOCK_DGRAM, 0), b = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in s = {AF_INET, 0, {htonl(INADDR_LOOPBACK)}}, f;
    SHOW(bind(a, (void *)&s, sizeof s));
    socklen_t l = sizeof s;
    getsockname(a, (void *)&s, &l);
    SHOW(sendto(b, "hello", 5, 0, (void *)&s, sizeof s));
    l = sizeof f;
    SHOW(recvfrom(a, buf, 3, MSG_TRUNC, (void *)&f, &l));
    printf("%d %d\n", l, f.sin_family);
    SHOW(sendto(a, "", 0, 0, (void *)&f, sizeof f));
    SHOW(recv(b, buf, 9, 0));
    SHOW(recv(b, buf, 9, MSG_DONTWAIT));
    SHOW(connect(b, (void *)&s, sizeof s));
    SHOW(send(b, "x", 1, 0));
    close(a);
    SHOW(send(b, "x", 1, 0));
    usleep(1000);
    SHOW(send(b, "x", 1, 0));
    SHOW(send(socket(AF_INET, SOCK_DGRAM, 0), "x", 1, 0));
    struct timeval t = {0, 20000};
    setsockopt(b, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    SHOW(recv(b, buf, 9, 0));
    SHOW(recv(b, buf, 9, 0));
    struct mmsghdr m[2] = {0};
    struct iovec v = {"mm", 2};
    m[0].msg_hdr.msg_iov = m[1].msg_hdr.msg_iov = &v;
    m[0].msg_hdr.msg_iovlen = m[1].msg_hdr.msg_iovlen = 1;
    int q[2];
    socketpair(AF_UNIX, SOCK_DGRAM, 0, q);
    SHOW(sendmmsg(q[0], m, 2, 0));
    v.iov_base = buf;
    SHOW(recvmmsg(q[1], m, 2, 0, 0));
    printf("%d\n", m[1].msg_len);
}
TEST(maps)
{
    int f = open("mp", O_RDWR | O_CREAT | O_TRUNC, 0600);
    ftruncate(f, 8192);
    char *p = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, f, 0);
    strcpy(p, "shared");
    pread(f, buf, 7, 0);
    puts(buf);
    pwrite(f, "file", 5, 4096);
    puts(p + 4096);
    fflush(stdout);
    if (!fork()) {
        strcpy(p, "child");
        _exit(0);
    }
    wait(0);
    puts(p);
    char *q = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, f, 0);
    strcpy(q, "private");
    puts(p);
    SHOW(madvise(q, 8192, MADV_DONTNEED));
    puts(q);
    SHOW(mmap(p, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED);
    SHOW(mmap(0, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED);
    SHOW(mmap(0, 4096, PROT_READ, MAP_ANONYMOUS, -1, 0) == MAP_FAILED);
    SHOW(mmap(0, 4096, PROT_READ, MAP_PRIVATE, 99, 0) == MAP_FAILED);
    SHOW(mmap(0, 4096, PROT_READ, MAP_PRIVATE, f, 100) == MAP_FAILED);
    char *m = mmap(0, 12288, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    strcpy(m, "one");
    strcpy(m + 8192, "three");
    munmap(m + 4096, 4096);
    SHOW(munmap(m + 4096, 4096));
    char *g = mremap(m, 4096, 40960, 0);
    SHOW(g == MAP_FAILED);
    g = mremap(m, 4096, 40960, MREMAP_MAYMOVE);
    puts(g);
    g[40959] = 1;
    SHOW(mremap(g, 40960, 4096, 0) == g);
    SHOW(mremap(g + 1, 4096, 4096, 0) == MAP_FAILED);
    SHOW(mprotect(g, 4096, PROT_NONE));
    SHOW(mprotect(g + 4096, 4096, PROT_READ));
    SHOW(mprotect(g + 1, 1, PROT_READ));
    SHOW(msync(p, 8192, MS_SYNC));
    SHOW(msync(p, 8192, MS_SYNC | MS_ASYNC));
    SHOW(mlock(p, 4096));
    SHOW(munlock(p, 4096));
    int r = open("mp", O_RDONLY);
    SHOW(mmap(0, 4096, PROT_WRITE, MAP_SHARED, r, 0) == MAP_FAILED);
    printf("%s\n", strerror(errno));
    int w = open("mp", O_WRONLY);
    SHOW(mmap(0, 4096, PROT_READ, MAP_PRIVATE, w, 0) == MAP_FAILED);
    printf("%s\n", strerror(errno));
    SHOW(write(1, (void *)1, 1));
    SHOW(read(f, (void *)1, 1));
    SHOW(munmap((void *)1, 1));
    SHOW(madvise(p, 4096, 9999));
    void *b = sbrk(0);
    sbrk(10000);
    SHOW((char *)sbrk(0) - (char *)b);
    unsigned char vec[2];
    SHOW(mincore(p, 8192, vec));
}
TEST(waits)
{
    pid_t c = fork();
    if (!c)
        _exit(3);
    siginfo_t i = {0};
    SHOW(waitid(P_PID, c, &i, WEXITED | WNOWAIT));
    printf("%d %d %d\n", i.si_code, i.si_status, i.si_signo);
    int s;
    SHOW(waitpid(c, &s, 0) == c);
    printf("%x\n", s);
    SHOW(waitpid(c, &s, 0));
    SHOW(waitpid(-1, &s, WNOHANG));
    SHOW(waitid(P_ALL, 0, &i, 0));
    SHOW(wait4(-1, &s, 0x1000, 0));
    c = fork();
    if (!c) {
        pause();
        _exit(0);
    }
    kill(c, SIGSTOP);
    SHOW(waitpid(c, &s, WUNTRACED) == c);
    printf("%x\n", s);
    SHOW(waitpid(c, &s, WNOHANG | WUNTRACED));
    kill(c, SIGCONT);
    SHOW(waitpid(c, &s, WCONTINUED) == c);
    printf("%x\n", s);
    kill(c, SIGTERM);
    SHOW(waitid(P_PID, c, &i, WEXITED));
    printf("%d %d\n", i.si_code, i.si_status);
    c = fork();
    if (!c) {
        setpgid(0, 0);
        abort();
    }
    setpgid(c, c);
    SHOW(waitpid(-c, &s, 0) == c);
    printf("%d %d\n", WIFSIGNALED(s), WTERMSIG(s));
    signal(SIGCHLD, SIG_IGN);
    c = fork();
    if (!c)
        _exit(1);
    SHOW(waitpid(c, &s, 0));
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    signal(SIGCHLD, SIG_DFL);
    int p[2];
    pipe(p);
    c = fork();
    if (!c) {
        if (!fork()) {
            usleep(20000);
            int pp = getppid();
            write(p[1], &pp, 4);
            _exit(5);
        }
        _exit(0);
    }
    waitpid(c, &s, 0);
    int pp;
    read(p[0], &pp, 4);
    printf("%d\n", pp == getpid());
    SHOW(wait(&s) > 0);
    printf("%d\n", WEXITSTATUS(s));
    SHOW(syscall(SYS_pidfd_open, 99999, 0));
    c = fork();
    if (!c) {
        usleep(10000);
        _exit(9);
    }
    int f = syscall(SYS_pidfd_open, c, 0);
    struct pollfd pf = {f, POLLIN};
    SHOW(poll(&pf, 1, 2000));
    SHOW(syscall(SYS_waitid, 3, f, &i, WEXITED, 0));
    printf("%d\n", i.si_status);
    SHOW(syscall(SYS_pidfd_send_signal, f, 0, 0, 0));
}
TEST(vforks)
{
    static int v;
    pid_t c = vfork();
    if (!c) {
        v = 5;
        _exit(2);
    }
    int s;
    waitpid(c, &s, 0);
    printf("%d %d\n", v, WEXITSTATUS(s));
    c = vfork();
    if (!c) {
        execl("/bin/sh", "sh", "-c", "exit 4", NULL);
        _exit(1);
    }
    waitpid(c, &s, 0);
    printf("%d\n", WEXITSTATUS(s));
    SHOW(execl("/nonexistent", "x", NULL));
    text("ns", "no shebang");
    chmod("ns", 0755);
    SHOW(execl("./ns", "x", NULL));
    text("bs", "#!/nonexistent/interp\n");
    chmod("bs", 0755);
    SHOW(execl("./bs", "x", NULL));
    SHOW(execl(".", "x", NULL));
    SHOW(execl("sx/y", "x", NULL));
    text("nx", "#!/bin/sh\n");
    chmod("nx", 0644);
    SHOW(execl("./nx", "x", NULL));
    char *big = malloc(200000);
    memset(big, 'a', 199999);
    big[199999] = 0;
    SHOW(execl("/bin/true", "x", big, NULL));
    fflush(stdout);
    c = fork();
    if (!c) {
        char *const av[] = {NULL};
        execve("/bin/true", av, NULL);
        _exit(1);
    }
    waitpid(c, &s, 0);
    printf("%x\n", s);
    int fd = open("/bin/true", O_PATH | O_CLOEXEC);
    c = fork();
    if (!c) {
        char *const av[] = {"t", NULL};
        syscall(SYS_execveat, fd, "", av, NULL, AT_EMPTY_PATH);
        _exit(1);
    }
    waitpid(c, &s, 0);
    printf("%x\n", s);
}
TEST(paths)
{
    SHOW(mkdir("p", 0755));
    SHOW(chdir("p"));
    SHOW(symlink("loop", "loop"));
    SHOW(open("loop", 0));
    SHOW(open("loop", O_CREAT | O_EXCL, 0600));
    SHOW(open("loop", O_NOFOLLOW));
    memset(buf, 'n', 300);
    buf[300] = 0;
    SHOW(open(buf, O_CREAT, 0600));
    memset(buf, '/', 5000);
    buf[5000] = 0;
    SHOW(open(buf, 0));
    SHOW(open("", 0));
    text("f", "x");
    SHOW(open("f/", 0));
    SHOW(open("f/x", 0));
    SHOW(mkdir("f", 0));
    SHOW(mkdir("a/b", 0));
    SHOW(mkdir("a/", 0755));
    SHOW(rmdir("a/."));
    SHOW(rmdir("."));
    SHOW(rmdir("f"));
    SHOW(unlink("a"));
    SHOW(unlink("zz"));
    SHOW(open("a", O_WRONLY));
    SHOW(open("a", O_CREAT, 0600) > 0);
    SHOW(open("f", O_DIRECTORY));
    SHOW(readlink("f", buf, 9));
    SHOW(readlink("loop", buf, 2));
    SHOW(symlink("", "x"));
    SHOW(link("a", "b"));
    SHOW(link("loop", "b2"));
    SHOW(linkat(AT_FDCWD, "loop", AT_FDCWD, "b3", AT_SYMLINK_FOLLOW));
    SHOW(chdir("f"));
    int d = open("a", O_RDONLY | O_DIRECTORY);
    rmdir("a");
    SHOW(fchdir(d));
    errno = 0;
    printf("%d %s\n", getcwd(buf, 99) == NULL, strerror(errno));
    SHOW(open("new", O_CREAT, 0600));
    SHOW(mkdir("new", 0700));
    char t[64];
    sprintf(t, "/proc/self/fd/%d", d);
    int n = readlink(t, buf, 200);
    buf[n] = 0;
    puts(strrchr(buf, '/'));
    SHOW(chdir(".."));
    SHOW(truncate("f", -1));
    SHOW(truncate("f", 100));
    SHOW(truncate("..", 1));
    SHOW(creat("..", 0600));
    struct stat s;
    SHOW(stat("f", &s));
    printf("%ld\n", (long)s.st_size);
    SHOW(faccessat(AT_FDCWD, "f", X_OK, 0));
    SHOW(access("f", 9));
    SHOW(mknod("nod", S_IFREG | 0600, 0));
    SHOW(mknod("nod", S_IFREG | 0600, 0));
    SHOW(mkdirat(99, "x", 0));
    SHOW(openat(99, "/dev/null", 0) > 0);
    SHOW(unlinkat(AT_FDCWD, "f", AT_REMOVEDIR));
    SHOW(unlinkat(AT_FDCWD, "f", 0x1));
}
TEST(times_)
{
    text("t", "x");
    struct timespec v[2] = {{100, 5}, {200, 6}};
    SHOW(utimensat(AT_FDCWD, "t", v, 0));
    struct stat s;
    stat("t", &s);
    printf("%ld %ld %ld %ld\n", s.st_atime, s.st_atim.tv_nsec, s.st_mtime, s.st_mtim.tv_nsec);
    v[0].tv_nsec = UTIME_OMIT;
    v[1].tv_nsec = UTIME_NOW;
    int f = open("t", 0);
    SHOW(futimens(f, v));
    stat("t", &s);
    printf("%ld %d\n", s.st_atime, s.st_mtime > 1000);
    v[1].tv_nsec = -5;
    SHOW(futimens(f, v));
    SHOW(utimensat(AT_FDCWD, "none", 0, 0));
    SHOW(utimes("t", 0));
    struct timeval tv[2] = {{1, 2}, {3, 4}};
    SHOW(lutimes("t", tv));
    stat("t", &s);
    printf("%ld %ld\n", s.st_atime, s.st_mtime);
    chmod("t", 06755);
    stat("t", &s);
    printf("%o\n", s.st_mode);
    chown("t", 1, 1);
    stat("t", &s);
    printf("%o\n", s.st_mode);
}
static void *thr(void *a)
{
    usleep(5000);
    return a;
}
static void *locker(void *a)
{
    pthread_mutex_lock(a);
    return 0;
}
TEST(threads)
{
    pthread_t t[8];
    for (long i = 0; i < 8; i++)
        pthread_create(&t[i], 0, thr, (void *)i);
    long sum = 0;
    for (int i = 0; i < 8; i++) {
        void *r;
        pthread_join(t[i], &r);
        sum += (long)r;
    }
    printf("%ld\n", sum);
    pthread_mutexattr_t a;
    pthread_mutexattr_init(&a);
    pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_t m;
    pthread_mutex_init(&m, &a);
    pthread_create(t, 0, locker, &m);
    pthread_join(t[0], 0);
    printf("%d\n", pthread_mutex_lock(&m) == EOWNERDEAD);
    printf("%d\n", pthread_mutex_consistent(&m));
    pthread_mutex_unlock(&m);
    printf("%d\n", pthread_mutex_lock(&m));
    pthread_mutexattr_init(&a);
    pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_INHERIT);
    pthread_mutexattr_settype(&a, PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutex_init(&m, &a);
    printf("%d\n", pthread_mutex_lock(&m));
    printf("%d\n", pthread_mutex_lock(&m) == EDEADLK);
    printf("%d\n", pthread_mutex_unlock(&m));
    pthread_barrier_t b;
    printf("%d\n", pthread_barrier_init(&b, 0, 1));
    printf("%d\n", pthread_barrier_wait(&b) != 0);
    int w = 0;
    SHOW(syscall(SYS_futex, &w, FUTEX_WAIT, 1, 0));
    struct timespec z = {0, 1000000};
    SHOW(syscall(SYS_futex, &w, FUTEX_WAIT, 0, &z));
    SHOW(syscall(SYS_futex, &w, FUTEX_WAKE, 1));
    SHOW(syscall(SYS_futex, (char *)&w + 1, FUTEX_WAKE, 1));
    SHOW(syscall(SYS_futex, &w, 77, 1));
    pthread_cancel(pthread_self()) ? 0 : 0;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, 0);
    SHOW(tgkill(getpid(), 99999, 0));
    pthread_setname_np(pthread_self(), "nm");
    pthread_getname_np(pthread_self(), buf, 99);
    puts(buf);
}
TEST(fds)
{
    int f = open("/dev/null", O_RDWR | O_CLOEXEC);
    SHOW(fcntl(f, F_GETFD));
    int g = fcntl(f, F_DUPFD_CLOEXEC, 50);
    printf("%d %d\n", g, fcntl(g, F_GETFD));
    SHOW(dup3(f, 60, O_CLOEXEC));
    SHOW(dup3(f, f, 0));
    SHOW(dup2(f, f) == f);
    SHOW(dup3(f, 61, 1));
    SHOW(dup2(99, 3));
    SHOW(dup2(f, -1));
    SHOW(fcntl(99, F_GETFD));
    SHOW(fcntl(f, 9999));
    SHOW(close_range(50, 60, CLOSE_RANGE_CLOEXEC));
    SHOW(close_range(50, 60, 0));
    SHOW(fcntl(60, F_GETFD));
    SHOW(close_range(5, 3, 0));
    SHOW(close(-1));
    SHOW(fcntl(f, F_GETFL) & (O_ACCMODE | O_APPEND));
    SHOW(fcntl(f, F_SETFL, O_APPEND | O_NONBLOCK));
    SHOW((fcntl(f, F_GETFL) & O_NONBLOCK) != 0);
    SHOW(fcntl(f, F_SETOWN, getpid()));
    SHOW(fcntl(f, F_GETOWN) == getpid());
    SHOW(ioctl(f, TCGETS, buf));
    SHOW(isatty(f));
    SHOW(read(f, buf, 9));
    SHOW(write(f, buf, 9));
    SHOW(lseek(f, 100, 0));
    SHOW(write(open("/dev/full", O_WRONLY), "x", 1));
    SHOW(read(open("/dev/zero", 0), buf, 9));
    SHOW(fsync(f));
    SHOW(ftruncate(f, 0));
    SHOW(fallocate(f, 0, 0, 1));
    SHOW(open("/dev/nonexistent", 0));
    SHOW(syscall(SYS_openat2, AT_FDCWD, "/dev/null", buf, 3));
    int a = open("ap", O_CREAT | O_RDWR | O_APPEND, 0600);
    write(a, "abc", 3);
    SHOW(pwrite(a, "d", 1, 0));
    SHOW(lseek(a, 0, SEEK_END));
    SHOW(lseek(a, -100, SEEK_CUR));
    SHOW(lseek(a, 0, 99));
}
static void procfile(const char *p)
{
    int f = open(p, 0);
    int n = read(f, buf, sizeof buf - 1);
    printf("%s %d\n", p, n > 0);
    close(f);
    if (n > 0)
        buf[n] = 0;
    else
        buf[0] = 0;
}

static const struct {
    const char *name;
    void (*run)(void);
} all[] = {
    {"locks_ofd", locks_ofd},
    {"locks_posix", locks_posix},
    {"flocks", flocks},
    {"vectors", vectors},
    {"copying", copying},
    {"splices", splices},
    {"tmpfile_", tmpfile_},
    {"renames", renames},
    {"limits", limits},
    {"caps", caps},
    {"sig_queue", sig_queue},
    {"sig_wait", sig_wait},
    {"sig_flags", sig_flags},
    {"events", events},
    {"epolls", epolls},
    {"polls", polls},
    {"pipes", pipes},
    {"unix_rights", unix_rights},
    {"unix_names", unix_names},
    {"udp", udp},
    {"maps", maps},
    {"waits", waits},
    {"vforks", vforks},
    {"paths", paths},
    {"times_", times_},
    {"threads", threads},
    {"fds", fds},
};

int main(int argc, char **argv)
{
    char folder[] = "/tmp/familiesXXXXXX";
    int status;
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    chdir(mkdtemp(folder));
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
        if (argc > 1 && strcmp(argv[1], all[i].name))
            continue;
        printf("== %s\n", all[i].name);
        fflush(stdout);
        mkdir(all[i].name, 0777);
        if (!fork()) {
            chdir(all[i].name);
            alarm(20);
            all[i].run();
            fflush(stdout);
            exit(0);
        }
        wait(&status);
        printf("-> %x\n", status);
    }
    fflush(stdout);
    sprintf(buf, "rm -rf %s", folder);
    return system(buf) != 0;
}
