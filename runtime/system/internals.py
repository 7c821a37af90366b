"""What libunicorn has no functions for: where a few words lie in its structures.

Booting a kernel needs to deliver exceptions and interrupts and to see whether the processor waits. libunicorn does all of it inside and
exports the functions, but not the structures. The places are those of one build of the library, which is recognised by the identity
that its linker gave it; with any other the machine is refused, before anything runs. The processors check them again as they start
(see `arm64.py` and `x86_64.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from pyprobe.runtime.machine.library import HANDLE_CPU, WHEEL_X86_64, build_id
from pyprobe.runtime.machine.unicorn import UnicornError, locate


class Offsets(NamedTuple):
    """Places in bytes.

    In uc_struct: cpu, in_pieces (32 bits, called size_recur_mem: not 0 while an access that crosses pages is made piece by piece). In
    uc_context: context_header (bytes before the registers). In CPUState: interrupt_request (32 bits), env (pointer), icount (pointer to the
    counter that is tested as a block begins), halted (32 bits), cpu_class (pointer). In ARMCPU: arm_registers (pointer to the table of
    system registers). From CPUState to the architecture's own state: arm_state, x86_state; in these: arm_x0, arm_pc, arm_syndrome; x86_eip,
    eflags, cc_src, cc_op, df and hflags, the six segments (es, cs, ss, ds, fs, gs), CR3 and model-specific registers. slots: by the names
    of functions, from each to the slot of the procedure linkage table through which it is called.
    """

    cpu: int
    in_pieces: int
    context_header: int
    interrupt_request: int
    env: int
    icount: int
    halted: int
    cpu_class: int
    arm_registers: int
    arm_state: int
    arm_x0: int
    arm_pc: int
    arm_syndrome: int
    x86_state: int
    x86_eip: int
    x86_eflags: int
    x86_cc_src: int
    x86_cc_op: int
    x86_df: int
    x86_hflags: int
    x86_segments: int
    x86_cr3: int
    x86_star: int
    x86_lstar: int
    x86_fmask: int
    x86_kernel_gs: int
    slots: Mapping[str, int]


BUILDS = {
    WHEEL_X86_64: Offsets(
        cpu=HANDLE_CPU,
        in_pieces=0x568,
        context_header=0x28,
        interrupt_request=0x1C,
        env=0x128,
        icount=0x130,
        halted=0x8198,
        cpu_class=0x81B0,
        arm_registers=0xD510,
        arm_state=0xA350,
        arm_x0=0x40,
        arm_pc=0x140,
        arm_syndrome=0xBD0,
        x86_state=0x8A50,
        x86_eip=0x80,
        x86_eflags=0x88,
        x86_cc_src=0x98,
        x86_cc_op=0xA8,
        x86_df=0xAC,
        x86_hflags=0xB0,
        x86_segments=0xB8,
        x86_cr3=0x1C0,
        x86_star=0x12D8,
        x86_lstar=0x12E8,
        x86_fmask=0x12F8,
        x86_kernel_gs=0x1300,
        slots={
            "tb_gen_code_aarch64": 0x14C8320 - 0x5B6550,
            "tb_gen_code_x86_64": 0x14BDEB0 - 0x42EC60,
            "tb_invalidate_phys_page_fast_aarch64": 0x14BD608 - 0x5B7CD0,
            "tb_invalidate_phys_page_fast_x86_64": 0x14C4020 - 0x430760,
            "tlb_protect_code_aarch64": 0x14BFAC8 - 0x59BC50,
            "tlb_protect_code_x86_64": 0x14C22D8 - 0x412C90,
            "tlb_reset_dirty_by_vaddr_aarch64": 0x14C9738 - 0x59BEF0,
            "tlb_reset_dirty_by_vaddr_x86_64": 0x14C67F8 - 0x412EE0,
            "tlb_set_page_with_attrs_aarch64": 0x14C91A0 - 0x59C970,
            "tlb_set_page_with_attrs_x86_64": 0x14BEC40 - 0x413870,
        },
    ),
}
"""By the build id of the library (the note NT_GNU_BUILD_ID)."""


class UnsupportedLibrary(UnicornError):
    """This libunicorn is not one whose structures are known."""


def offsets() -> Offsets:
    """The places in the installed library. Raises UnsupportedLibrary saying what was expected and what was found."""
    path = locate()
    found = build_id(path)
    if found not in BUILDS:
        raise UnsupportedLibrary(
            f"--kernel needs a libunicorn whose insides are known: build {' or '.join(BUILDS)} (unicorn 2.1.4, the x86-64 Linux wheel); "
            f"{path} is build {found or 'unknown'}"
        )
    return BUILDS[found]


def mismatch(what: str, expected: object, found: object) -> UnsupportedLibrary:
    """The complaint that a check at start-up failed."""
    return UnsupportedLibrary(f"--kernel: this libunicorn is not what its build id says: {what}: expected {expected}, found {found}")
