/* expect: exit 0 */
/* Huge counts on memory nobody has touched: what is transferred is what there is, and costs no more. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define SIZE (1UL << 30)

int main(void)
{
	char *memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	int ends[2], pair[2], file = open("/tmp/file", O_RDWR | O_CREAT | O_TRUNC, 0600), null = open("/dev/null", O_RDWR);
	struct iovec pieces[2] = {{memory, 4}, {memory + 4096, SIZE - 4096}};
	if (memory == MAP_FAILED || pipe2(ends, O_NONBLOCK) || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair))
		return 1;
	if (write(file, "hello, world", 12) != 12 || pread(file, memory, SIZE, 0) != 12 || preadv(file, pieces, 2, 0) != 12)
		return 2;
	if (write(ends[1], "hello", 5) != 5 || read(ends[0], memory, SIZE) != 5 || read(ends[0], memory, SIZE) != -1)
		return 3;
	if (send(pair[0], "hello", 5, 0) != 5 || recv(pair[1], memory, SIZE, 0) != 5)
		return 4;
	if (read(null, memory, SIZE) != 0 || write(null, memory, SIZE) != SIZE || writev(null, pieces, 2) != SIZE - 4092)
		return 5;
	if (write(ends[1], memory, SIZE) != 65536)
		return 6;
	long sent = send(pair[0], memory, SIZE, MSG_DONTWAIT);
	if (sent <= 0 || sent >= SIZE)
		return 7;
	return 0;
}
