"""futex(2): waiting for a word of memory to change (kernel/futex/)."""

from __future__ import annotations

from contextlib import nullcontext
from errno import EAGAIN, EDEADLK, EFAULT, EINVAL, ENOSYS, EPERM, ESRCH, ETIMEDOUT
from typing import TYPE_CHECKING

from pyprobe.runtime.user import hrtimers
from pyprobe.runtime.user.errors import Block, Errno
from pyprobe.runtime.user.words import NANOSECONDS, U32, read_timespec, s32

if TYPE_CHECKING:
    from pyprobe.runtime.machine.memory import AddressSpace
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task

FUTEX_WAIT, FUTEX_WAKE, FUTEX_FD, FUTEX_REQUEUE, FUTEX_CMP_REQUEUE, FUTEX_WAKE_OP, FUTEX_LOCK_PI = range(7)
FUTEX_UNLOCK_PI, FUTEX_TRYLOCK_PI, FUTEX_WAIT_BITSET, FUTEX_WAKE_BITSET = 7, 8, 9, 10
FUTEX_LOCK_PI2 = 13
FUTEX_PRIVATE_FLAG, FUTEX_CLOCK_REALTIME = 128, 256
CLOCK_REALTIME = 0
MATCH_ANY = U32
FUTEX_WAITERS, FUTEX_OWNER_DIED, FUTEX_TID_MASK = 0x80000000, 0x40000000, 0x3FFFFFFF
ROBUST_LIST_LIMIT = 2048

Key = tuple[object, int]


class Waiter:
    """A task in a futex's queue."""

    __slots__ = ("bitset", "key", "owner", "woken")

    def __init__(self, key: Key, bitset: int, owner: int = 0) -> None:
        """owner: the id that takes a priority-inheriting lock; 0: it waits for a change only."""
        self.owner = owner
        self.key = key
        self.bitset = bitset
        self.woken = False

    def is_woken(self) -> bool:
        """For the scheduler."""
        return self.woken


def futex_key(space: AddressSpace, address: int) -> Key:
    """What identifies the word for everybody who shares it. Raises Errno."""
    if address % 4:
        raise Errno(EINVAL)
    vma = space.find(address)
    if vma is not None and vma.shared and vma.backing is not None:
        return vma.backing, vma.offset + address - vma.start
    if vma is None or not vma.prot:
        raise Errno(EFAULT)
    return space, address


def futex_wake(k: Kernel, space: AddressSpace, address: int, count: int, bitset: int = MATCH_ANY) -> int:
    """Wake up to `count` waiters, oldest first; how many."""
    return _wake(k, futex_key(space, address), count, bitset)


def _wake(k: Kernel, key: Key, count: int, bitset: int = MATCH_ANY) -> int:
    queue = k.futexes.get(key)
    if not queue:
        return 0
    woken = 0
    for waiter in list(queue):
        if woken >= count:
            break
        if waiter.bitset & bitset:
            queue.remove(waiter)
            waiter.woken = True
            woken += 1
    if not queue:
        del k.futexes[key]
    return woken


def leave(k: Kernel, waiter: Waiter) -> None:
    """The task waits no longer."""
    queue = k.futexes.get(waiter.key)
    if queue and waiter in queue:
        queue.remove(waiter)
        if not queue:
            del k.futexes[waiter.key]


def _wait(k: Kernel, t: Task, address: int, value: int, deadline: int | None, bitset: int, clock: int = hrtimers.CLOCK_MONOTONIC) -> int:
    waiter = t.restart.get("futex")
    timer = None
    if waiter is None:
        timer = setup_timer(k, deadline, clock)
    if waiter is None:
        if not bitset:
            raise Errno(EINVAL)
        key = futex_key(t.space, address)
        if t.space.u32(address) != value & U32:
            raise Errno(EAGAIN)
        waiter = t.restart["futex"] = Waiter(key, bitset)
        k.futexes.setdefault(key, []).append(waiter)
    assert isinstance(waiter, Waiter)
    if waiter.woken:
        return 0
    if timer is not None and deadline is not None:
        timer.start(deadline, hrtimers.HRTIMER_MODE_ABS)
    if deadline is not None and k.clock.now() >= deadline:
        with timer.expiring() if timer is not None else nullcontext():
            leave(k, waiter)
        raise Errno(ETIMEDOUT)
    this = waiter

    def interrupted() -> None:
        leave(k, this)

    raise Block(waiter.is_woken, deadline, why=f"the futex at {address:#x}", interrupted=interrupted, restart=deadline is None, timer=timer)


