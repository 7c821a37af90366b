/* inotify(7): which events a watched directory and file give, in which order. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int fd;
static unsigned cookie;

static void show(const char *title)
{
    char buffer[8192] __attribute__((aligned(8)));
    int length = read(fd, buffer, sizeof buffer);
    printf("%s\n", title);
    for (char *at = buffer; at < buffer + length;) {
        struct inotify_event *event = (void *)at;
        printf("  %d %08x %s %s", event->wd, event->mask, event->len ? event->name : "-", event->cookie ? "moved" : "");
        if (event->mask & IN_MOVED_FROM)
            cookie = event->cookie;
        printf(event->mask & IN_MOVED_TO ? " %d\n" : "\n", event->cookie == cookie);
        at += sizeof *event + event->len;
    }
}

int main(void)
{
    char folder[] = "/tmp/notifyXXXXXX", text[100];
    chdir(mkdtemp(folder));
    mkdir("in", 0755), mkdir("other", 0755);
    fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    printf("%d %s\n", (int)read(fd, text, 100), strerror(errno));
    printf("%d %d\n", inotify_add_watch(fd, "in", IN_ALL_EVENTS), inotify_add_watch(fd, "in", IN_ALL_EVENTS));
    int file = open("in/a", O_CREAT | O_RDWR, 0600);
    write(file, "hello", 5), write(file, "hello", 5), pread(file, text, 5, 0);
    struct pollfd ready = {fd, POLLIN};
    printf("poll %d\n", poll(&ready, 1, 0));
    show("create");
    close(file);
    show("close");
    chmod("in/a", 0644), link("in/a", "in/b"), symlink("a", "in/l"), mkfifo("in/f", 0600);
    show("names");
    printf("%d\n", inotify_add_watch(fd, "in/b", IN_ALL_EVENTS));
    rename("in/a", "in/c"), rename("in/c", "other/c"), rename("other/c", "in/d");
    show("renames");
    mkdir("in/sub", 0700), rmdir("in/sub");
    show("directories");
    truncate("in/b", 3), close(open("in/b", O_WRONLY | O_TRUNC));
    show("cut");
    unlink("in/d");
    show("one name less");
    close(open("in/new", O_CREAT | O_WRONLY, 0600)), rename("in/new", "in/b");
    show("replaced");
    printf("%d\n", inotify_add_watch(fd, "in/b", IN_DELETE_SELF | IN_MOVE_SELF | IN_ONESHOT));
    rename("in/b", "in/e");
    show("once");
    file = open("in/e", O_RDONLY);
    inotify_add_watch(fd, "in/e", IN_DELETE_SELF);
    unlink("in/e");
    show("still open");
    close(file);
    show("closed");
    printf("%d %s\n", inotify_rm_watch(fd, 99), strerror(errno));
    inotify_rm_watch(fd, 1);
    show("removed");
    printf("%d\n", inotify_add_watch(fd, "other", IN_CREATE | IN_ONLYDIR));
    printf("%d %s\n", inotify_add_watch(fd, "in/l", IN_CREATE | IN_ONLYDIR), strerror(errno));
    fcntl(fd, F_SETFL, 0);
    if (!fork()) {
        usleep(10000);
        close(creat("other/late", 0600));
        _exit(0);
    }
    show("late");
    wait(NULL);
    chdir("/");
    sprintf(text, "rm -r %s", folder);
    return system(text);
}
