"""Files of the emulated Linux: everything that stands behind a path or a file descriptor.

`Vfs` (vfs.py) owns the tree of one machine. The tree is the host's, read only (host.py), with every change kept in
memory (tree.py, content.py); `walk.py` resolves paths in it. Open files are `OpenFile` objects (openfile.py and one
module for each kind: pipes, sockets, terminals, event files); a process holds them in a `FileTable` (table.py).
Names, structures and error numbers are those of Linux: see the man pages in sections 2 and 7 and fs/*.c.
"""

from pyprobe.runtime.user.vfs.table import FileTable, FsContext
from pyprobe.runtime.user.vfs.vfs import Vfs

__all__ = ["FileTable", "FsContext", "Vfs"]