def setup_timer(k: Kernel, deadline: int | None, clock: int) -> hrtimers.HrTimer | None:
    """The timer of a wait that may have to begin (futex_setup_timer)."""
    if deadline is None or not hrtimers.told(k):
        return None
    timer = hrtimers.HrTimer(k, "hrtimer_wakeup")
    timer.setup(clock, hrtimers.HRTIMER_MODE_ABS)
    return timer


def _deadline(k: Kernel, t: Task, operation: int, timeout: int) -> int | None:
    """The wait's end in ns since boot; it is kept while the call is restarted."""
    if not timeout:
        return None
    known = t.restart.get("deadline")
    if known is None:
        seconds, nanoseconds = read_timespec(t.space, timeout)
        if seconds < 0 or not 0 <= nanoseconds < NANOSECONDS:
            raise Errno(EINVAL)
        known = seconds * NANOSECONDS + nanoseconds
        if operation & FUTEX_CLOCK_REALTIME:
            known -= k.clock.epoch_ns
        elif operation & 0x7F == FUTEX_WAIT:
            known += k.clock.now()
        t.restart["deadline"] = known
    assert isinstance(known, int)
    return known


def sys_futex(k: Kernel, t: Task, uaddr: int, op: int, val: int, timeout: int, uaddr2: int, val3: int) -> int:
    """futex(2) without FUTEX_WAIT_REQUEUE_PI."""
    command = op & 0x7F
    val &= U32
    if command in (FUTEX_WAIT, FUTEX_WAIT_BITSET):
        bitset = val3 & U32 if command == FUTEX_WAIT_BITSET else MATCH_ANY
        clock = CLOCK_REALTIME if op & FUTEX_CLOCK_REALTIME else hrtimers.CLOCK_MONOTONIC
        return _wait(k, t, uaddr, val, _deadline(k, t, op, timeout), bitset, clock)
    if command == FUTEX_WAKE:
        return futex_wake(k, t.space, uaddr, val)
    if command == FUTEX_WAKE_BITSET:
        if not val3 & U32:
            raise Errno(EINVAL)
        return futex_wake(k, t.space, uaddr, val, val3 & U32)
    if command in (FUTEX_REQUEUE, FUTEX_CMP_REQUEUE):
        if command == FUTEX_CMP_REQUEUE and t.space.u32(uaddr) != val3 & U32:
            raise Errno(EAGAIN)
        return _requeue(k, t, uaddr, val, timeout & U32, uaddr2)
    if command == FUTEX_WAKE_OP:
        return _wake_op(k, t, uaddr, val, timeout & U32, uaddr2, val3 & U32)
    if command in (FUTEX_LOCK_PI, FUTEX_TRYLOCK_PI, FUTEX_LOCK_PI2):
        clocked = op | (FUTEX_CLOCK_REALTIME if command == FUTEX_LOCK_PI else 0)
        clock = CLOCK_REALTIME if clocked & FUTEX_CLOCK_REALTIME else hrtimers.CLOCK_MONOTONIC
        return _lock_pi(k, t, uaddr, command, _deadline(k, t, clocked, timeout), clock)
    if command == FUTEX_UNLOCK_PI:
        return _unlock_pi(k, t, uaddr)
    raise Errno(ENOSYS)


def _lock_pi(k: Kernel, t: Task, address: int, command: int, deadline: int | None, clock: int) -> int:
    """Take the lock whose owner's id is in the word, or wait for it in the order of arrival; nobody's priority changes."""
    space = t.space
    waiter = t.restart.get("futex")
    timer = None
    if isinstance(waiter, Waiter):
        if waiter.woken:
            return 0  # the unlocker has put this task's id there
        if deadline is not None and k.clock.now() >= deadline:
            leave(k, waiter)
            raise Errno(ETIMEDOUT)
    else:
        timer = setup_timer(k, deadline, clock)
        key = futex_key(space, address)
        word = space.u32(address)
        owner = word & FUTEX_TID_MASK
        if owner == t.tid:
            raise Errno(EDEADLK)
        if not owner:
            space.put_u32(address, t.tid | word & (FUTEX_WAITERS | FUTEX_OWNER_DIED))
            return 0
        if command == FUTEX_TRYLOCK_PI:
            raise Errno(EAGAIN)
        if owner not in k.tasks:
            raise Errno(ESRCH)
        space.put_u32(address, word | FUTEX_WAITERS)
        waiter = t.restart["futex"] = Waiter(key, MATCH_ANY, t.tid)
        k.futexes.setdefault(key, []).append(waiter)
    this = waiter
    if timer is not None and deadline is not None:
        timer.start(deadline, hrtimers.HRTIMER_MODE_ABS)
    raise Block(this.is_woken, deadline, why=f"the lock at {address:#x}", interrupted=lambda: leave(k, this), timer=timer)


