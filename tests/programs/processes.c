#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <errno.h>
#include <semaphore.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <sched.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
static pthread_mutex_t m=PTHREAD_MUTEX_INITIALIZER; static pthread_cond_t c=PTHREAD_COND_INITIALIZER; static int v; static __thread int tl;
static void*w(void*a){ for(int i=0;i<2000;i++){ pthread_mutex_lock(&m); v++; tl++; pthread_mutex_unlock(&m);} return (void*)(long)tl; }
static void*cw(void*a){ pthread_mutex_lock(&m); while(v<100000) pthread_cond_wait(&c,&m); pthread_mutex_unlock(&m); return 0; }
static void*ex(void*a){ pthread_exit((void*)7); }
static void*spin(void*a){ while(!*(volatile int*)a); return 0; }
static void*robust(void*a){ pthread_mutex_lock(a); return 0; }
static void*execer(void*a){ execl("/bin/echo","echo","from thread",NULL); return 0;}
int main(){ setvbuf(stdout,0,_IONBF,0);
 pthread_t t[4]; void*r; for(int i=0;i<4;i++) pthread_create(t+i,0,w,0); for(int i=0;i<4;i++){ pthread_join(t[i],&r); printf("tls %ld\n",(long)r);} printf("v %d\n",v);
 pthread_create(t,0,cw,0); sched_yield(); pthread_mutex_lock(&m); v=100000; pthread_cond_broadcast(&c); pthread_mutex_unlock(&m); pthread_join(*t,0); printf("cond\n");
 struct timespec ts; clock_gettime(CLOCK_REALTIME,&ts); ts.tv_nsec+=5000000; if(ts.tv_nsec>=1000000000){ts.tv_sec++;ts.tv_nsec-=1000000000;} pthread_mutex_lock(&m); printf("timedwait %d\n",pthread_cond_timedwait(&c,&m,&ts)==ETIMEDOUT); pthread_mutex_unlock(&m);
 pthread_create(t,0,ex,0); pthread_join(*t,&r); printf("exit %ld\n",(long)r);
 int flag=0; pthread_create(t,0,spin,&flag); usleep(1000); flag=1; pthread_join(*t,0); printf("preempted\n");
 pthread_mutexattr_t ma; pthread_mutexattr_init(&ma); pthread_mutexattr_setrobust(&ma,PTHREAD_MUTEX_ROBUST); pthread_mutex_t rm; pthread_mutex_init(&rm,&ma); pthread_create(t,0,robust,&rm); pthread_join(*t,0); printf("robust %d\n",pthread_mutex_lock(&rm)==EOWNERDEAD);
 // shared memory sem across fork
 sem_t*s=mmap(0,4096,3,MAP_SHARED|MAP_ANONYMOUS,-1,0); sem_init(s,1,0); int*sh=(int*)(s+1); if(!fork()){ *sh=123; sem_post(s); _exit(0);} sem_wait(s); printf("shared %d\n",*sh); wait(0);
 // private cow
 int*pv=malloc(4); *pv=1; if(!fork()){ *pv=2; _exit(*pv);} int st; wait(&st); printf("cow %d %d\n",*pv,WEXITSTATUS(st));
 // mremap, madvise, mprotect
 char*p=mmap(0,8192,3,MAP_PRIVATE|MAP_ANONYMOUS,-1,0); strcpy(p,"hello"); p=mremap(p,8192,1<<20,MREMAP_MAYMOVE); printf("%s %d\n",p,p[1<<19]); madvise(p,4096,MADV_DONTNEED); printf("zero %d\n",p[0]); munmap(p,1<<20);
 printf("einval %d %d\n",munmap((void*)1,4096),errno==EINVAL);
 int fd=open("/etc/passwd",O_RDONLY); char*f=mmap(0,4096,PROT_READ|PROT_WRITE,MAP_PRIVATE,fd,0); char o=f[0]; f[0]='X'; char b; pread(fd,&b,1,0); printf("private file %d %c\n",b==o,f[0]);
 printf("brk %d\n",sbrk(100000)!=(void*)-1);
 prctl(PR_SET_NAME,"renamed-thread-name"); char nm[16]; prctl(PR_GET_NAME,nm); printf("%s\n",nm); char buf[64]={0}; int cf=open("/proc/self/comm",O_RDONLY); read(cf,buf,60); printf("%s",buf);
 struct rlimit rl; getrlimit(RLIMIT_STACK,&rl); printf("stack %ld\n",(long)rl.rlim_cur);
 struct timespec a,bb; clock_gettime(CLOCK_MONOTONIC,&a); sleep(3); clock_gettime(CLOCK_MONOTONIC,&bb); printf("slept %ld\n",(long)(bb.tv_sec-a.tv_sec));
 if(!fork()){ setsid(); printf("sid %d\n",getsid(0)==getpid()); _exit(0);} wait(0);
 siginfo_t si; pid_t q=fork(); if(!q)_exit(3); waitid(P_PID,q,&si,WEXITED|WNOWAIT); printf("waitid %d %d\n",si.si_code,si.si_status); printf("wait %d\n",waitpid(q,&st,0)==q);
 printf("nochild %d %d\n",wait(0),errno==ECHILD);
 pthread_create(t,0,execer,0); pthread_join(*t,0); pause();
}
