/* Connections of every kind that a loopback knows: ended by either side, reset, refused, never accepted; over IPv4 and IPv6. */
#include <arpa/inet.h>
#include <net/if.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static struct sockaddr_storage place;
static socklen_t size;
static char buffer[64];

static void loopback_up(void)
{
	struct ifreq lo = { .ifr_name = "lo" };
	int s = socket(AF_INET, SOCK_DGRAM, 0);
	ioctl(s, SIOCGIFFLAGS, &lo);
	lo.ifr_flags |= IFF_UP;
	ioctl(s, SIOCSIFFLAGS, &lo);
	close(s);
}

static int connected(int type)
{
	int s = socket(place.ss_family, type, 0);
	connect(s, (struct sockaddr *)&place, size);
	return s;
}

static void family(void *address, socklen_t length)
{
	int on = 1, client, server, listener;
	memcpy(&place, address, size = length);
	listener = socket(place.ss_family, SOCK_STREAM, 0);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	bind(listener, (struct sockaddr *)&place, size);
	listen(listener, 4);

	client = connected(SOCK_STREAM), server = accept(listener, NULL, NULL); /* the client ends it */
	write(client, "x", 1);
	read(server, buffer, sizeof buffer);
	close(client);
	read(server, buffer, sizeof buffer);
	close(server);

	client = connected(SOCK_STREAM), server = accept(listener, NULL, NULL); /* the server ends it */
	close(server);
	read(client, buffer, sizeof buffer);
	close(client);

	client = connected(SOCK_STREAM), server = accept(listener, NULL, NULL); /* with something unread */
	write(client, "unread", 6);
	close(server);
	read(client, buffer, sizeof buffer);
	close(client);

	client = connected(SOCK_STREAM), server = accept(listener, NULL, NULL); /* somebody goes on writing */
	close(server);
	write(client, "late", 4);
	write(client, "later", 5);
	close(client);

	client = connected(SOCK_STREAM), server = accept(listener, NULL, NULL); /* first one direction, then the other */
	shutdown(client, SHUT_WR);
	read(server, buffer, sizeof buffer);
	shutdown(server, SHUT_WR);
	close(server);
	close(client);

	client = connected(SOCK_STREAM); /* never accepted */
	close(listener);
	close(client);
	close(connected(SOCK_STREAM)); /* refused */
	close(socket(place.ss_family, SOCK_STREAM, 0));

	client = connected(SOCK_DGRAM);
	send(client, "1", 1, 0);
	send(client, "2", 1, 0);
	close(client);
}

int main(void)
{
	struct sockaddr_in four = { .sin_family = AF_INET, .sin_port = htons(4321), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons(4322), .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	signal(SIGPIPE, SIG_IGN);
	loopback_up();
	family(&four, sizeof four);
	family(&six, sizeof six);
	return 0;
}
