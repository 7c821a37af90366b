/* Everything that makes the kernel start a timer of high resolution: sleeps, waits with a timeout, timers that send signals or fill files. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/futex.h>
#include <mqueue.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MS = 1000000 };

static void nothing(int number)
{
}

static void sleeps(void)
{
    struct timespec now, none = {0, 0}, a_moment = {0, 2 * MS};

    nanosleep(&a_moment, NULL);
    nanosleep(&none, NULL);
    clock_nanosleep(CLOCK_REALTIME, 0, &a_moment, NULL);
    clock_nanosleep(CLOCK_BOOTTIME, 0, &a_moment, NULL);
    clock_gettime(CLOCK_MONOTONIC, &now);
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &now, NULL); /* over already */
    now.tv_sec++;
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &now, NULL);
}

static void waits(void)
{
    struct timespec a_moment = {0, 2 * MS}, none = {0, 0}, end;
    struct timeval a_while = {0, 2000};
    struct pollfd input;
    struct epoll_event event = {.events = EPOLLIN};
    uint32_t word = 1;
    int ends[2], epoll = epoll_create1(0);
    sigset_t signals;

    pipe(ends);
    input = (struct pollfd){ends[0], POLLIN, 0};
    poll(&input, 1, 2);
    poll(&input, 1, 0);
    ppoll(&input, 1, &a_moment, NULL);
    select(0, NULL, NULL, NULL, &a_while);
    epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event);
    epoll_wait(epoll, &event, 1, 2);
    epoll_wait(epoll, &event, 1, 0);
    syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 1, &a_moment, NULL, 0);
    syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 1, &none, NULL, 0);
    syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &a_moment, NULL, 0); /* not even waited for */
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec++;
    syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME, 1, &end, NULL, FUTEX_BITSET_MATCH_ANY);
    sigemptyset(&signals);
    sigaddset(&signals, SIGUSR1);
    sigtimedwait(&signals, NULL, &a_moment);
    write(ends[1], "x", 1);
    poll(&input, 1, 2);
    epoll_wait(epoll, &event, 1, 2);
}

static void locks(void)
{
    struct timespec a_moment = {0, 2 * MS}, soon;
    struct { uint64_t value, address; uint32_t flags, reserved; } words[2] = {{0, 0, FUTEX_32}, {0, 0, FUTEX_32}};
    uint32_t word = 0, *lock = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t pid;

    clock_gettime(CLOCK_REALTIME, &soon);
    soon.tv_sec++;
    syscall(SYS_futex, lock, FUTEX_LOCK_PI, 0, &soon, NULL, 0); /* free */
    syscall(SYS_futex, lock, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0);
    pid = fork();
    if (!pid) {
        syscall(SYS_futex, lock, FUTEX_LOCK_PI, 0, NULL, NULL, 0);
        raise(SIGSTOP);
    }
    waitpid(pid, NULL, WUNTRACED);
    syscall(SYS_futex, lock, FUTEX_LOCK_PI, 0, &soon, NULL, 0);
    clock_gettime(CLOCK_MONOTONIC, &soon);
    soon.tv_sec++;
    syscall(SYS_futex, lock, FUTEX_LOCK_PI2, 0, &soon, NULL, 0);
    syscall(SYS_futex, lock, FUTEX_LOCK_PI2, 0, &a_moment, NULL, 0); /* over already */
    syscall(SYS_futex, lock, FUTEX_TRYLOCK_PI, 0, NULL, NULL, 0);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    words[0].address = (uintptr_t)&word;
    words[1].address = (uintptr_t)&soon.tv_nsec;
    clock_gettime(CLOCK_MONOTONIC, &soon);
    soon.tv_sec++;
    words[1].value = (uint32_t)soon.tv_nsec;
    syscall(SYS_futex_waitv, words, 2, 0, &soon, CLOCK_MONOTONIC);
    words[0].value = 1;
    clock_gettime(CLOCK_MONOTONIC, &soon);
    soon.tv_sec++;
    syscall(SYS_futex_waitv, words, 2, 0, &soon, CLOCK_MONOTONIC); /* not even waited for */
    words[0].value = 0;
    clock_gettime(CLOCK_REALTIME, &soon);
    soon.tv_sec++;
    words[1].value = (uint32_t)soon.tv_nsec;
    syscall(SYS_futex_waitv, words, 2, 0, &soon, CLOCK_REALTIME);
}

