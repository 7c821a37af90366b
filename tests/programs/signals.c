#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <errno.h>
#include <sys/wait.h>
#include <sys/time.h>
#include <sys/mman.h>
#include <setjmp.h>
#include <ucontext.h>
#include <pthread.h>
#include <time.h>
static volatile int n; static sigjmp_buf jb;
static void h(int s, siginfo_t*i, void*u){ n++; printf("handler %d code %d pid %d\n", s, i->si_code, i->si_pid==getpid()); }
static void segv(int s, siginfo_t*i, void*u){ ucontext_t*c=u; printf("segv addr %p code %d rip? %d err\n", i->si_addr, i->si_code, c->uc_mcontext.gregs[REG_RIP]!=0); siglongjmp(jb,1);}
static void onstack(int s, siginfo_t*i, void*u){ int x; stack_t st; sigaltstack(0,&st); printf("altstack %d inside %d\n", s, (char*)&x>=(char*)st.ss_sp && (char*)&x<(char*)st.ss_sp+st.ss_size); }
static void skip(int s, siginfo_t*i, void*u){ ucontext_t*c=u; printf("ill\n"); c->uc_mcontext.gregs[REG_RIP]+=2; }
static double fp(double x){ double r=x; for(int i=0;i<10;i++) r=r*1.5+1; return r; }
static void fph(int s){ volatile double d=fp(3.7); n+=(d>0); }
static void *thr(void*a){ pthread_kill(*(pthread_t*)a, SIGUSR2); return (void*)5; }
int main(){
  setvbuf(stdout,0,_IONBF,0);
  struct sigaction sa={0}; sa.sa_sigaction=h; sa.sa_flags=SA_SIGINFO|SA_RESTART; sigaction(SIGUSR1,&sa,0);
  kill(getpid(),SIGUSR1); raise(SIGUSR1); printf("n=%d\n",n);
  // blocked then unblock
  sigset_t m,o,p; sigemptyset(&m); sigaddset(&m,SIGUSR1); sigprocmask(SIG_BLOCK,&m,&o); raise(SIGUSR1); raise(SIGUSR1); sigpending(&p); printf("pending %d n=%d\n",sigismember(&p,SIGUSR1),n); sigprocmask(SIG_SETMASK,&o,0); printf("n=%d\n",n);
  // segv
  sa.sa_sigaction=segv; sigaction(SIGSEGV,&sa,0);
  if(!sigsetjmp(jb,1)){ *(volatile int*)0x1234=1; } else printf("recovered\n");
  char*ro=mmap(0,4096,PROT_READ,MAP_PRIVATE|MAP_ANONYMOUS,-1,0);
  if(!sigsetjmp(jb,1)){ *(volatile char*)ro=1; } else printf("recovered2\n");
  // altstack
  stack_t st={.ss_sp=malloc(65536),.ss_size=65536}; sigaltstack(&st,0); sa.sa_sigaction=onstack; sa.sa_flags=SA_SIGINFO|SA_ONSTACK; sigaction(SIGUSR2,&sa,0); raise(SIGUSR2); raise(SIGUSR2);
  sa.sa_sigaction=skip; sa.sa_flags=SA_SIGINFO; sigaction(SIGILL,&sa,0); __asm__ volatile("ud2"); printf("after ill\n");
  // FP kept across handler
  signal(SIGALRM,fph); struct itimerval it={{0,1000},{0,1000}}; setitimer(ITIMER_REAL,&it,0); double a=0; for(long i=0;i<3000000;i++){ a+=i*0.5; } printf("fp %.1f handlers %d\n",a,n>0); memset(&it,0,sizeof it); setitimer(ITIMER_REAL,&it,0);
  // EINTR vs restart
  int pf[2]; pipe(pf); n=0; sa.sa_sigaction=h; sa.sa_flags=SA_SIGINFO|SA_RESTART; sigaction(SIGUSR1,&sa,0);
  pid_t c=fork(); if(!c){ usleep(10000); kill(getppid(),SIGUSR1); usleep(10000); write(pf[1],"x",1); _exit(42);} 
  char b; int r=read(pf[0],&b,1); printf("read %d %c\n",r,b); int s; pid_t w; while((w=waitpid(c,&s,0))<0); printf("wait %d %d\n",w==c,WEXITSTATUS(s));
  sa.sa_flags=SA_SIGINFO; sigaction(SIGUSR1,&sa,0);
  c=fork(); if(!c){ usleep(10000); kill(getppid(),SIGUSR1); pause(); _exit(42);} 
  r=read(pf[0],&b,1); printf("read %d errno %d\n",r,errno==EINTR); kill(c,SIGTERM); waitpid(c,&s,0); printf("killed by %d\n",WTERMSIG(s));
  struct timespec ts={5,0},rem; c=fork(); if(!c){ usleep(10000); kill(getppid(),SIGUSR1); _exit(0);} r=nanosleep(&ts,&rem); printf("nanosleep %d %d rem %d\n",r,errno==EINTR,(int)rem.tv_sec); while(wait(&s)<0);
  // stop/continue
  c=fork(); if(!c){ raise(SIGSTOP); _exit(9);} w=waitpid(c,&s,WUNTRACED); printf("stopped %d %d\n",WIFSTOPPED(s),WSTOPSIG(s)); kill(c,SIGCONT); w=waitpid(c,&s,WCONTINUED); printf("continued %d\n",WIFCONTINUED(s)); waitpid(c,&s,0); printf("exit %d\n",WEXITSTATUS(s));
  // sigsuspend, sigwait, pthread_kill
  sigemptyset(&m); sigaddset(&m,SIGUSR1); sigprocmask(SIG_BLOCK,&m,0); raise(SIGUSR1); sigemptyset(&o); n=0; r=sigsuspend(&o); printf("sigsuspend %d %d n=%d\n",r,errno==EINTR,n);
  raise(SIGUSR1); int sg; sigwait(&m,&sg); printf("sigwait %d\n",sg);
  struct timespec t0={0,1000000}; siginfo_t si; r=sigtimedwait(&m,&si,&t0); printf("sigtimedwait %d %d\n",r,errno==EAGAIN);
  pthread_t me=pthread_self(),t; void*rv; sa.sa_sigaction=h; sigaction(SIGUSR2,&sa,0); pthread_create(&t,0,thr,&me); pthread_join(t,&rv); printf("thread %ld\n",(long)rv);
  // vfork + exec + orphan
  c=vfork(); if(!c){ execl("/bin/sh","sh","-c","exit 5",NULL); _exit(1);} waitpid(c,&s,0); printf("vfork %d\n",WEXITSTATUS(s));
  struct sigaction ign={.sa_handler=SIG_IGN}; sigaction(SIGCHLD,&ign,0); c=fork(); if(!c)_exit(0); r=wait(&s); printf("ignored chld %d %d\n",r,errno==ECHILD);
  union sigval v={.sival_int=77}; sa.sa_sigaction=h; sigaction(SIGRTMIN,&sa,0); sigqueue(getpid(),SIGRTMIN,v); sigqueue(getpid(),SIGRTMIN+0,v);
  alarm(1); signal(SIGALRM,SIG_DFL); pause();
}
