"""TCP on the machine's own loopback: tcp(7), net/ipv4/tcp.c.

What a segment would bring about at the other end happens at once; states change, and are told, in the order in which Linux's do.
"""

from __future__ import annotations

import errno
from collections import deque
from typing import TYPE_CHECKING, Final

from pyprobe.runtime.user.errors import Errno
from pyprobe.runtime.user.functions import kernel_function
from pyprobe.runtime.user.vfs.inet import InetSocket, running_task
from pyprobe.runtime.user.vfs.sockaddr import AF_INET, ANY, Address, InetAddress
from pyprobe.runtime.user.vfs.socket import SHUT_RDWR, SHUT_WR, SO_SNDTIMEO, Message, Socket
from pyprobe.runtime.user.vfs.stream import StreamSocket

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task
    from pyprobe.runtime.user.tracepoints import Tracepoint

IPPROTO_TCP: Final = 6
# include/net/tcp_states.h
TCP_ESTABLISHED, TCP_SYN_SENT, TCP_SYN_RECV, TCP_FIN_WAIT1, TCP_FIN_WAIT2, TCP_TIME_WAIT, TCP_CLOSE = range(1, 8)
TCP_CLOSE_WAIT, TCP_LAST_ACK, TCP_LISTEN = range(8, 11)
_RESETS: Final = {TCP_SYN_SENT: errno.ECONNREFUSED, TCP_CLOSE_WAIT: errno.EPIPE}  # what a reset means, by the state it comes in


