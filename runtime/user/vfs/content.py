"""Bytes of regular files: the host's, read in place; or ours, in memory, counted against a limit.

A file that is mapped has its bytes in the machine's physical memory (`Backing`), so that mappings and read(2)/write(2)
see each other's changes as through Linux's page cache; others live in a bytearray or stay on the host. The forms
follow each other in one way: `HostContent` -> `MemoryContent` (first write) -> `MappedContent` (first mapping); a
host file that is only read is mapped straight from the host.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from pyprobe.runtime.user.errors import Errno
from pyprobe.runtime.user.vfs.host import HostError

if TYPE_CHECKING:
    from pyprobe.runtime.machine.physical import Backing, PhysicalMemory
    from pyprobe.runtime.user.vfs.views import Views

PAGE: Final = 4096
_COPY_CHUNK: Final = 1 << 20
_IOV_MAX: Final = 1024


class Disk:
    """The room that the guest's own files may take.

    Args:
        limit: bytes.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self.full = False  # something did not find room

    def charge(self, amount: int) -> None:
        """Take `amount` bytes, or give them back when it is negative.

        Raises:
            Errno: ENOSPC.
        """
        if amount > 0 and self.used + amount > self.limit:
            self.full = True
            raise Errno(errno.ENOSPC)
        self.used += amount


class Content(Protocol):
    """The bytes of one regular file."""

    @property
    def size(self) -> int:
        """Length in bytes."""

    def read(self, views: Views, offset: int) -> int:
        """Fill `views` from `offset`; the number of bytes there were."""

    def write(self, views: Views, offset: int) -> int:
        """Put the bytes of `views` at `offset`, growing the file; zeros fill a gap."""

    def truncate(self, size: int) -> None:
        """Set the size, cutting or adding zeros."""

    def release(self) -> None:
        """Nobody needs the bytes any more."""

    def blocks(self) -> int:
        """What the bytes take, in units of 512 bytes; holes take nothing."""

    def next_data(self, offset: int) -> int:
        """Where bytes that are not in a hole begin, from `offset` on; the size if there are none."""

    def next_hole(self, offset: int) -> int:
        """Where the next hole begins; the end of the file counts as one."""


