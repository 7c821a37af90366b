/* Sends one packet of 5 bytes to itself through vsock's loopback, and says so. */
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/vm_sockets.h>

int main(void) {
    struct sockaddr_vm address = { .svm_family = AF_VSOCK, .svm_port = 1234, .svm_cid = VMADDR_CID_LOCAL };
    char got[16];
    int server = socket(AF_VSOCK, SOCK_STREAM, 0), client = socket(AF_VSOCK, SOCK_STREAM, 0), peer;
    if (bind(server, (struct sockaddr *)&address, sizeof address) || listen(server, 1))
        return perror("listen"), 1;
    if (connect(client, (struct sockaddr *)&address, sizeof address))
        return perror("connect"), 1;
    peer = accept(server, 0, 0);
    if (write(client, "hello", 5) != 5 || read(peer, got, sizeof got) != 5)
        return perror("read"), 1;
    puts("sent");
    return 0;
}
