"""The emulated kernel's objects of a kind, one after the other, as kernel/bpf/task_iter.c of the kernel goes through them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task


class Iteration:
    """What a `struct bpf_iter__*` shows: where an iterator is. number: of the object, from 0; the others are its members."""

    def __init__(self) -> None:
        self.number = 0
        self.task: Task | None = None
        self.fd = 0
        self.file: object = None
        self.vma: object = None


def addresses(k: Kernel, kind: str) -> Iterator[int]:
    """The address of the struct for each object of a kind (`task`, `task_file`, `task_vma`), valid until the next."""
    here = Iteration()
    address = k.functions.object_address(here, f"struct bpf_iter__{kind}")
    for _ in _WALKS[kind](k, here):
        yield address
        here.number += 1


def _tasks(k: Kernel, here: Iteration) -> Iterator[None]:
    for tid in sorted(k.tasks):
        here.task = k.tasks[tid]
        yield


def _files(k: Kernel, here: Iteration) -> Iterator[None]:
    for task in _processes(k):
        here.task = task
        for here.fd, here.file in task.process.files:
            yield


def _vmas(k: Kernel, here: Iteration) -> Iterator[None]:
    for task in _processes(k):
        here.task = task
        for here.vma in task.process.space.vmas():
            yield


def _processes(k: Kernel) -> Iterator[Task]:
    """The tasks without those that share their open files with the first of their process, for both kinds."""
    return (k.tasks[tid] for tid in sorted(k.tasks) if k.tasks[tid].process.leader in (None, k.tasks[tid]))


_WALKS: dict[str, Any] = {"task": _tasks, "task_file": _files, "task_vma": _vmas}
