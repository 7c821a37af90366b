"""Measures of the engine alone: guest speed and the cost of a probe hit, beside a plain Unicorn script and qemu-user.

`python -m scripts.dev.bench_engine` from the root of a checkout prints them; `measure()` returns them for other scripts.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pyprobe.runtime.machine.clock import Clock
from pyprobe.runtime.machine.engine import Engine, StopKind
from pyprobe.runtime.machine.memory import AddressSpace, PhysicalMemory, R, W
from pyprobe.runtime.machine.x86_64 import X86_64

# argv[1]: calls of f; argv[2]: thousands of rounds of a loop of loads and stores; argv[3]: thousands of calls of a leaf
SOURCE = r"""
static long number(const char *s) { long n = 0; while (*s) n = 10 * n + *s++ - '0'; return n; }
__attribute__((noinline)) void f(long x) { __asm__ volatile("" : : "r"(x)); }
static long table[4096];
__attribute__((used)) void begin(long *stack) {
    char **argv = (char **)(stack + 1);
    long calls = number(argv[1]), rounds = 1000 * number(argv[2]), leaves = 1000 * number(argv[3]);
    for (long i = 0; i < calls; i++) f(i & 15);
    for (long i = 0; i < rounds; i++) { table[i & 4095] += i; table[(i * 7) & 4095] ^= table[(i + 1) & 4095]; }
    for (long i = 0; i < leaves; i++) f(i);
    __asm__ volatile("syscall" : : "a"(60), "D"(0));
}
__asm__(".globl _start\n_start: mov %rsp, %rdi; and $-16, %rsp; call begin");
"""

STACK = 0x7FFF_0000_0000


def build(folder: Path) -> Path:
    """Compile the program; needs gcc."""
    source, program = folder / "bench.c", folder / "bench"
    source.write_text(SOURCE)
    subprocess.run(["gcc", "-O1", "-static", "-nostdlib", "-fno-pie", "-no-pie", "-o", program, source], check=True)
    return program


def segments(image: bytes) -> tuple[int, list[tuple[int, int, int, bytes]]]:
    """Entry, and address, size, protection and content of each loadable segment, by pages."""
    entry, offset = struct.unpack_from("<QQ", image, 24)
    size, count = struct.unpack_from("<HH", image, 54)
    found = []
    for i in range(count):
        kind, flags, at, address, _, in_file, in_memory, _ = struct.unpack_from("<IIQQQQQQ", image, offset + size * i)
        if kind == 1:
            start = address & ~0xFFF
            length = (address + in_memory + 0xFFF & ~0xFFF) - start
            found.append((start, length, flags >> 2 & 1 | flags & 2 | (flags & 1) << 2, bytes(address - start) + image[at : at + in_file]))
    return entry, found


def symbol(program: Path, name: str) -> int:
    """The address of a symbol, by nm."""
    lines = subprocess.run(["nm", program], capture_output=True, text=True, check=True).stdout.splitlines()
    return next(int(line.split()[0], 16) for line in lines if line.split()[-1] == name)


def stack(arguments: list[str]) -> bytes:
    """argc, argv and the strings, to lie at STACK - 4096."""
    strings, pointers, at = b"", [], STACK - 4096 + 512
    for argument in ["bench", *arguments]:
        pointers.append(at + len(strings))
        strings += argument.encode() + b"\0"
    return struct.pack(f"<{len(pointers) + 3}Q", len(pointers), *pointers, 0, 0).ljust(512, b"\0") + strings


def load(program: Path, arguments: list[str], native: bool = True) -> tuple[Engine, AddressSpace]:
    """An engine ready to run the program."""
    memory = PhysicalMemory()
    engine = Engine(X86_64, memory, Clock(), native=native)
    space = AddressSpace(memory)
    entry, parts = segments(program.read_bytes())
    for start, length, prot, content in parts:
        space.map(start, length, R | W)
        space.write(start, content)
        space.protect(start, length, prot)
    space.map(STACK - 65536, 65536, R | W)
    space.write(STACK - 4096, stack(arguments))
    engine.activate(space)
    engine.set("pc", entry)
    engine.set("sp", STACK - 4096)
    return engine, space


def timed(run: Callable[[], object]) -> float:
    """Seconds of wall time."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def run_engine(program: Path, arguments: list[str], probe: str = "", native: bool = True) -> float:
    """Seconds to run on the engine, with `@[arg0] = count()` on the symbol `probe`."""
    engine, space = load(program, arguments, native)
    counts: dict[int, int] = {}
    if probe:
        argument = engine.register("rdi")
        scope = {**argument.names, "counts": counts, "get": counts.get}
        body = f"k = {argument.expression}; counts[k] = get(k, 0) + 1"
        source = f"def make({', '.join(scope)}):\n def handler():\n  {body}\n return handler"
        names: dict[str, Callable[..., Callable[[], object]]] = {}
        exec(source, names)
        engine.plant(space, symbol(program, probe), names["make"](**scope))
    seconds = timed(lambda: _until_exit(engine))
    if probe and sum(counts.values()) != int(arguments[0]) + 1000 * int(arguments[2]):
        raise SystemExit(f"{sum(counts.values())} hits counted")
    return seconds