static void queues(void)
{
    struct timespec a_moment = {0, 2 * MS}, none = {0, 0}, soon;
    struct sembuf take = {0, -1, 0}, give = {0, 1, 0};
    struct mq_attr size = {.mq_maxmsg = 1, .mq_msgsize = 8};
    int set = semget(IPC_PRIVATE, 1, 0600);
    mqd_t queue = mq_open("/timers", O_RDWR | O_CREAT, 0600, &size);
    char text[8];

    mq_unlink("/timers");
    semtimedop(set, &take, 1, &a_moment);
    semtimedop(set, &take, 1, &none);
    semtimedop(set, &give, 1, &a_moment);
    semtimedop(set, &take, 1, &a_moment);
    semctl(set, 0, IPC_RMID);
    clock_gettime(CLOCK_REALTIME, &soon);
    soon.tv_sec++;
    mq_timedreceive(queue, text, sizeof text, NULL, &soon);
    mq_timedreceive(queue, text, sizeof text, NULL, &a_moment); /* over already */
    mq_timedsend(queue, text, 4, 1, &soon);
    mq_timedsend(queue, text, 4, 1, &soon); /* over already */
    soon.tv_sec++;
    mq_timedsend(queue, text, 4, 1, &soon);
    mq_timedreceive(queue, text, sizeof text, NULL, &soon);
    mq_close(queue);
}

static void signals(void)
{
    struct itimerval once = {{0, 0}, {0, 2000}}, often = {{0, 2000}, {0, 2000}}, off = {{0, 0}, {0, 0}};
    struct itimerspec in_time = {{0, 0}, {0, 2 * MS}}, again = {{0, 2 * MS}, {0, 2 * MS}}, never = {{0, 0}, {0, 0}}, late = {{0, 0}, {9, 0}};
    struct sigevent how = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
    struct timespec a_second = {1, 0};
    timer_t timer;

    signal(SIGALRM, nothing);
    setitimer(ITIMER_REAL, &once, NULL);
    pause();
    setitimer(ITIMER_REAL, &once, NULL);
    nanosleep(&a_second, NULL); /* interrupted */
    setitimer(ITIMER_REAL, &often, NULL);
    pause();
    pause();
    setitimer(ITIMER_REAL, &off, NULL);
    setitimer(ITIMER_REAL, &off, NULL);
    alarm(9);
    alarm(8);
    alarm(0);
    timer_create(CLOCK_MONOTONIC, &how, &timer);
    timer_settime(timer, 0, &in_time, NULL);
    pause();
    timer_settime(timer, 0, &again, NULL);
    pause();
    pause();
    timer_settime(timer, 0, &late, NULL);
    timer_settime(timer, 0, &never, NULL);
    timer_settime(timer, 0, &late, NULL);
    timer_delete(timer);
}

static void files(void)
{
    struct itimerspec in_time = {{0, 0}, {0, 2 * MS}}, again = {{0, 2 * MS}, {0, 2 * MS}}, never = {{0, 0}, {0, 0}};
    uint64_t count;
    int timer = timerfd_create(CLOCK_MONOTONIC, 0);

    timerfd_settime(timer, 0, &in_time, NULL);
    read(timer, &count, 8);
    timerfd_settime(timer, 0, &again, NULL);
    read(timer, &count, 8);
    read(timer, &count, 8);
    timerfd_settime(timer, 0, &never, NULL);
    timerfd_settime(timer, 0, &again, NULL);
    timerfd_settime(timer, 0, &again, NULL);
    close(timer);
    close(timerfd_create(CLOCK_REALTIME, 0));
}

static void child(void)
{
    pid_t pid = fork();

    if (!pid) {
        signals();
        _exit(0);
    }
    waitpid(pid, NULL, 0);
}

#define PART(number, what) (write(-number, 0, 0), what())

int main(void)
{
    PART(1, sleeps);
    PART(2, waits);
    PART(3, signals);
    PART(4, files);
    PART(5, child);
    PART(6, locks);
    PART(7, queues);
    return 0;
}
