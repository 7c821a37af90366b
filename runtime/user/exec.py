"""execve: finding the program behind a path, and putting it in the place of the one that runs (fs/exec.c)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from errno import EACCES, EINVAL, ELIBBAD, ELOOP, ENOENT, ENOEXEC, ETXTBSY
from typing import TYPE_CHECKING

from pyprobe.runtime.machine.memory import AddressSpace, Backing, MemoryFault
from pyprobe.runtime.user import cross, loader, ptrace
from pyprobe.runtime.user.capabilities import CAP_SYS_PTRACE, after_exec
from pyprobe.runtime.user.elf import SHEBANG_SIZE, Elf, is_elf, read_elf, shebang
from pyprobe.runtime.user.errors import Errno, TaskGone
from pyprobe.runtime.user.functions import kernel_function
from pyprobe.runtime.user.signals import SIG_DFL, SIG_IGN, Sig, SigInfo, force
from pyprobe.runtime.user.task import COMM_LENGTH, RLIMIT_STACK
from pyprobe.runtime.user.vfs.abi import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_SYMLINK_NOFOLLOW,
    O_NOFOLLOW,
    O_PATH,
    O_RDONLY,
    S_IFMT,
    S_IFREG,
    S_ISGID,
    S_ISUID,
    S_IXGRP,
    X_OK,
)
from pyprobe.runtime.user.vfs.permission import check
from pyprobe.runtime.user.watches import DebugRegisters

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task
    from pyprobe.runtime.user.vfs.inode import Inode
    from pyprobe.runtime.user.vfs.openfile import OpenFile

DEFAULT_PATH = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
EXEC_NS = 250_000  # what replacing a program takes the kernel
MAX_SCRIPTS = 5  # interpreters that are scripts themselves, fs/exec.c


class Binprm:
    """What an exec is working on (struct linux_binprm).

    filename: as the caller gave it; interp: the path of what is really loaded; file: its open file.
    """

    def __init__(self, filename: bytes, argv: tuple[bytes, ...], envp: tuple[bytes, ...]) -> None:
        self.filename = filename
        self.interp = filename
        self.argv = argv
        self.envp = envp
        self.files: list[OpenFile] = []

    def backing(self) -> Backing:
        """The bytes of the program."""
        return self.files[-1].backing(shared_writable=False)

    def open(self, k: Kernel, t: Task, path: bytes, dfd: int = AT_FDCWD, flags: int = 0) -> None:
        """Open what is to be executed (do_open_execat). Raises Errno."""
        self.files.append(open_exec(k, t, path, dfd, flags))

    def close(self, k: Kernel) -> None:
        """Give back the open files."""
        for file in self.files:
            file.release(k)
        self.files.clear()


def check_executable(k: Kernel, t: Task, path: bytes) -> None:
    """Raise Errno unless execve would accept the file: regular, with permission to execute."""
    _check_inode(t, k.vfs.find(k, t, path).require())


def search(k: Kernel, t: Task, name: bytes, env: Sequence[bytes]) -> bytes:
    """The path of a command as exec(3) finds it, by the PATH of `env` (KEY=VALUE strings). Raises Errno."""
    if b"/" in name:
        return name
    path = next((entry[5:] for entry in env if entry.startswith(b"PATH=")), DEFAULT_PATH)
    failure = ENOENT
    for folder in path.split(b":"):
        candidate = (folder or b".") + b"/" + name
        try:
            check_executable(k, t, candidate)
        except Errno as error:
            failure = EACCES if error.errno == EACCES else failure
            continue
        return candidate
    raise Errno(failure)


def open_exec(k: Kernel, t: Task, path: bytes, dfd: int = AT_FDCWD, flags: int = 0) -> OpenFile:
    """Open what is to be executed (do_open_execat). Raises Errno."""
    if not path and flags & AT_EMPTY_PATH:
        file = t.process.files.get(dfd)
        _check_inode(t, file.inode)
        if file.flags & O_PATH:  # a place only: the program is opened for itself
            return file.inode.open(k, t, file.dentry, O_RDONLY)
        file.references += 1
        return file
    file = k.vfs.open(k, t, path, O_RDONLY | (O_NOFOLLOW if flags & AT_SYMLINK_NOFOLLOW else 0), descriptor=dfd)
    try:
        _check_inode(t, file.inode)
        if any(process.files.writes(file.inode) for process in k.processes.values() if process.alive):
            raise Errno(ETXTBSY)
    except Errno:
        file.release(k)
        raise
    return file


def _take_ids(task: Task, inode: Inode) -> None:
    """The ids a program with set-user-ID or set-group-ID mode runs with, and the saved ones of every program (bprm_fill_uid)."""
    cred = task.cred
    before = cred.euid, cred.egid
    unsafe = task.tracing is not None and not task.tracing.tracer.cred.capable(CAP_SYS_PTRACE)  # LSM_UNSAFE_PTRACE
    if not task.process.no_new_privs and not unsafe:
        if inode.mode & S_ISUID:
            cred.euid = inode.uid
        if inode.mode & S_ISGID and inode.mode & S_IXGRP:
            cred.egid = inode.gid
    cred.suid = cred.fsuid = cred.euid
    cred.sgid = cred.fsgid = cred.egid
    after_exec(cred, set_id=(cred.euid, cred.egid) != before)


def _check_inode(t: Task, inode: Inode) -> None:
    if inode.mode & S_IFMT != S_IFREG:
        raise Errno(EACCES)
    check(t, inode, X_OK)


@kernel_function(
    "int do_execveat_common(int fd, struct filename *filename, struct user_arg_ptr argv, struct user_arg_ptr envp, int flags)"
)
def do_execveat_common(k: Kernel, fd: int, filename: bytes, argv: tuple[bytes, ...], envp: tuple[bytes, ...], flags: int) -> int:
    """Execute a program in the current task. Raises Errno; a failure after the old program is gone kills the process instead."""
    task = k.current
    assert task is not None
    loader.check_arguments(argv, envp, task.process.limits[RLIMIT_STACK][0])
    name = filename
    if fd >= 0 and not filename.startswith(b"/"):
        name = b"/dev/fd/%d" % fd + (b"/" + filename if filename else b"")
    bprm = Binprm(name, argv or (b"",), envp)
    try:
        result: int = k.bprm_execve(bprm, fd, filename, flags)
        return result
    finally:
        bprm.close(k)


@kernel_function("int bprm_execve(struct linux_binprm *bprm, int fd, struct filename *filename, int flags)")
def bprm_execve(k: Kernel, bprm: Binprm, fd: int, filename: bytes, flags: int) -> int:
    """Open the file, follow `#!` lines to the ELF file and load that. Raises Errno."""
    task = k.current
    assert task is not None
    bprm.open(k, task, filename, fd, flags)
    for _ in range(MAX_SCRIPTS + 1):
        head = bprm.backing().read(0, SHEBANG_SIZE)
        script = shebang(head)
        if script is None:
            break
        interpreter, argument = script
        extra = (argument,) if argument is not None else ()
        bprm.argv = (interpreter, *extra, bprm.interp, *bprm.argv[1:])
        bprm.interp = interpreter
        bprm.open(k, task, interpreter)
    else:
        raise Errno(ELOOP)
    if not is_elf(head):
        raise Errno(ENOEXEC)
    old = task.tid
    k.load_elf_binary(bprm)
    tp = k.tracepoints.sched_process_exec
    if tp.callbacks:
        tp.fire(bprm.filename, task.tid, old)
    if task.tracing is not None:
        task.tracing.debug = DebugRegisters()
        ptrace.event(k, task.tracing, ptrace.EVENT_EXEC, old)
    return 0


@kernel_function("int load_elf_binary(struct linux_binprm *bprm)")
def load_elf_binary(k: Kernel, bprm: Binprm) -> int:
    """Replace the current task's program by the ELF file. Raises Errno while the old one can go on."""
    task = k.current
    assert task is not None
    process = task.process
    backing = bprm.backing()
    elf = read_elf(backing.read)
    if elf.abi.name not in k.architectures:
        raise Errno(ENOEXEC)
    interpreter: tuple[Elf, Backing, bytes] | None = None
    if elf.interpreter is not None:
        program_path, program = bprm.files[-1].path(), bprm.files[-1]
        cross.provide(k, elf.abi, elf.interpreter)
        bprm.open(k, task, elf.interpreter)
        try:
            interpreter_backing = bprm.backing()
            interpreter = (read_elf(interpreter_backing.read), interpreter_backing, bprm.files[-1].path())
        except Errno as error:
            raise Errno(ELIBBAD if error.errno in (ENOEXEC, EINVAL) else error.errno) from None
        if interpreter[0].abi is not elf.abi:
            raise Errno(ELIBBAD)
    else:
        program_path, program = bprm.files[-1].path(), bprm.files[-1]

    k.clock.charge(EXEC_NS)
    space = AddressSpace(k.memory)
    k.begin_new_exec(bprm, space, elf)
    _take_ids(task, program.inode)
    try:
        space.mmap_base = elf.abi.mmap_base
        loader.make_stack(space, elf.abi, process.limits[RLIMIT_STACK][0], elf.stack_executable)
        image = loader.map_image(space, k.zone, elf, backing, program_path, loader.program_base(elf))
        linker = loader.map_image(space, k.zone, *interpreter, None) if interpreter else None
        space.start_brk = space.brk = loader.heap_start(image)
        process.sigreturn = k.vdso.map(space, elf.abi)
        start = loader.fill_stack(space, image, linker, bprm.argv, bprm.envp, bprm.filename, task.cred, k.rng.randbytes(16))
    except (Errno, MemoryFault, ValueError):
        process.actions.clear()
        force(k, task, SigInfo(Sig.SEGV))  # the old program is gone: bprm_execve's out_unmark
        k.start_program(task, 0, 0)
        return -ENOEXEC
    process.exe, process.exe_inode = program_path, program.inode
    process.argv, process.environ = bprm.argv, bprm.envp
    process.auxv, process.argument_area = start.auxv, start.arguments
    k.start_program(task, start.pc, start.sp)
    k.announce_images(space)
    return 0


