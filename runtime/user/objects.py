"""Kernel objects in guest memory: made-up addresses for them, and the bytes that a reader finds there.

Nothing is stored: an object gets its address when a probe first sees a pointer to it, and its struct's bytes are made when somebody
reads them, and only the members that are asked for. What each member holds is told by the tables in object_fields.py.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pyprobe.lang.typesys import Array, Pointer, String, Struct, Type

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel

Getter = Callable[[Any], Any]

U64 = (1 << 64) - 1
# Where made-up addresses lie; Documentation/arch/x86/x86_64/mm.rst and Documentation/arch/arm64/memory.rst give the ranges.
OBJECT_BASE = {"x86_64": 0xFFFF_8880_0010_0000, "arm64": 0xFFFF_0000_0010_0000}
OBJECT_SIZE = 0x1000  # distance between two made-up kernel objects, above any struct's size
PASSING = 4096  # how many texts and objects of single calls stay readable: the last ones seen
TEXT = "char"


class KernelObjects:
    """The objects of one emulated kernel that probes have seen, by address and by identity."""

    def __init__(self, kernel: Kernel, arch: str) -> None:
        self._k = kernel
        self.arch = arch
        self._base = self._next = OBJECT_BASE[arch]
        self._known: dict[tuple[int, str], int] = {}  # (id, struct) -> address
        self._at: dict[int, tuple[Callable[[], object], str]] = {}  # address -> what gives the object, None when it is gone; its struct
        self._passing: OrderedDict[tuple[int, str], object] = OrderedDict()  # what is kept alive here
        self._texts: dict[bytes, bytes] = {}  # one of several equal texts in `_passing`
        self.pids: dict[int, object] = {}  # process ids that probes have seen, each an object as in the kernel
        self._plans: dict[tuple[str, int, int], list[Leaf]] = {}

    def address(self, thing: object, struct: str = "") -> int:
        """The address of an object as a struct (`struct file`; "" is what its class stands for); ints pass through as 64-bit words,
        None is 0."""
        if thing is None:
            return 0
        if isinstance(thing, int):
            return thing & U64
        if isinstance(thing, bytes) and struct in ("", TEXT):
            thing, struct = self._texts.get(thing, thing), TEXT
        elif not struct:
            struct = self._struct_of(thing)
        known = self._known.get((id(thing), struct))
        return known if known is not None else self._new(thing, struct)

    def _struct_of(self, thing: object) -> str:
        from pyprobe.runtime.user.object_fields import STRUCT_OF

        return next((struct for kind, struct in STRUCT_OF.items() if isinstance(thing, kind)), "")

    def _new(self, thing: object, struct: str) -> int:
        """Give an object its address, which no other object gets even when this one is gone."""
        key = (id(thing), struct)
        address, self._next = self._next, self._next + OBJECT_SIZE

        def forget(_: object) -> None:
            self._known.pop(key, None)
            self._at.pop(address, None)

        try:
            self._at[address] = (weakref.ref(thing, forget), struct)
        except TypeError:
            self._at[address] = (lambda: thing, struct)
            self._passing[key] = thing
            if isinstance(thing, bytes):
                self._texts[thing] = thing
            if len(self._passing) > PASSING:
                old_key, old = self._passing.popitem(last=False)
                self._at.pop(self._known.pop(old_key), None)
                if isinstance(old, bytes) and self._texts.get(old) is old:
                    del self._texts[old]
        self._known[key] = address
        return address

    def at(self, address: int) -> object:
        """The object that lies at an address, or around it; None if there is none (any more)."""
        found = self._at.get(address & -OBJECT_SIZE)
        return found[0]() if found is not None else None

    # reading

    def read(self, address: int, size: int) -> bytes | None:
        """`size` bytes of kernel memory; None where no object is."""
        if not self._base <= address < self._next:
            return None
        offset = address & (OBJECT_SIZE - 1)
        found = self._at.get(address - offset)
        thing = found[0]() if found is not None else None
        if found is None or thing is None or offset + size > OBJECT_SIZE:
            return None
        struct = found[1]
        if struct == TEXT:
            assert isinstance(thing, bytes)
            return thing[offset : offset + size].ljust(size, b"\0")
        return self._image(thing, struct, offset, size)

    def _image(self, thing: object, struct: str, offset: int, size: int) -> bytes:
        """Part of an object's struct."""
        from pyprobe.runtime.user.object_fields import IMAGES

        image = IMAGES.get(struct)
        if image is not None:
            return image(self._k, thing)[offset : offset + size].ljust(size, b"\0")
        plan = self._plans.get((struct, offset, size))
        if plan is None:
            plan = self._plans[struct, offset, size] = self._plan(struct, offset, size)
        data = bytearray(size)
        for leaf in plan:
            value = leaf.get(thing)
            if value is None:
                continue
            raw = self._packed(leaf.type, value)
            at = leaf.offset - offset
            begin, end = max(0, at), min(size, at + len(raw))
            data[begin:end] = raw[begin - at : end - at]
        return bytes(data)

    def _plan(self, struct: str, offset: int, size: int) -> list[Leaf]:
        """The members that share bytes with a part of a struct."""
        from pyprobe.runtime.user.kernel_types import kernel_types
        from pyprobe.runtime.user.object_fields import WHOLE

        types = kernel_types(self.arch)
        whole = types.named(WHOLE.get(struct, struct))
        if not isinstance(whole, Struct):
            return []
        return [leaf for leaf in self._leaves(whole, 0, ()) if leaf.offset < offset + size and offset < leaf.offset + leaf.size]

    def _leaves(self, struct: Struct, base: int, chain: tuple[Getter, ...]) -> list[Leaf]:
        """The members of a struct, those of the structs in it in their place; `chain` leads to the object that the struct shows."""
        from pyprobe.runtime.user.object_fields import getter

        found: list[Leaf] = []
        for field in struct.fields.values():
            get = getter(self._k, struct.name, field.name)
            inside = (*chain, get) if get is not None else chain
            at = base + field.offset
            if isinstance(field.type, Struct):
                found += self._leaves(field.type, at, inside)
            elif isinstance(field.type, Array) and isinstance(field.type.element, Struct):
                for i in range(field.type.count):
                    found += self._leaves(field.type.element, at + i * field.type.element.size, (*inside, _item(i)))
            elif get is not None or (chain and "(" in struct.name):  # a wrapper without a name, such as kuid_t, shows its only member
                found.append(Leaf(at, field.type, inside))
        return found

    def _packed(self, kind: Type, value: Any) -> bytes:
        """The bytes of a member."""
        if isinstance(kind, Pointer):
            target = kind.to
            struct = target.name if isinstance(target, Struct) and not isinstance(value, bytes) else ""
            return self.address(value, struct).to_bytes(8, "little")
        if isinstance(kind, String):
            return bytes(value)[: kind.size - 2].ljust(kind.size - 1, b"\0")
        if isinstance(kind, Array):
            if isinstance(value, bytes):
                return value[: kind.size].ljust(kind.size, b"\0")
            if isinstance(value, int):
                value = (value,)
            return b"".join(self._packed(kind.element, one) for one in value)[: kind.size]
        return (int(value) & ((1 << 8 * kind.size) - 1)).to_bytes(kind.size, "little")


class Leaf:
    """A member that holds a value. offset: in bytes, in the whole struct; getters: from the object to the value, in turn."""

    __slots__ = ("getters", "offset", "size", "type")

    def __init__(self, offset: int, type: Type, getters: tuple[Getter, ...]) -> None:
        self.offset = offset
        self.type = type
        self.size = type.size
        self.getters = getters

    def get(self, thing: object) -> Any:
        """The value; None where nothing is: it reads as 0."""
        for getter in self.getters:
            if thing is None:
                return None
            thing = getter(thing)
        return thing


def _item(index: int) -> Getter:
    return lambda things: things[index] if index < len(things) else None
