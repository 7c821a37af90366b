"""Registers of tasks that take turns on one processor."""

from __future__ import annotations

import ctypes
import struct
from ctypes import byref, c_int, c_void_p

from pyprobe.runtime.machine.emulator import Emulator
from pyprobe.runtime.machine.state import NOWHERE


class Context:
    """The registers of a task that is not running. Made by `Engine.new_context`."""

    __slots__ = ("block", "fired", "handle", "library", "pc", "size")

    def __init__(self, library: ctypes.PyDLL, handle: int) -> None:
        self.library = library
        self.handle = handle
        self.pc = self.block = self.size = 0
        self.fired = NOWHERE

    def __del__(self) -> None:
        self.library.uc_context_free(self.handle)


class Contexts(Emulator):
    """A processor whose registers are saved and restored. `start_contexts` comes first, when they are as a new program gets them."""

    def start_contexts(self) -> None:
        """The registers are those of a new program now."""
        count = len(self.arch.vectors)
        self._vector_bytes = (ctypes.c_ubyte * (16 * count))()
        self._vector_numbers = (c_int * count)(*self.arch.vectors)
        self._vector_places = (c_void_p * count)(*[ctypes.addressof(self._vector_bytes) + 16 * i for i in range(count)])
        self._context_save, self._context_restore = self.library.uc_context_save, self.library.uc_context_restore
        self._pending_at: int | None = None
        self._pristine = self._new_context()

    def _new_context(self) -> Context:
        handle = c_void_p()
        self._api.check(self.library.uc_context_alloc(self.uc, byref(handle)), "uc_context_alloc")
        context = Context(self.library, handle.value or 0)
        self.save(context)
        return context

    def new_context(self) -> Context:
        """The registers of a new program: zeros, and what the kernel initializes. Raises UnicornError."""
        handle = c_void_p()
        self._api.check(self.library.uc_context_alloc(self.uc, byref(handle)), "uc_context_alloc")
        context = Context(self.library, handle.value or 0)
        ctypes.memmove(context.handle, self._pristine.handle, self.library.uc_context_size(self.uc))
        context.pc = self._pristine.pc
        return context

    def save(self, context: Context) -> None:
        """Put the registers of the running task into `context`."""
        self._context_save(self.uc, context.handle)
        state = self.state
        context.pc, context.fired, context.block, context.size = state.pc, state.fired, state.block, state.size

    def restore(self, context: Context) -> None:
        """Make `context` the registers of the running task."""
        self._context_restore(self.uc, context.handle)
        state = self.state
        state.pc, state.fired, state.block, state.size = context.pc, context.fired, context.block, context.size

    def context_get(self, context: Context, name: str) -> int:
        """A register of a task that is not running."""
        if self.arch.registers[name] == self.arch.registers[self.arch.pc]:
            return context.pc
        self._word.value = 0
        self.library.uc_context_reg_read(context.handle, self.arch.registers[name], byref(self._word))
        return self._word.value

    def context_set(self, context: Context, name: str, value: int) -> None:
        """Set a register of a task that is not running."""
        self._word.value = value & NOWHERE
        self.library.uc_context_reg_write(context.handle, self.arch.registers[name], byref(self._word))
        if self.arch.registers[name] == self.arch.registers[self.arch.pc]:
            context.pc = value & NOWHERE

    def context_vectors(self, context: Context) -> bytes:
        """What `vectors` gives, of a task that is not running."""
        found = b""
        buffer = ctypes.create_string_buffer(16)
        for number in self.arch.vectors:
            ctypes.memset(buffer, 0, 16)
            self.library.uc_context_reg_read(context.handle, number, buffer)
            found += buffer.raw
        return found

    def context_set_vectors(self, context: Context, data: bytes) -> None:
        """Set them."""
        for i, number in enumerate(self.arch.vectors):
            self.library.uc_context_reg_write(context.handle, number, data[16 * i : 16 * i + 16])

    def forget_exception(self, number: int) -> None:
        """For an architecture's `trapped`: the exception `number` is handled, nothing is being delivered any more.

        The word that says so has no name in the interface. It is the one that was -1 in the fresh CPU and holds `number` now.
        """
        now = self._new_context()
        if self._pending_at is None:
            size = self.library.uc_context_size(self.uc)
            fresh, current = ctypes.string_at(self._pristine.handle, size), ctypes.string_at(now.handle, size)
            none, pending = b"\xff" * 4, struct.pack("<i", number)
            found = [at for at in range(0, size - 3, 4) if fresh[at : at + 4] == none and current[at : at + 4] == pending]
            if len(found) != 1:
                return
            self._pending_at = found[0]
        ctypes.memset(now.handle + self._pending_at, 0xFF, 4)
        self.restore(now)

    def vectors(self) -> bytes:
        """The floating-point registers of the running task, 16 bytes each, in the order of the architecture's table."""
        self.library.uc_reg_read_batch(self.uc, self._vector_numbers, self._vector_places, len(self._vector_numbers))
        return bytes(self._vector_bytes)

    def set_vectors(self, data: bytes) -> None:
        """Set the floating-point registers of the running task."""
        ctypes.memmove(self._vector_bytes, data, len(self._vector_bytes))
        self.library.uc_reg_write_batch(self.uc, self._vector_numbers, self._vector_places, len(self._vector_numbers))
