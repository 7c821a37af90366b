/* openat2(2): every way to resolve, over links, parents, roots and magic links; flags that do not go together. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
static void try(int d,const char*p,unsigned long flags,unsigned long res){ struct open_how h={.flags=flags,.resolve=res}; errno=0; int f=syscall(SYS_openat2,d,p,&h,sizeof h); printf("%s %lx %lx: %s\n",p,flags,res,f>=0?"ok":strerror(errno)); if(f>=0)close(f);}
int main(){ char t[]="/tmp/o2XXXXXX"; mkdtemp(t); chdir(t); mkdir("d",0755); mkdir("d/e",0755); close(open("d/f",O_CREAT|O_RDWR,0644)); symlink("f","d/l"); symlink("/etc/passwd","d/abs"); symlink("../../x","d/up"); symlink("e/../f","d/in"); symlink("loop","d/loop"); close(open("x",O_CREAT|O_WRONLY,0644));
 int d=open("d",O_PATH|O_DIRECTORY);
 const char*ps[]={"f","l","abs","up","in","../x","e/../f","/etc/passwd","/f","loop","none",".","..","e/../../d/f","/proc/self/exe","/proc/self/fd/3","/dev/null","/proc/self/cwd/d/f"};
 for(int i=0;i<sizeof ps/sizeof*ps;i++) for(int r=0;r<8;r++) { static unsigned long rs[]={0,RESOLVE_NO_XDEV,RESOLVE_NO_MAGICLINKS,RESOLVE_NO_SYMLINKS,RESOLVE_BENEATH,RESOLVE_IN_ROOT,RESOLVE_CACHED,RESOLVE_BENEATH|RESOLVE_NO_XDEV}; if(rs[r]==RESOLVE_CACHED||(r==1&&i==2))continue; try(d,ps[i],O_RDONLY,rs[r]); }
 try(d,"f",O_RDONLY|O_CREAT,0); try(d,"new",O_CREAT|O_WRONLY,RESOLVE_BENEATH); try(d,"../n2",O_CREAT|O_WRONLY,RESOLVE_BENEATH); try(d,"../n2",O_CREAT|O_WRONLY,RESOLVE_IN_ROOT); try(d,"l",O_NOFOLLOW,0); try(d,"l",O_PATH|O_NOFOLLOW,RESOLVE_NO_SYMLINKS); try(d,"f",O_RDONLY,64); try(d,"f",O_RDONLY,24); try(d,"f",1UL<<40,0); try(d,"f",O_PATH|O_RDWR,0); try(d,"e",O_DIRECTORY|O_CREAT,0); try(AT_FDCWD,"d/../x",O_RDONLY,RESOLVE_BENEATH); try(1000,"f",O_RDONLY,0); try(1000,"/etc/passwd",O_RDONLY,0); try(1000,"/etc/passwd",O_RDONLY,RESOLVE_IN_ROOT); 
 struct {struct open_how h; long more;} big={{.flags=O_RDONLY}}; printf("%d\n",(int)syscall(SYS_openat2,d,"f",&big,sizeof big)>0); big.more=1; syscall(SYS_openat2,d,"f",&big,sizeof big); printf("%s\n",strerror(errno)); syscall(SYS_openat2,d,"f",&big,10); printf("%s\n",strerror(errno)); struct open_how m={.flags=O_RDONLY,.mode=0644}; syscall(SYS_openat2,d,"f",&m,sizeof m); printf("%s\n",strerror(errno)); m.flags=O_CREAT|O_WRONLY; m.mode=0100644; syscall(SYS_openat2,d,"q",&m,sizeof m); printf("%s\n",strerror(errno)); }