@kernel_function("int begin_new_exec(struct linux_binprm *bprm)")
def begin_new_exec(k: Kernel, bprm: Binprm, space: AddressSpace, elf: Elf) -> int:
    """The point of no return: end the other threads, leave the old memory, reset what a new program does not inherit."""
    task = k.current
    assert task is not None
    process = task.process
    de_thread(k, task)
    process.leave_space()
    process.space = space
    process.engine = k.engine_for(elf.abi.name)
    process.arch = elf.abi.name
    process.files.exec(k)
    process.actions = {n: a for n, a in process.actions.items() if a.handler in (SIG_DFL, SIG_IGN)}
    process.has_execed = True
    for timer in process.posix_timers.values():
        timer.cancel(k)
    process.posix_timers.clear()
    process.dumpable = 1
    process.membarrier = 0
    task.altstack = (0, 2, 0)
    task.signal_frames.clear()
    task.clear_child_tid = task.robust_list = 0
    task.rseq = None
    k.set_comm(task, bprm.filename.rsplit(b"/", 1)[-1][:COMM_LENGTH])
    process.release_vfork()
    return 0


def de_thread(k: Kernel, task: Task) -> None:
    """End the process's other threads; the one that goes on takes the leader's id."""
    process = task.process
    for other in list(process.threads.values()):
        if other is not task:
            k.current = other
            other.exit_code = 0  # its tracer sees it only when it has ended
            with suppress(TaskGone):
                k.do_exit(0)
    k.current = task
    if task.tid != process.pid:
        ptrace.leads_now(process, task)
        del process.threads[task.tid], k.tasks[task.tid]
        task.tid = process.pid
        process.threads[task.tid] = k.tasks[task.tid] = task
