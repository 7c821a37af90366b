/* System V IPC: shared memory, semaphores and message queues, as sysvipc(7) has them. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "show.h"

union semun { int val; struct semid_ds *buf; unsigned short *array; };

static void shared_memory(void)
{
    struct shmid_ds status;
    int id = shmget(IPC_PRIVATE, 5000, IPC_CREAT | 0600);
    char *at = shmat(id, NULL, 0);
    printf("attached %d\n", at != (char *)-1);
    strcpy(at + 4096, "parent");
    if (!fork()) {
        char *again = shmat(id, NULL, SHM_RDONLY);
        strcpy(at, "child");
        printf("%s %s\n", again, again + 4096);
        shmctl(id, IPC_STAT, &status);
        printf("attached %ld\n", (long)status.shm_nattch);
        fflush(stdout);
        _exit(0);
    }
    wait(NULL);
    printf("%s\n", at);
    shmctl(id, IPC_STAT, &status);
    printf("size %ld attached %ld mode %o mine %d %d\n", (long)status.shm_segsz, (long)status.shm_nattch, status.shm_perm.mode,
           status.shm_cpid == getpid(), status.shm_lpid != getpid());
    SHOW(shmctl(id, IPC_RMID, NULL));
    shmctl(id, IPC_STAT, &status);
    printf("mode %o\n", status.shm_perm.mode);
    SHOW(shmdt(at));
    SHOW(shmdt(at));
    printf("again %d %s\n", shmat(id, NULL, 0) == (void *)-1, strerror(errno));
    SHOW(shmget(0x1234, 0, IPC_CREAT | 0600));
    SHOW(shmget(0x12345678, 100, 0600));
    id = shmget(0x7a7a0001, 100, IPC_CREAT | IPC_EXCL | 0600);
    SHOW(shmget(0x7a7a0001, 100, IPC_CREAT | IPC_EXCL | 0600));
    SHOW(shmget(0x7a7a0001, 5000, 0600));
    printf("same %d\n", id == shmget(0x7a7a0001, 100, 0600));
    SHOW(shmctl(id, IPC_RMID, NULL));
}

static void semaphores(void)
{
    int id = semget(IPC_PRIVATE, 3, IPC_CREAT | 0600);
    unsigned short all[3] = {1, 2, 3};
    struct semid_ds status;
    struct timespec soon = {0, 20000000};
    semctl(id, 0, SETALL, (union semun){.array = all});
    SHOW(semctl(id, 1, GETVAL));
    SHOW(semctl(id, 0, SETVAL, (union semun){.val = 0}));
    pid_t child = fork();
    if (!child) {
        struct sembuf take = {0, -2, SEM_UNDO};
        int result = semop(id, &take, 1);
        printf("child has it %d, left %d\n", result, semctl(id, 0, GETVAL));
        fflush(stdout);
        _exit(0);
    }
    while (semctl(id, 0, GETNCNT) != 1)
        usleep(1000);
    struct sembuf give[2] = {{0, 2, 0}, {1, -1, 0}};
    int given = semop(id, give, 2);
    waitpid(child, NULL, 0);
    printf("given %d\n", given);
    SHOW(semctl(id, 0, GETVAL));
    SHOW(semctl(id, 1, GETVAL));
    printf("pid %d\n", semctl(id, 0, GETPID) == child);
    struct sembuf zero = {0, 0, IPC_NOWAIT}, much = {2, 32767, 0}, none = {9, 1, 0}, wait_zero = {2, 0, 0};
    SHOW(semop(id, &zero, 1));
    SHOW(semop(id, &much, 1));
    SHOW(semop(id, &none, 1));
    SHOW(semtimedop(id, &wait_zero, 1, &soon));
    semctl(id, 0, GETALL, (union semun){.array = all});
    printf("%d %d %d\n", all[0], all[1], all[2]);
    semctl(id, 0, IPC_STAT, (union semun){.buf = &status});
    printf("%ld %o %d\n", (long)status.sem_nsems, status.sem_perm.mode, status.sem_otime > 0);
    if (!fork()) {
        struct sembuf wait = {2, -100, 0};
        int result = semop(id, &wait, 1);
        printf("%d %s\n", result, strerror(errno));
        fflush(stdout);
        _exit(0);
    }
    while (semctl(id, 2, GETNCNT) != 1)
        usleep(1000);
    int removed = semctl(id, 0, IPC_RMID);
    wait(NULL);
    printf("removed %d\n", removed);
    SHOW(semop(id, &zero, 1));
}

static void handler(int signo) {}

static void messages(void)
{
    struct { long type; char text[100]; } message;
    struct msqid_ds status;
    int id = msgget(IPC_PRIVATE, IPC_CREAT | 0600);
    for (int i = 1; i <= 4; i++) {
        message.type = 5 - i;
        sprintf(message.text, "text %d", i);
        SHOW(msgsnd(id, &message, strlen(message.text) + 1, 0));
    }
    SHOW(msgrcv(id, &message, 100, -3, 0));
    printf("%ld %s\n", message.type, message.text);
    SHOW(msgrcv(id, &message, 3, 3, 0));
    SHOW(msgrcv(id, &message, 3, 3, MSG_NOERROR));
    printf("%ld %.3s\n", message.type, message.text);
    SHOW(msgrcv(id, &message, 100, 4, MSG_EXCEPT));
    printf("%ld %s\n", message.type, message.text);
    SHOW(msgrcv(id, &message, 100, 7, IPC_NOWAIT));
    msgctl(id, IPC_STAT, &status);
    printf("%ld %ld %ld\n", (long)status.msg_qnum, (long)status.__msg_cbytes, (long)status.msg_qbytes);
    SHOW(msgrcv(id, &message, 100, 0, 0));
    if (!fork()) {
        usleep(10000);
        message.type = 9;
        strcpy(message.text, "late");
        _exit(msgsnd(id, &message, 5, 0));
    }
    SHOW(msgrcv(id, &message, 100, 9, 0));
    printf("%s\n", message.text);
    wait(NULL);
    message.type = 0;
    SHOW(msgsnd(id, &message, 5, 0));
    message.type = 1;
    int full = 0;
    while (!msgsnd(id, &message, 100, IPC_NOWAIT))
        full++;
    printf("%d %s\n", full, strerror(errno));
    sigaction(SIGALRM, &(struct sigaction){.sa_handler = handler, .sa_flags = SA_RESTART}, NULL);
    ualarm(10000, 0);
    SHOW(msgrcv(id, &message, 100, 8, 0));
    SHOW(msgctl(id, IPC_RMID, NULL));
    SHOW(msgrcv(id, &message, 100, 8, 0));
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    shared_memory();
    semaphores();
    messages();
    return 0;
}
