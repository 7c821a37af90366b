/* Datagram and stream sockets of both families and addresses of both: what connect(2) and its undoing leave as names. */
#include <stdio.h>
#include <string.h>
#include <errno.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
static void show(int f){ struct sockaddr_in6 a; socklen_t n=sizeof a; char t[64]=""; memset(&a,0,sizeof a); int r=getsockname(f,(void*)&a,&n); inet_ntop(a.sin6_family,a.sin6_family==AF_INET?(void*)&((struct sockaddr_in*)&a)->sin_addr:(void*)&a.sin6_addr,t,sizeof t); printf("own %d %d %d %s %d\n",r,n,a.sin6_family,t,a.sin6_port!=0); n=sizeof a; r=getpeername(f,(void*)&a,&n); inet_ntop(a.sin6_family,&a.sin6_addr,t,sizeof t); if(r)printf("peer %s\n",strerror(errno)); else printf("peer %d %d %s %d\n",n,a.sin6_family,t,ntohs(a.sin6_port)); }
#define SHOW(c) do{errno=0;int r_=(c);printf(#c ": %d %s\n",r_,r_?strerror(errno):"");}while(0)
int main(){ struct sockaddr_in four={.sin_family=AF_INET,.sin_port=htons(80)}; four.sin_addr.s_addr=htonl(0x7f000001); struct sockaddr_in6 six={.sin6_family=AF_INET6,.sin6_port=htons(80),.sin6_addr=IN6ADDR_LOOPBACK_INIT}; struct sockaddr none={.sa_family=AF_UNSPEC};
 int f=socket(AF_INET6,SOCK_DGRAM,0); show(f); SHOW(connect(f,(void*)&six,sizeof six)); show(f); SHOW(connect(f,&none,sizeof none)); show(f); SHOW(connect(f,(void*)&four,sizeof four)); show(f); SHOW(connect(f,&none,sizeof none)); show(f); close(f);
 f=socket(AF_INET6,SOCK_DGRAM,0); memset(&four.sin_addr,0,4); SHOW(connect(f,(void*)&four,sizeof four)); show(f); close(f);
 f=socket(AF_INET6,SOCK_DGRAM,0); memset(&six.sin6_addr,0,16); SHOW(connect(f,(void*)&six,sizeof six)); show(f); close(f);
 f=socket(AF_INET6,SOCK_DGRAM,0); inet_pton(AF_INET6,"::ffff:127.0.0.1",&six.sin6_addr); SHOW(connect(f,(void*)&six,sizeof six)); show(f); SHOW(connect(f,&none,sizeof none)); show(f); close(f);
 f=socket(AF_INET,SOCK_DGRAM,0); SHOW(connect(f,(void*)&six,sizeof six)); four.sin_addr.s_addr=htonl(0x7f000001); SHOW(connect(f,(void*)&four,sizeof four)); show(f); SHOW(connect(f,&none,sizeof none)); show(f); close(f);
 f=socket(AF_INET6,SOCK_STREAM,0); SHOW(connect(f,(void*)&four,sizeof four)); close(f); f=socket(AF_INET,SOCK_STREAM,0); SHOW(connect(f,(void*)&six,sizeof six)); SHOW(bind(f,(void*)&six,sizeof six)); close(f); f=socket(AF_INET6,SOCK_STREAM,0); SHOW(bind(f,(void*)&four,sizeof four));
 int one=1; f=socket(AF_INET6,SOCK_DGRAM,0); setsockopt(f,IPPROTO_IPV6,IPV6_V6ONLY,&one,4); SHOW(connect(f,(void*)&four,sizeof four)); SHOW(sendto(f,"x",1,0,(void*)&four,sizeof four));
 f=socket(AF_INET6,SOCK_DGRAM,0); SHOW(sendto(f,"x",1,0,(void*)&four,sizeof four)); show(f);
}
