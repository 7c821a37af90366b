/* A little of everything a kernel does for programs, the same on every run: compared between the emulated kernel and real ones. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void on_signal(int number) { (void)number; }

static void loopback_up(void)
{
	struct ifreq request = { .ifr_name = "lo" };
	int s = socket(AF_INET, SOCK_DGRAM, 0);
	if (ioctl(s, SIOCGIFFLAGS, &request) == 0 && !(request.ifr_flags & IFF_UP)) {
		request.ifr_flags |= IFF_UP;
		ioctl(s, SIOCSIFFLAGS, &request);
	}
	close(s);
}

static void files(void)
{
	char buffer[256];
	struct stat status;
	struct iovec pieces[2] = { { buffer, 4 }, { buffer + 4, 4 } };
	mkdir("kw.d", 0755);
	mkdir("kw.d", 0755);
	int fd = open("kw.d/a", O_RDWR | O_CREAT | O_TRUNC, 0644);
	write(fd, "hello, kernel", 13);
	writev(fd, pieces, 2);
	lseek(fd, 0, SEEK_SET);
	read(fd, buffer, 5);
	readv(fd, pieces, 2);
	pread(fd, buffer, 3, 1);
	fstat(fd, &status);
	ftruncate(fd, 3);
	fsync(fd);
	close(fd);
	close(fd);
	truncate("kw.d/a", 100);
	stat("kw.d/a", &status);
	stat("kw.d/none", &status);
	open("kw.d/none", O_RDONLY);
	access("kw.d/a", W_OK);
	symlink("a", "kw.d/link");
	readlink("kw.d/link", buffer, sizeof buffer);
	link("kw.d/a", "kw.d/b");
	rename("kw.d/b", "kw.d/c");
	mknod("kw.d/fifo", S_IFIFO | 0600, 0);
	mknod("kw.d/plain", S_IFREG | 0600, 0);
	DIR *directory = opendir("kw.d");
	while (readdir(directory))
		;
	closedir(directory);
	rmdir("kw.d");
	unlink("kw.d/a");
	unlink("kw.d/link");
	unlink("kw.d/c");
	unlink("kw.d/fifo");
	unlink("kw.d/plain");
	unlink("kw.d/plain");
	rmdir("kw.d");
}

static void processes(char *self)
{
	int ends[2], status;
	char c;
	pipe(ends);
	pid_t child = fork();
	if (child == 0) {
		read(ends[0], &c, 1);
		_exit(3);
	}
	write(ends[1], "x", 1);
	waitpid(child, &status, 0);
	close(ends[0]);
	signal(SIGPIPE, on_signal);
	write(ends[1], "x", 1);
	close(ends[1]);
	child = fork();
	if (child == 0) {
		execl(self, "kernelwork", "again", NULL);
		_exit(127);
	}
	waitpid(child, &status, 0);
	execl("/none", "none", NULL);
	child = fork();
	if (child == 0) {
		for (;;)
			pause();
	}
	kill(child, SIGTERM);
	waitpid(child, &status, 0);
	signal(SIGUSR1, on_signal);
	raise(SIGUSR1);
	kill(getpid(), SIGUSR1);
	signal(SIGUSR2, SIG_IGN);
	kill(getpid(), SIGUSR2);
	struct timespec moment = { 0, 1000000 };
	nanosleep(&moment, NULL);
}

static void memory(void)
{
	char *p = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	p[0] = 1;
	munmap(p, 16384);
	munmap((void *)1, 1);
}

static void network(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(4321), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons(4321), .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	char buffer[64];
	int on = 1;
	loopback_up();
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	bind(listener, (struct sockaddr *)&address, sizeof address);
	listen(listener, 4);
	int client = socket(AF_INET, SOCK_STREAM, 0);
	connect(client, (struct sockaddr *)&address, sizeof address);
	int server = accept(listener, NULL, NULL);
	write(client, "question", 8);
	read(server, buffer, sizeof buffer);
	send(server, "answer", 6, 0);
	recv(client, buffer, sizeof buffer, 0);
	close(client);
	read(server, buffer, sizeof buffer);
	close(server);
	close(listener);
	client = socket(AF_INET, SOCK_STREAM, 0);
	connect(client, (struct sockaddr *)&address, sizeof address);
	close(client);
	client = socket(AF_INET6, SOCK_STREAM, 0);
	connect(client, (struct sockaddr *)&six, sizeof six);
	close(client);
	int one = socket(AF_INET, SOCK_DGRAM, 0), other = socket(AF_INET, SOCK_DGRAM, 0);
	bind(one, (struct sockaddr *)&address, sizeof address);
	sendto(other, "packet", 6, 0, (struct sockaddr *)&address, sizeof address);
	recv(one, buffer, sizeof buffer, 0);
	close(one);
	close(other);
}

int main(int count, char **arguments)
{
	if (count > 1)
		return 5;
	chdir("/dev/shm");
	files();
	processes(arguments[0]);
	memory();
	network();
	return 0;
}