def _unlock_pi(k: Kernel, t: Task, address: int) -> int:
    """Give the lock to who has waited longest."""
    key = futex_key(t.space, address)
    if t.space.u32(address) & FUTEX_TID_MASK != t.tid:
        raise Errno(EPERM)
    hand_over(k, t.space, address, key, 0)
    return 0


def hand_over(k: Kernel, space: AddressSpace, address: int, key: Key, flags: int) -> None:
    """The lock's word gets its next owner's id, with `flags`; nobody's if nobody waits."""
    queue = k.futexes.get(key, [])
    new = next((w for w in queue if w.owner), None)
    if new is not None:
        leave(k, new)
        new.woken = True
        flags |= new.owner | (FUTEX_WAITERS if any(w.owner for w in k.futexes.get(key, ())) else 0)
    space.put_u32(address, flags)


def _requeue(k: Kernel, t: Task, uaddr: int, wake: int, move: int, uaddr2: int) -> int:
    source, target = futex_key(t.space, uaddr), futex_key(t.space, uaddr2)
    woken = _wake(k, source, wake)
    queue = k.futexes.get(source, [])
    moved = queue[:move]
    if moved and source != target:
        del queue[: len(moved)]
        if not queue:
            k.futexes.pop(source, None)
        for waiter in moved:
            waiter.key = target
        k.futexes.setdefault(target, []).extend(moved)
    return woken + len(moved)


def _wake_op(k: Kernel, t: Task, uaddr: int, wake: int, wake2: int, uaddr2: int, encoded: int) -> int:
    operation, compare = encoded >> 28 & 7, encoded >> 24 & 15
    argument, against = encoded >> 12 & 0xFFF, encoded & 0xFFF
    if encoded >> 31:
        argument = 1 << (argument & 31)
    old = t.space.u32(uaddr2)
    new = {0: argument, 1: old + argument, 2: old | argument, 3: old & ~argument, 4: old ^ argument}.get(operation)
    left, right = s32(old), against - 0x1000 if against & 0x800 else against
    holds = {0: left == right, 1: left != right, 2: left < right, 3: left <= right, 4: left > right, 5: left >= right}.get(compare)
    if new is None or holds is None:
        raise Errno(ENOSYS)
    t.space.put_u32(uaddr2, new)
    woken = futex_wake(k, t.space, uaddr, wake)
    return woken + futex_wake(k, t.space, uaddr2, wake2) if holds else woken


def sys_set_robust_list(k: Kernel, t: Task, head: int, length: int) -> int:
    """set_robust_list(2)."""
    if length != 24:
        raise Errno(EINVAL)
    t.robust_list = head
    return 0


def sys_get_robust_list(k: Kernel, t: Task, pid: int, head: int, length: int) -> int:
    """get_robust_list(2)."""

    other = k.tasks.get(pid) if pid else t
    if other is None:
        raise Errno(ESRCH)
    t.space.put_u64(head, other.robust_list)
    t.space.put_u64(length, 24)
    return 0


def exit_robust_list(k: Kernel, t: Task) -> None:
    """Mark the locks a dying thread holds, and wake who waits for them (kernel/futex/core.c)."""
    space = t.space
    head = t.robust_list
    entry = space.u64(head)  # bit 0: a priority-inheriting lock
    offset = space.u64(head + 8)
    pending = space.u64(head + 16)
    locks: list[int] = []
    while entry & ~1 != head and len(locks) < ROBUST_LIST_LIMIT:
        if entry & ~1 != pending & ~1:
            locks.append(entry)
        entry = space.u64(entry & ~1)
    if pending & ~1:
        locks.append(pending)
    for lock in locks:
        address = ((lock & ~1) + offset) & ((1 << 64) - 1)
        word = space.u32(address)
        if word & FUTEX_TID_MASK == t.tid and lock & 1:
            hand_over(k, space, address, futex_key(space, address), FUTEX_OWNER_DIED)
        elif word & FUTEX_TID_MASK == t.tid:
            space.put_u32(address, word & FUTEX_WAITERS | FUTEX_OWNER_DIED)
            if word & FUTEX_WAITERS:
                futex_wake(k, space, address, 1)
