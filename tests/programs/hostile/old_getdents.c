/* expect: exit 0 */
/* getdents(2) in its old layout: each name with its type in the last byte of the record, all of them, and an end. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct linux_dirent {
	unsigned long d_ino, d_off;
	unsigned short d_reclen;
	char d_name[];
};

int main(void)
{
	char name[64] = "/tmp/names", buffer[256];
	int found[40] = {0}, folder, dots = 0;
	mkdir(name, 0700);
	for (int i = 0; i < 40; i++) {
		sprintf(name, "/tmp/names/%.*s%d", i % 11, "abcdefghijk", i);
		close(open(name, O_CREAT | O_WRONLY, 0600));
	}
	folder = open("/tmp/names", O_RDONLY | O_DIRECTORY);
	for (long size; (size = syscall(SYS_getdents, folder, buffer, sizeof buffer)) != 0;) {
		if (size < 0)
			return 1;
		for (long at = 0; at < size;) {
			struct linux_dirent *entry = (void *)(buffer + at);
			int number = -1, folder = entry->d_name[0] == '.';
			if (entry->d_reclen < 20 || entry->d_reclen % 8 || buffer[at + entry->d_reclen - 1] != (folder ? DT_DIR : DT_REG))
				return 2;
			if (folder)
				dots++;
			else if (sscanf(entry->d_name, "%*[a-k]%d", &number) + sscanf(entry->d_name, "%d", &number) < 0 || number < 0 || found[number]++)
				return 3;
			at += entry->d_reclen;
		}
	}
	for (int i = 0; i < 40; i++)
		if (!found[i])
			return 4;
	return dots == 2 ? 0 : 5;
}
