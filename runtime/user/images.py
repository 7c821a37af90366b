"""Which executable files are mapped where, told to those who plant probes in them."""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakKeyDictionary

from pyprobe.runtime.machine.memory import AddressSpace, Vma, X

ImageCallback = Callable[[AddressSpace, Vma], object]
Key = tuple[bytes, int, int]


def images(space: AddressSpace) -> list[Vma]:
    """The executable mappings of files, in the order of their addresses."""
    return [vma for vma in space.vmas() if vma.path and vma.prot & X]


class Images:
    """Announces each executable file mapping once in each address space. Who asks late is told of new ones only, and looks at `images`."""

    def __init__(self) -> None:
        self.callbacks: list[ImageCallback] = []
        self._known: WeakKeyDictionary[AddressSpace, set[Key]] = WeakKeyDictionary()

    def announce(self, space: AddressSpace) -> None:
        """Mappings of the space may have changed."""
        known = self._known.get(space, set())
        now: set[Key] = set()
        for vma in images(space):
            key = (vma.path, vma.start, vma.offset)
            now.add(key)
            if key not in known:
                for callback in self.callbacks:
                    callback(space, vma)
        self._known[space] = now

    def forked(self, space: AddressSpace, child: AddressSpace) -> None:
        """The child has the parent's mappings and points."""
        if space in self._known:
            self._known[child] = set(self._known[space])
