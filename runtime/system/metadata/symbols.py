"""The kernel's symbols by name and by address, with the questions that probes ask: which are functions, how long they are, what is
at an address. Modules' symbols can be added once a machine has loaded them.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

KERNEL = "vmlinux"  # what the kernel itself is called among its modules
_MARKS = ("__pfx_", "__cfi_", "$")  # what stands before a function for its padding or type, and marks of code in between
MARKERS = 100
TEXT = frozenset("tTwW")  # kinds of symbols that may be functions


class Symbol(NamedTuple):
    """A symbol. size: bytes up to the next one, 0 where nothing follows."""

    name: str
    address: int
    kind: str
    size: int
    module: str = KERNEL


class Symbols:
    """Symbols in the order of their addresses.

    addresses, kinds, names: as kallsyms has them; `ordered` if they are by address already. text: the ranges of addresses in which code
    lies, from `_stext` to `_etext` and from `_sinittext` to `_einittext`.
    """

    def __init__(self, addresses: array[int], kinds: str, names: list[str], module: str = KERNEL, *, ordered: bool = False) -> None:
        self.module = module
        if not ordered and any(a > b for a, b in pairwise(addresses)):  # as with per-cpu variables, which may come after what they precede
            order = sorted(range(len(names)), key=addresses.__getitem__)
            addresses = array("Q", [addresses[i] for i in order])
            kinds = "".join([kinds[i] for i in order])
            names = [names[i] for i in order]
        self.addresses = addresses
        self.kinds = kinds
        self.names = names

    @cached_property
    def by_name(self) -> dict[str, int]:
        """Addresses by name; where a name occurs more than once, the first counts, as for the kernel."""
        return dict(zip(reversed(self.names), reversed(self.addresses), strict=True))

    @cached_property
    def text(self) -> tuple[tuple[int, int], ...]:
        """The ranges of the kernel's code: what stays, and what is freed after booting."""
        have = self.by_name
        ranges = [(have.get(a, 0), have.get(b, 0)) for a, b in (("_stext", "_etext"), ("_sinittext", "_einittext"))]
        return tuple((a, b) for a, b in ranges if a < b)

    @cached_property
    def has_data(self) -> bool:
        """Whether data has names, and not only what marks the ends of the kernel's parts."""
        return sum(self.kinds.count(kind) for kind in "dDbB") > MARKERS

    def is_text(self, address: int) -> bool:
        for start, end in self.text:  # noqa: SIM110 - any() is slower, and this is asked for each of thousands of probes
            if start <= address < end:
                return True
        return False

    @cached_property
    def functions(self) -> dict[str, int]:
        """Addresses of the functions, by name, sorted by name."""
        (start, end), *more = self.text or ((0, 1 << 64),)
        found = {
            name: address
            for name, address, kind in zip(reversed(self.names), reversed(self.addresses), reversed(self.kinds), strict=True)
            if kind in TEXT and not name.startswith(_MARKS) and (start <= address < end or any(a <= address < b for a, b in more))
        }
        return dict(sorted(found.items()))

    def address(self, name: str) -> int | None:
        """Where a symbol is."""
        return self.by_name.get(name)

    def symbol(self, name: str) -> Symbol | None:
        address = self.by_name.get(name)
        return self.at(address, name) if address is not None else None

    def at(self, address: int, name: str = "") -> Symbol | None:
        """The symbol that an address belongs to: of several at one place the first, unless `name` is one of them."""
        after = bisect_right(self.addresses, address)
        if not after:
            return None
        start = self.addresses[after - 1]
        index = after - 1
        while index and self.addresses[index - 1] == start:
            index -= 1
        if name:
            index = next((i for i in range(index, after) if self.names[i] == name), index)
        size = self.addresses[after] - start if after < len(self.addresses) else 0
        return Symbol(self.names[index], start, self.kinds[index], size, self.module)

    @cached_property
    def first_at(self) -> dict[int, str]:
        """The first name of each address that has one."""
        return dict(zip(reversed(self.addresses), reversed(self.names), strict=True))
