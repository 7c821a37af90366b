"""What the command line says about a run, and the error that ends a run which cannot go on."""

from __future__ import annotations

from pyprobe.runtime.limits import MachineOptions

OK, FAILED, RUN_FAILED = 0, 1, 255
"""Exit statuses: done; refused before the run; the run failed."""


class RunError(Exception):
    """A run that could not go on; the message is for the user, `status` the exit status."""

    def __init__(self, message: str, status: int = RUN_FAILED) -> None:
        super().__init__(message)
        self.status = status


class Settings:
    """What the command line says about a run.

    machine: what the machine is given of this host, and its bounds.
    command: words of the program to run in the machine, None for the built-in workload. environ, cwd: its surroundings.
    kernel: the kernel to boot, by name or file, None for the user machine; boot: trace it from its first instruction; append: added to its
    command line; memory: MB of RAM, None for the default; root: the host's directory that is the guest's root;
    faithful: refuse the probes that Linux refuses.
    epoch_ns: start of the machine's clock since 1970 (None: the documented constant); real_clock: follow the host's instead.
    format, buffering, output: where and how events are written. native: whether the engine uses the extension (None: if it is there).
    mode: `test` or `bench` runs the probes of that name, None the others.
    attach: `hook`, or `breakpoint` for what Linux does. The others are the options of the same name.
    """

    def __init__(
        self,
        *,
        command: list[bytes] | None = None,
        environ: dict[bytes, bytes] | None = None,
        cwd: bytes = b"/",
        kernel: str | None = None,
        boot: bool = False,
        append: str = "",
        memory: int | None = None,
        root: str | None = None,
        faithful: bool = False,
        machine: MachineOptions | None = None,
        real_clock: bool = False,
        epoch_ns: int | None = None,
        seed: int = 0,
        unsafe: bool = False,
        verbose: int = 0,
        quiet: bool = False,
        warn_reads: bool = False,
        warnings: bool = True,
        stats: bool = False,
        dry_run: bool = False,
        format: str = "text",
        buffering: str = "line",
        output: str | None = None,
        probe_filter: str | None = None,
        colour: bool = False,
        show_source: bool = False,
        native: bool | None = None,
        attach: str = "hook",
        mode: str | None = None,
    ) -> None:
        self.command = command
        self.environ = environ or {}
        self.cwd = cwd
        self.kernel = kernel
        self.boot = boot
        self.append = append
        self.memory = memory
        self.root = root
        self.faithful = faithful
        self.machine = machine or MachineOptions()
        self.real_clock = real_clock
        self.epoch_ns = epoch_ns
        self.seed = seed
        self.unsafe = unsafe
        self.verbose = verbose
        self.quiet = quiet
        self.warn_reads = warn_reads
        self.warnings = warnings
        self.stats = stats
        self.dry_run = dry_run
        self.format = format
        self.buffering = buffering
        self.output = output
        self.probe_filter = probe_filter
        self.colour = colour
        self.show_source = show_source
        self.native = native
        self.attach = attach
        self.mode = mode
