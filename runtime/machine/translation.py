"""What processors do and libunicorn's translation of instructions leaves out; the work is done in _native_translation.c.

* SSE operands of 16 bytes that are not aligned; every operand while EFLAGS.AC is set; load-acquire and store-release of arm64: the accesses
  are translated as aligned ones, which translated code checks in the comparison that it makes anyway.
* Instructions with a VEX prefix, of AVX and BMI, which the emulator takes for their older forms with fewer operands, and those of XOP and
  TSX: they are undefined on a processor that has none of these.
* Input and output, which the emulator allows in each ring, and SYSENTER.
* The flags of SSE and x87 exceptions: they are collected in the emulator's own words, and moved to where programs look for them before an
  instruction that shows or sets them.
* SSE and x87 exceptions that are not masked, and a stack pointer of arm64 that is not at a multiple of 16: once a program has unmasked one
  or moved the stack pointer so, everything is translated again, with a check at each instruction that may fault. Others pay nothing.

Functions of ours stand in slots of the library's procedure linkage table. A slot belongs to the process: for emulators that are not known
here they only pass on the call. All of it is tied to a build of the library; with another, or without the extension, there are no such
exceptions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyprobe.runtime.machine.cpu_state import peek
from pyprobe.runtime.machine.library import HANDLE_CPU, WHEEL_X86_64, belongs, build_id, pointer

if TYPE_CHECKING:
    from pyprobe.runtime.machine._native import Translation
    from pyprobe.runtime.machine.engine import Engine

STACK_ALIGNMENT = 22
"""The exception of a load or store by a stack pointer that is not aligned (arm64)."""

TRANSLATE_AGAIN = 0x7000
"""No exception: what is translated lacks checks that are needed from now on."""

# In bytes. From CPUState to its class and to the architecture's state; the class; from functions to the slots they are called through.
_CPU_CLASS, _METHODS = 0x81B0, 0x100
_STATE = {"x86_64": 0x8A50, "arm64": 0xA350}
_SUFFIX = {"x86_64": "x86_64", "arm64": "aarch64"}
_SLOTS = {
    "translator_loop_x86_64": 0x14CA960 - 0x4824D0,
    "tcg_gen_qemu_ld_i32_x86_64": 0x14BD958 - 0x40D2B0,
    "tcg_gen_qemu_ld_i64_x86_64": 0x14C2038 - 0x40D690,
    "tcg_gen_qemu_st_i32_x86_64": 0x14C0C20 - 0x40D310,
    "tcg_gen_qemu_st_i64_x86_64": 0x14C4058 - 0x40D6D0,
    "translator_loop_aarch64": 0x14C63A8 - 0x691EE0,
    "tcg_gen_qemu_ld_i32_aarch64": 0x14BD478 - 0x596050,
    "tcg_gen_qemu_ld_i64_aarch64": 0x14BDC30 - 0x596430,
    "tcg_gen_qemu_st_i32_aarch64": 0x14C7AB0 - 0x5960B0,
    "tcg_gen_qemu_st_i64_aarch64": 0x14C56C8 - 0x596470,
}
_PASSED_ON = ("translator_loop", "tcg_gen_qemu_ld_i32", "tcg_gen_qemu_ld_i64", "tcg_gen_qemu_st_i32", "tcg_gen_qemu_st_i64")
_CALLED = (
    "cpu_ldub_code", "cpu_ldl_code", "uc_add_inline_hook", "tcg_const_i32", "tcg_const_i64", "tcg_temp_free_internal",
    "cpu_restore_state", "cpu_loop_exit", "raise_exception_ra",
)


def install(engine: Engine) -> Translation | None:
    """Have an engine's code translated so while the result is kept; None where that is not possible."""
    path = str(engine.library._name)
    if not engine.native or not engine.cpu_state_found or build_id(path) != WHEEL_X86_64:
        return None
    from pyprobe.runtime.machine._native import Translation

    name = engine.arch.name
    suffix = _SUFFIX[name]
    cpu = pointer(engine.uc + HANDLE_CPU)
    functions = [engine.function(f"{function}_{suffix}") for function in (*_PASSED_ON, *_CALLED)]
    functions.append(engine.function("update_mxcsr_status_x86_64"))
    slots = [function + _SLOTS[f"{called}_{suffix}"] for function, called in zip(functions, _PASSED_ON, strict=False)]
    if not all(functions) or not all(belongs(pointer(slot), path) for slot in slots):
        return None
    place = 0
    if name == "x86_64":
        methods = peek(pointer(cpu + _CPU_CLASS), _METHODS)
        at = methods.find(engine.function("x86_cpu_do_interrupt_x86_64").to_bytes(8, "little"))
        place = pointer(cpu + _CPU_CLASS) + at + 8  # do_unaligned_access is the next method, of which x86 has none
        if at < 0 or at % 8 or not (pointer(place) == 0 or belongs(pointer(place), path)):
            return None
    return Translation(
        arm64=name == "arm64",
        uc=engine.uc,
        cpu=cpu,
        env=cpu + _STATE[name],
        functions=tuple(functions),
        slots=tuple(slots),
        unaligned_place=place,
    )