class TcpSocket(InetSocket, StreamSocket):
    """A TCP socket."""

    ip_protocol = IPPROTO_TCP
    state = TCP_CLOSE
    _pending = False  # a connect without waiting has been started, its success not yet told
    _reset = False  # the peer is gone and something was sent to it
    _destroyed = False

    def new_connection(self, k: Kernel) -> TcpSocket:
        """A socket for a connection to this one: at first it has all that its parent has (inet_csk_clone_lock)."""
        other = TcpSocket(k, self.type, self.protocol, 0, self.family)
        other.options = dict(self.options)
        other.local, other.asked, other.state = self.local, self.asked, TCP_LISTEN
        other.change_state(k, TCP_SYN_RECV)
        return other

    def listen(self, k: Kernel, t: Task, backlog: int) -> None:
        if self.connected:
            raise Errno(errno.EINVAL)
        self.autobind(ANY)
        if self.backlog is None:
            self.backlog = deque()
            self.change_state(k, TCP_LISTEN)
        self.backlog_limit = max(0, min(backlog, 4096)) + 1

    def connect(self, k: Kernel, t: Task, address: Address) -> None:
        if self.connected:
            if self._pending:
                self._pending = False
                return
            raise Errno(errno.EISCONN)
        if self.backlog is not None:
            raise Errno(errno.EISCONN)
        if "connecting" not in t.restart:
            self._check_connected(k)
            target = self.destination(address)
            k.tcp_v4_connect(self, target, 16) if self.family == AF_INET else k.tcp_v6_connect(self, target, 28)
            if self.nonblocking:
                self._pending = not self.error
                raise Errno(errno.EINPROGRESS)
        if not self.connected and not self.error:
            t.restart["connecting"] = True
            listener = self._network.find(self.type, self.destination(address), listening=True)
            if isinstance(listener, TcpSocket) and not self.try_connect(k, listener):
                waiting = listener
                self.wait(k, t, 0, lambda: waiting.closed or waiting.has_room, "a listening socket", option=SO_SNDTIMEO)
            elif listener is None:
                self.error = errno.ECONNREFUSED
        self._check_connected(k)

    def _check_connected(self, k: Kernel) -> None:
        """Raises the error of a connect, which undoes what it did to the socket (tcp_disconnect)."""
        if self.error and not self.connected and isinstance(self.local, InetAddress) and isinstance(self.remote, InetAddress):
            if self.asked.host == ANY:
                self.local = InetAddress(ANY, self.local.port)
            self.remote = InetAddress(self.remote.host, 0)
            self.report_error(k, 0)
        self.check_error()

    @property
    def has_room(self) -> bool:
        """Whether a listening socket takes another connection."""
        return self.backlog is not None and len(self.backlog) < self.backlog_limit

    def try_connect(self, k: Kernel, listener: TcpSocket) -> bool:
        """Make the connection; False when the listener's queue is full."""
        if not listener.has_room or listener.backlog is None:
            return False
        assert isinstance(self.remote, InetAddress)
        self.connected = True
        k.tcp_set_state(self, TCP_ESTABLISHED)
        server = listener.new_connection(k)
        server.local, server.remote = self.remote, self.local
        self.join(server)
        k.tcp_set_state(server, TCP_ESTABLISHED)
        listener.backlog.append(server)
        listener.incoming.arrived += 1
        self.incoming.arrived += 1
        return True

    def accept(self, k: Kernel, t: Task) -> Socket:
        found: Socket = k.inet_csk_accept(self, None)
        return found

    def wait_connection(self, k: Kernel, t: Task) -> Socket:
        """The next connection of a listening socket."""
        return super().accept(k, t)

    def sendmsg(self, k: Kernel, t: Task, message: Message) -> int:
        result: int = k.tcp_sendmsg(self, message, message.size)
        return result

    def recvmsg(self, k: Kernel, t: Task, message: Message) -> int:
        result: int = k.tcp_recvmsg(self, message, message.size, message.flags, None)
        return result

    def send_stream(self, k: Kernel, t: Task, message: Message) -> int:
        """What tcp_sendmsg does."""
        return super().sendmsg(k, t, message)

    def receive_stream(self, k: Kernel, t: Task, message: Message) -> int:
        """What tcp_recvmsg does."""
        return super().recvmsg(k, t, message)

    def broken(self, k: Kernel, t: Task, message: Message) -> int:
        if not self.write_shut and not self._reset:
            self._reset = True  # the first segment is sent; the answer says that nobody is there
            peer = self.peer
            if isinstance(peer, TcpSocket) and peer.state != TCP_CLOSE:
                k.tcp_set_state(peer, TCP_FIN_WAIT2)
                k.tcp_set_state(peer, TCP_CLOSE)
                peer.sent_reset(k, answers=True)
            self.received_reset(k)
            return message.size
        return super().broken(k, t, message)

    def close(self, k: Kernel) -> None:
        k.tcp_close(self, 0)

    def end(self, k: Kernel) -> None:
        """What tcp_close does."""
        self._network.release(self)
        peer = self.peer
        if self.state in (TCP_LISTEN, TCP_SYN_SENT):
            k.tcp_set_state(self, TCP_CLOSE)
            while self.backlog:
                child = self.backlog.popleft()
                assert isinstance(child, TcpSocket)
                child.abort(k)
        elif self.incoming.chunks and self.state != TCP_CLOSE:  # what nobody will read: a reset instead of an orderly end
            k.tcp_set_state(self, TCP_CLOSE)
            if isinstance(peer, TcpSocket) and peer.state != TCP_CLOSE:
                peer.received_reset(k)
            self.sent_reset(k)
        else:
            self._finish(k)
        super().close(k)
        self._destroy(k)

    def abort(self, k: Kernel) -> None:
        """End a connection that was never accepted (inet_csk_listen_stop, tcp_disconnect)."""
        peer, alive = self.peer, self.state != TCP_CLOSE
        if alive:
            k.tcp_set_state(self, TCP_CLOSE)
            self.sent_reset(k)
        assert isinstance(self.remote, InetAddress)
        self.remote = InetAddress(self.remote.host, 0)
        if alive:
            self.report_error(k, errno.ECONNRESET)
        super().close(k)
        self._destroy(k)
        if alive and isinstance(peer, TcpSocket) and peer.state != TCP_CLOSE:
            peer.error = errno.ECONNRESET
            peer.received_reset(k)

    def _destroy(self, k: Kernel) -> None:
        """Tell the end of a socket (tcp_v4_destroy_sock), once it is closed by its program and by its peer."""
        if self._destroyed or not self.closed or self.state != TCP_CLOSE:
            return
        self._destroyed = True
        self._tell(k, k.tracepoints.tcp_destroy_sock)

    def shutdown(self, k: Kernel, how: int) -> None:
        super().shutdown(k, how)
        if how in (SHUT_WR, SHUT_RDWR):
            self._finish(k)

    def _finish(self, k: Kernel) -> None:
        """Send the FIN (tcp_close_state): the peer answers at once."""
        peer = self.peer
        if not isinstance(peer, TcpSocket) or self.state not in (TCP_ESTABLISHED, TCP_CLOSE_WAIT):
            return
        if self.state == TCP_ESTABLISHED:
            k.tcp_set_state(self, TCP_FIN_WAIT1)
            k.tcp_set_state(peer, TCP_CLOSE_WAIT)
            return
        k.tcp_set_state(self, TCP_LAST_ACK)
        k.tcp_set_state(peer, TCP_FIN_WAIT2)
        k.tcp_set_state(peer, TCP_CLOSE)
        k.tcp_set_state(self, TCP_CLOSE)

    def change_state(self, k: Kernel, state: int) -> None:
        """inet_sk_state_store: the new state, told."""
        old, self.state = self.state, state
        tp = k.tracepoints.inet_sock_set_state
        if tp.callbacks:
            ports, addresses = self.ends()
            tp.fire(k.functions.object_address(self, "struct sock"), old, state, *ports, self.family, IPPROTO_TCP, *addresses)
        self._destroy(k)

    def sent_reset(self, k: Kernel, *, answers: bool = False) -> None:
        """Tell that this end has sent a reset (trace_tcp_send_reset); answers: to a segment, which is the one it is told with."""
        tp = k.tracepoints.tcp_send_reset
        if tp.callbacks:
            ports, addresses = self.ends()
            skb = k.functions.object_address(self.incoming, "struct sk_buff") if answers else 0
            tp.fire(skb, k.functions.object_address(self, "struct sock"), self.state, *ports, self.family, *addresses)

    def received_reset(self, k: Kernel) -> None:
        """A reset has come (tcp_reset): tell it, and the error that it means."""
        error = _RESETS.get(self.state, errno.ECONNRESET)
        self._tell(k, k.tracepoints.tcp_receive_reset)
        k.tcp_set_state(self, TCP_CLOSE)
        if not self.closed:
            self.report_error(k, error)

    def _tell(self, k: Kernel, tp: Tracepoint) -> None:
        """Fire an event of the class tcp_event_sk (include/trace/events/tcp.h)."""
        if tp.callbacks:
            ports, addresses = self.ends()
            tp.fire(k.functions.object_address(self, "struct sock"), *ports, self.family, *addresses, self.cookie(k))