def _whole(size: int) -> int:
    """Blocks of a file without holes."""
    return _pages(size) * (PAGE // 512)


class HostContent:
    """Bytes of a host file, as they are when they are read.

    The descriptor is opened at the first need and closed by `let_go` when no open file uses the content.
    """

    def __init__(self, size: int, opener: Callable[[], int]) -> None:
        self.size = size
        self._opener = opener
        self._descriptor = -1
        self.backing: Backing | None = None

    def descriptor(self) -> int:
        """The host descriptor, for reading only.

        Raises:
            Errno: the host does not open the file.
        """
        if self._descriptor < 0:
            self._descriptor = self._opener()
        return self._descriptor

    def read(self, views: Views, offset: int) -> int:
        try:
            return os.preadv(self.descriptor(), views[:_IOV_MAX], offset)
        except OSError as error:
            raise HostError(error.errno or errno.EIO) from None

    def write(self, views: Views, offset: int) -> int:
        raise Errno(errno.EROFS)

    def truncate(self, size: int) -> None:
        raise Errno(errno.EROFS)

    def blocks(self) -> int:
        return _whole(self.size)

    def next_data(self, offset: int) -> int:
        return self._seek(offset, os.SEEK_DATA)

    def next_hole(self, offset: int) -> int:
        return self._seek(offset, os.SEEK_HOLE)

    def _seek(self, offset: int, whence: int) -> int:
        try:
            return min(self.size, os.lseek(self.descriptor(), offset, whence))
        except OSError:
            return self.size

    def let_go(self) -> None:
        """Close the descriptor; a later read opens it again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    release = let_go

    def copy(self, disk: Disk, size: int | None = None) -> MemoryContent:
        """A changeable copy of the first `size` bytes (all of them by default).

        Raises:
            Errno: ENOSPC, or the host does not read the file.
        """
        result = MemoryContent(disk)
        wanted = self.size if size is None else min(size, self.size)
        while result.size < wanted:
            try:
                chunk = os.pread(self.descriptor(), min(_COPY_CHUNK, wanted - result.size), result.size)
            except OSError as error:
                raise HostError(error.errno or errno.EIO) from None
            if not chunk:
                break
            result.write((memoryview(chunk),), result.size)
        return result


class MemoryContent:
    """Bytes of a file that the guest made or changed and that nothing maps: without holes of a page or more."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._bytes = bytearray()
        self.size = 0

    def read(self, views: Views, offset: int) -> int:
        done = 0
        for view in views:
            piece = self._bytes[offset + done : offset + done + len(view)]
            view[: len(piece)] = piece
            done += len(piece)
            if len(piece) < len(view):
                break
        return done

    def write(self, views: Views, offset: int) -> int:
        total = sum(map(len, views))
        self._disk.charge(max(0, offset + total - self.size))
        if offset > self.size:
            self._bytes.extend(bytes(offset - self.size))
        position = offset
        for view in views:
            self._bytes[position : position + len(view)] = view
            position += len(view)
        self.size = len(self._bytes)
        return total

    def truncate(self, size: int) -> None:
        if size < self.size:
            self._disk.charge(size - self.size)
            del self._bytes[size:]
        else:
            self._disk.charge(size - self.size)
            self._bytes.extend(bytes(size - self.size))
        self.size = size

    def blocks(self) -> int:
        return _whole(self.size)

    def next_data(self, offset: int) -> int:
        return offset

    def next_hole(self, offset: int) -> int:
        return self.size

    def bytes(self) -> memoryview:
        """All bytes; the caller lets go of the view before the next change."""
        return memoryview(self._bytes)

    def release(self) -> None:
        self._disk.charge(-self.size)
        self._bytes = bytearray()
        self.size = 0


class MappedContent:
    """Bytes of a file that is or was mapped, or has holes, in physical memory: the backing's pages are the file.

    Pages nobody has written are holes: they read as zeros and take no room.

    Args:
        charged: bytes that count against `disk` already.
    """

    def __init__(self, disk: Disk, backing: Backing, charged: int) -> None:
        self._disk = disk
        self._charged = charged
        self.backing = backing

    @property
    def size(self) -> int:
        return self.backing.length

    def read(self, views: Views, offset: int) -> int:
        done = 0
        for view in views:
            piece = self._piece(offset + done, min(len(view), self.size - offset - done))
            view[: len(piece)] = piece
            done += len(piece)
            if len(piece) < len(view):
                break
        return done

    def _piece(self, offset: int, count: int) -> bytes:
        parts: list[bytes] = []
        while count > 0:
            filled = self.backing.present(offset // PAGE)
            end = min(offset + count, self._turn(offset // PAGE, filled) * PAGE)
            parts.append(self.backing.read(offset, end - offset) if filled else bytes(end - offset))
            count -= end - offset
            offset = end
        return b"".join(parts)

    def _turn(self, page: int, filled: bool) -> int:
        """The first page after `page` that is not as it is."""
        if not filled:
            return self.backing.next_present(page + 1)
        page += 1
        while page < self.backing.pages and self.backing.present(page):
            page += 1
        return page

    def write(self, views: Views, offset: int) -> int:
        total = sum(map(len, views))
        present = self.backing.present
        new = sum(not present(page) for page in range(offset // PAGE, _pages(offset + total))) * PAGE if total else 0
        self._disk.charge(new)
        self._charged += new
        if offset > self.size:
            self.backing.resize(offset)
        for view in views:
            self.backing.write(offset, view)
            offset += len(view)
        return total

    def truncate(self, size: int) -> None:
        if size < self.size:
            # What a cut takes away must not come back from the host when the file grows again.
            for index in range(size // PAGE, _pages(self.size)):
                if self.backing.present(index):
                    self.backing.frame(index)
        self.backing.resize(size)

    def punch(self, first: int, last: int) -> None:
        """Make holes of whole pages, which no page table shows."""
        freed = min(self.backing.punch(first, last) * PAGE, self._charged)
        self._disk.charge(-freed)
        self._charged -= freed

    def blocks(self) -> int:
        backing, count, page = self.backing, 0, 0
        while page < backing.pages:
            page = backing.next_present(page)
            end = self._turn(page, True) if page < backing.pages else page
            count += end - page
            page = end
        return count * (PAGE // 512)

    def next_data(self, offset: int) -> int:
        return max(offset, min(self.size, self.backing.next_present(offset // PAGE) * PAGE))

    def next_hole(self, offset: int) -> int:
        if not self.backing.present(offset // PAGE):
            return offset
        return min(self.size, self._turn(offset // PAGE, True) * PAGE)

    def release(self) -> None:
        from pyprobe.runtime.machine.physical import Backing  # here, as below

        self._disk.charge(-self._charged)
        self._charged = 0
        self.backing = Backing(self.backing.memory, 0)  # the frames go with the last mapping, and do not wait for whoever knows the inode


def _pages(size: int) -> int:
    return (size + PAGE - 1) // PAGE


def map_content(memory: PhysicalMemory, disk: Disk, content: MemoryContent) -> MappedContent:
    """The same bytes in physical memory; they stay charged to `disk`."""
    from pyprobe.runtime.machine.physical import Backing  # here, so that trees can be built without a machine's memory

    backing = Backing(memory, content.size)
    with content.bytes() as view:
        backing.write(0, view)
    return MappedContent(disk, backing, content.size)