def _until_exit(engine: Engine) -> None:
    stop = engine.run()
    if stop.kind is not StopKind.SYSCALL:
        raise SystemExit(f"unexpected stop {stop} at {engine.get('pc'):#x}")


def run_unicorn(program: Path, arguments: list[str], probe: str = "") -> float:
    """Seconds to run as a plain script with the official binding does it: all memory RWX, a code hook that counts."""
    import unicorn
    from unicorn import x86_const

    machine = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_64)
    entry, parts = segments(program.read_bytes())
    for start, length, _, content in parts:
        machine.mem_map(start, length)
        machine.mem_write(start, content)
    machine.mem_map(STACK - 65536, 65536)
    machine.mem_write(STACK - 4096, stack(arguments))
    machine.reg_write(x86_const.UC_X86_REG_RSP, STACK - 4096)
    machine.hook_add(unicorn.UC_HOOK_INSN, lambda uc, _: uc.emu_stop(), None, 1, 0, x86_const.UC_X86_INS_SYSCALL)
    counts: dict[int, int] = {}
    if probe:
        address = symbol(program, probe)

        def hit(uc: unicorn.Uc, address: int, size: int, user: object) -> None:
            key = uc.reg_read(x86_const.UC_X86_REG_RDI)
            counts[key] = counts.get(key, 0) + 1

        machine.hook_add(unicorn.UC_HOOK_CODE, hit, begin=address, end=address)
    return timed(lambda: machine.emu_start(entry, 0))


def run_qemu(program: Path, arguments: list[str]) -> float:
    """Seconds to run under qemu-user, start included."""
    return timed(lambda: subprocess.run([shutil.which("qemu-x86_64") or "qemu-x86_64", program, *arguments], check=True))


def best(runs: int, run: Callable[[], float]) -> float:
    """The fastest of several runs."""
    return min(run() for _ in range(runs))


def measure(program: Path) -> dict[str, float]:
    """Nanoseconds per hit, round or call; interleave with other work by calling it again."""
    hits, rounds, leaves = 300_000, 20_000, 20_000
    probed, bare = [str(hits), "0", "0"], ["0", "0", "0"]
    result = {
        "hit": (best(3, lambda: run_engine(program, probed, "f")) - best(3, lambda: run_engine(program, probed))) / hits * 1e9,
        "hit, twin": (best(1, lambda: run_engine(program, ["30000", "0", "0"], "f", native=False))) / 30000 * 1e9,
        "hit, plain unicorn": best(1, lambda: run_unicorn(program, ["30000", "0", "0"], "f")) / 30000 * 1e9,
    }
    for name, arguments, plain, count in (
        ("memory loop", ["0", str(rounds), "0"], ["0", "1000", "0"], rounds),
        ("call loop", ["0", "0", str(leaves)], ["0", "0", "1000"], leaves),
    ):
        result[name] = best(3, lambda a=arguments: run_engine(program, a)) / count * 1e6
        result[f"{name}, plain unicorn"] = best(2, lambda a=plain: run_unicorn(program, a)) / 1000 * 1e6
        if shutil.which("qemu-x86_64"):
            start = best(2, lambda: run_qemu(program, bare))
            result[f"{name}, qemu-user"] = (best(3, lambda a=arguments: run_qemu(program, a)) - start) / count * 1e6
    return result


def main() -> None:
    """Print the measures."""
    with tempfile.TemporaryDirectory() as folder:
        for name, ns in measure(build(Path(folder))).items():
            sys.stdout.write(f"{name:32} {ns:10.2f} ns\n")


if __name__ == "__main__":
    main()