def _connect(k: Kernel, sk: TcpSocket, target: InetAddress) -> int:
    sk.remote = target
    unbound = sk.local is None
    if unbound:
        sk.local = InetAddress(sk.source_host(target), 0)  # as it is told; the port comes next
    k.tcp_set_state(sk, TCP_SYN_SENT)
    if unbound:
        sk.local = None
    sk.autobind(sk.source_host(target))
    if isinstance(sk.local, InetAddress) and sk.local.host == ANY:
        sk.local = InetAddress(sk.source_host(target), sk.local.port)
    k.tcp_connect(sk)
    return 0


@kernel_function("int tcp_v4_connect(struct sock *sk, struct sockaddr *uaddr, int addr_len)")
def tcp_v4_connect(k: Kernel, sk: TcpSocket, uaddr: InetAddress, addr_len: int) -> int:
    """Begin a connection over IPv4."""
    return _connect(k, sk, uaddr)


@kernel_function("int tcp_v6_connect(struct sock *sk, struct sockaddr *uaddr, int addr_len)")
def tcp_v6_connect(k: Kernel, sk: TcpSocket, uaddr: InetAddress, addr_len: int) -> int:
    """Begin a connection over IPv6."""
    return _connect(k, sk, uaddr)


@kernel_function("int tcp_connect(struct sock *sk)")
def tcp_connect(k: Kernel, sk: TcpSocket) -> int:
    """Send the SYN: the listener answers at once, or the error is set."""
    assert isinstance(sk.remote, InetAddress)
    listener = k.vfs.network.find(sk.type, sk.remote, listening=True)
    if not isinstance(listener, TcpSocket):
        sk.error = errno.ECONNREFUSED
        sk.incoming.arrived += 1
        sk.received_reset(k)
    else:
        sk.try_connect(k, listener)
    return 0


@kernel_function("void tcp_set_state(struct sock *sk, int state)")
def tcp_set_state(k: Kernel, sk: TcpSocket, state: int) -> None:
    """Go from one state of TCP to another."""
    sk.change_state(k, state)


@kernel_function("struct sock *inet_csk_accept(struct sock *sk, struct proto_accept_arg *arg)")
def inet_csk_accept(k: Kernel, sk: TcpSocket, arg: None) -> Socket:
    """Wait for the next connection of a listening socket."""
    return sk.wait_connection(k, running_task(k))


@kernel_function("int tcp_sendmsg(struct sock *sk, struct msghdr *msg, size_t size)")
def tcp_sendmsg(k: Kernel, sk: TcpSocket, msg: Message, size: int) -> int:
    """Send on a connection."""
    return sk.send_stream(k, running_task(k), msg)


@kernel_function("int tcp_recvmsg(struct sock *sk, struct msghdr *msg, size_t len, int flags, int *addr_len)")
def tcp_recvmsg(k: Kernel, sk: TcpSocket, msg: Message, len: int, flags: int, addr_len: None) -> int:
    """Receive from a connection."""
    return sk.receive_stream(k, running_task(k), msg)


@kernel_function("void tcp_close(struct sock *sk, long timeout)")
def tcp_close(k: Kernel, sk: TcpSocket, timeout: int) -> int:
    """End a TCP socket."""
    sk.end(k)
    return 0
