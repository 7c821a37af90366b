"""Calls, as far as they can be judged without types: how many arguments, literals where they must be, unsafe
functions. Builtins that take a word (`nsecs(tai)`, `kstack(perf, 3)`) become Builtin nodes here, reg() as well.
"""

from __future__ import annotations

from collections.abc import Callable

from pyprobe.lang import nodes as n
from pyprobe.lang.builtins import BUILTINS, STACK_MODES, STACK_MOST, TIMESTAMP_MODES
from pyprobe.lang.diagnostics import Diagnostics
from pyprobe.lang.functions import FUNCTIONS
from pyprobe.lang.passes.unit import Unit
from pyprobe.lang.passes.walk import descend, rewrite
from pyprobe.lang.signalnames import LAST, signal_number
from pyprobe.lang.signatures import PROBE_TYPES, Signature
from pyprobe.lang.source import Span

DEBUGF = (
    "The debugf() builtin is not recommended for production use. For more information see bpf_trace_printk in bpf-helpers(7)."
)
_ANY_LENGTH = frozenset({"printf", "errorf", "warnf", "cgroupid", "getopt"})  # whose first argument is never a value of the program
_PLACE_FIRST = frozenset({"reg", "skboutput", "socket_cookie"})  # where the call stands is judged before its arguments
_OF_LIBRARY = frozenset({"is_literal", "override", "kfunc_exist", "kfunc_allowed", "uaddr"})  # macros around a function of the compiler
_WORDS = {0: "no arguments", 1: "one argument"}


def _count(number: int) -> str:
    return _WORDS.get(number, f"{number} arguments")


def count_message(name: str, least: int, most: int | None, given: int) -> str:
    """The message where a call has the wrong number of arguments, else an empty string."""
    if least == most and given != least:
        return f"{name}() requires {_count(least)} ({given} provided)"
    if given < least:
        return f"{name}() requires at least {_count(least)} ({given} provided)"
    if most is not None and given > most:
        return f"{name}() takes up to {_count(most)} ({given} provided)"
    return ""


class _Calls:
    """One walk over all blocks. `provider` is empty in a function, which may be called anywhere."""

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.diagnostics: Diagnostics = unit.diagnostics
        self.provider = ""
        self.formats: set[int] = set()  # the literals that may have any length

    def change(self, node: n.Node) -> n.Node:
        if isinstance(node, n.Call):
            return self.call(node)
        if isinstance(node, n.String) and len(node.value) >= self.unit.config.max_strlen and id(node) not in self.formats:
            text = node.value.decode(errors="replace")
            self.diagnostics.error(f"String is too long (over {self.unit.config.max_strlen} bytes): {text}", node.span)
        return node

    def call(self, node: n.Call) -> n.Expr:
        signature = FUNCTIONS.get(node.name)
        value = BUILTINS.get(node.name)
        if value is not None and not (value.library or value.words or node.name == "reg"):
            value = None  # `args` and its like are words of the language, which cannot be called
        if value is not None and (signature is None or not node.args):
            return self.builtin(node)
        if signature is None:
            return node  # reported with the types
        available = signature.providers is None or not self.provider or self.provider in signature.providers
        if not available and node.name in _PLACE_FIRST:
            self.unavailable(node)
        if not self.counts(node, signature):
            return node
        if not available and node.name == "path" and len(node.args) == 2 and _natural(node.args[1]) is None:
            self.diagnostics.error("path: invalid size value, need non-negative literal", node.span)
        if not available and node.name not in _PLACE_FIRST:
            self.unavailable(node)
            if node.name == "uaddr" and (message := _uaddr(node.args, node.name)):
                self.diagnostics.error(message, node.span)
            if not signature.unsafe:
                return node
        if not available and node.name == "override":
            return node
        if signature.unsafe and not self.unit.options.unsafe:
            text = (
                f"{node.name}() is unsafe. To use you need the --unsafe flag"
                if signature.library
                else f"{node.name}() is an unsafe function being used in safe mode"
            )
            self.diagnostics.error(text, node.span)
        if not available and node.name != "reg":
            return node
        if not signature.library and signature.params and signature.params[0].kinds == ("map",) and not isinstance(node.args[0], n.Map):
            self.diagnostics.error(f"{node.name}() expects a map argument", node.args[0].span)
            return node
        if node.name == "debugf":
            self.diagnostics.warning(DEBUGF, node.span)
        check = _CHECKS.get(node.name)
        message = check(node.args, node.name) if check is not None else ""
        if message:
            self.diagnostics.error(message, node.span)
        elif node.name == "cgroupid" and isinstance(node.args[0], n.String):
            return n.Integer(value=1, span=node.span)
        elif node.name == "reg" and isinstance(node.args[0], n.String):
            return self.register(node, node.args[0].value.decode(errors="replace"))
        return node

    def unavailable(self, node: n.Call) -> None:
        context = BUILTINS["ctx"]
        if node.name.startswith("signal"):
            text = f"{node.name}() can not be used for this probetype {PROBE_TYPES.get(self.provider, self.provider)}"
        elif node.name == "override" and self.provider == "tracepoint":
            text = "Use args instead of ctx in tracepoint"
        elif node.name == "override" and context.providers is not None and self.provider not in context.providers:
            text = context.refusal.format(name="ctx", probe=self.provider)
        elif node.name == "override":
            text = "override() can only be used inside kprobes"
        elif node.name == "uaddr":
            text = f'__builtin_uaddr can not be used with "{self.provider}" probes'
        elif node.name == "path":
            text = "The path function can only be used with 'fentry', 'fexit', 'iter' probes"
        else:
            text = f'{node.name} can not be used with "{self.provider}" probes'
        self.diagnostics.error(text, node.span)

    def counts(self, node: n.Call, signature: Signature) -> bool:
        given = len(node.args)
        if node.name == "is_scalar" and given:
            return self.is_scalar(node)
        message = count_message(node.name, signature.least, signature.most, given)
        if message and node.name == "str" and given > 2:
            text, length = node.args[:2]
            if isinstance(text, (n.String, n.Integer)) and _natural(length) is not None:
                del node.args[2:]  # str() of literals is one itself, before arguments are counted
                return True
        if not message and node.name == "delete" and not isinstance(node.args[0], (n.Map, n.MapAccess)):
            self.diagnostics.error("Unknown function: '__deprecated_delete'", node.span)  # the library's last resort
            return False
        if not message:
            return True
        if node.name == "system" and not self.unit.options.unsafe:
            self.diagnostics.error("system() is an unsafe function being used in safe mode", node.span)
            self.diagnostics.error(message, node.span)
        else:
            self.diagnostics.error(message, node.span)
        return False

    def library(self, node: n.Call) -> None:
        """Compare a call of a library macro with its definitions."""
        signature, value, given = FUNCTIONS.get(node.name), BUILTINS.get(node.name), len(node.args)
        if signature is None or (value is not None and not given):
            if value is not None and value.library and not value.words and given:
                self.mismatch(node, 0)
        elif node.name != "is_scalar" and is_library(node.name):
            if count_message(node.name, signature.least, signature.most, given):
                self.mismatch(node, signature.least if given < signature.least else len(signature.params))
            elif node.name != "delete" or given > 1:
                self.fitting(node, signature)

    def is_scalar(self, node: n.Call) -> bool:
        """The count and kind of what is asked about, which is_scalar() words in its own way."""
        message = "" if isinstance(node.args[0], n.Map) else "is_scalar() expects a map for the first argument"
        if len(node.args) > 1:
            message = message or f"is_scalar() requires 1 argument ({len(node.args)} provided)"
        if message:
            self.diagnostics.error(message, node.span)
        return not message

    def fitting(self, node: n.Call, signature: Signature) -> None:
        """Report the arguments of a library macro that are no maps and variables where they have to be."""
        misfits: list[tuple[Span, str]] = []
        for param, arg in zip(signature.params, node.args, strict=False):
            wanted = "map @" if "map" in param.kinds and not isinstance(arg, n.Map) else ""
            if "variable" in param.kinds and not isinstance(arg, n.Variable):
                wanted = "variable $"
            if wanted:
                got = "a map" if isinstance(arg, n.Map) else "a variable" if isinstance(arg, n.Variable) else "an expression"
                word, sigil = wanted.split()
                text = f"Mismatched arg. {node.name}() expects a {word} for arg {sigil}{param.name} but got {got}."
                misfits += [(arg.span, text), (node.span, "This is the argument in the closest definition.")]
        if misfits:
            found = self.diagnostics.error(f"Call to {node.name}() has arguments that do not match any definition.", node.span)
            for span, text in misfits:
                found.context(span, text)

    def mismatch(self, node: n.Call, expected: int) -> None:
        self.diagnostics.error(f"Call to {node.name}() has arguments that do not match any definition.", node.span).context(
            node.span,
            f"The closest definition of {node.name}() has a different number of arguments. Expected: {expected} but got {len(node.args)}",
        )

    def register(self, node: n.Call, name: str) -> n.Expr:
        known = self.unit.world.registers()
        if known and name not in known:
            self.diagnostics.error(f"'{name}' is not a valid register on this architecture ({self.unit.world.arch})", node.span)
        return n.Builtin(name="reg", args=(MEMBERS.get(name, name),), span=node.span)

    def builtin(self, node: n.Call) -> n.Expr:
        """A builtin value written as a call."""
        known = BUILTINS[node.name]
        if node.name == "nsecs" and len(node.args) == 1:
            mode = node.args[0]
            if not isinstance(mode, n.Identifier) or mode.name not in TIMESTAMP_MODES:
                return node  # judged with the types
        words: tuple[object, ...] = ()
        if node.args:
            words = self.stack(node) if "perf" in known.words else self.word(node)
        return n.Builtin(name=node.name, args=words, span=node.span)

    def word(self, node: n.Call) -> tuple[object, ...]:
        """The one word that pid, tid and nsecs take."""
        name, first = node.name, node.args[0]
        message = count_message(name, 0, 1, len(node.args))
        if message:
            self.diagnostics.error(message, node.span)
        elif isinstance(first, n.Identifier):
            if first.name in BUILTINS[name].words:
                return (first.name,)
            self.diagnostics.error(f"Invalid PID namespace mode: {first.name} (expects: curr_ns or init)", first.span)
        else:
            self.diagnostics.error(f"{name}() only supports curr_ns and init as the argument", node.span)
        return ()

    def stack(self, node: n.Call) -> tuple[object, ...]:
        """Mode and limit of a stack, each optional."""
        name, args = node.name, list(node.args)
        message = count_message(name, 0, 2, len(args))
        if message:
            self.diagnostics.error(message, node.span)
            return ()
        found: list[object] = []
        if isinstance(args[0], n.Identifier):
            mode = args.pop(0)
            assert isinstance(mode, n.Identifier)
            if mode.name not in STACK_MODES:
                valid = "Invalid value for stack_mode: valid values are bpftrace, raw, perf, and build_id."
                self.diagnostics.error(f"Error parsing stack mode: {name}: {valid}", mode.span)
                return ()
            if mode.name == "build_id" and name == "kstack":
                self.diagnostics.error("'build_id' stack mode can only be used for ustack", node.span)
            found.append(mode.name)
        elif len(args) == 2:
            self.diagnostics.error("Expected stack mode as first argument", node.span)
            args.pop(0)
        if args:
            limit = args[0]
            if not isinstance(limit, n.Integer) or limit.value < 0:
                self.diagnostics.error(f"{name}: invalid limit value", node.span)
            elif limit.value > STACK_MOST:
                self.diagnostics.error(f"{name}([int limit]): limit shouldn't exceed {STACK_MOST}, {limit.value} given", node.span)
            else:
                found.append(limit.value)
        return tuple(found)


# ---- checks of one function each: the message, or an empty string

MEMBERS = {"orig_rax": "orig_ax"}  # registers that pt_regs calls otherwise than reg()
MOST_TRACED = 3  # values that bpf_trace_printk() takes
CGROUP_ROOT = "/sys/fs/cgroup"  # the one control group that there is

Args = list[n.Expr | n.TypeSpec]


def _hist(args: Args, name: str) -> str:
    if len(args) == 2:
        bits = args[1]
        if isinstance(bits, n.Integer) and not 0 <= bits.value <= 5:
            return f"{name}: bits {bits.value % (1 << 64)} must be 0..5"
        if not isinstance(bits, n.Integer):
            return f"{name}: invalid bits value, must be a non-negative literal"
    return ""


def _natural(arg: n.Node) -> int | None:
    return arg.value if isinstance(arg, n.Integer) and arg.value >= 0 else None


def _lhist(args: Args, name: str) -> str:
    values = [_natural(arg) for arg in args[1:]]
    for word, value in zip(("min", "max", "step"), values, strict=True):
        if value is None:
            return f"{name}: invalid {word} value{'' if word == 'step' else ' (must be non-negative literal)'}"
    low, high, step = (v or 0 for v in values)
    if step < 1:
        return f"{name}() step must be >= 1 ({step} provided)"
    buckets = (high - low) // step
    if low > high:
        return f"{name}() min must be less than max (provided min {low} and max {high})"
    if buckets > 1000:
        return f"{name}() too many buckets, must be <= 1000 (would need {buckets})"
    if high - low < step:
        return f"{name}() step is too large for the given range (provided step {step} for range {high - low})"
    return ""


_TSERIES = ("avg", "max", "min", "sum")


def _tseries(args: Args, name: str) -> str:
    interval, number = _natural(args[1]), _natural(args[2])
    if interval is None:
        return f"{name}: invalid interval_ns value (must be non-negative literal)"
    if number is None:
        return f"{name}: invalid num_intervals value (must be non-negative literal)"
    if interval < 1:
        return f"{name}() interval_ns must be >= 1 ({interval} provided)"
    if number < 1:
        return f"{name}() num_intervals must be >= 1 ({number} provided)"
    if number > 1000000:
        return f"{name}() num_intervals must be < 1000000 ({number} provided)"
    if len(args) == 4:
        word = args[3]
        text = word.value.decode(errors="replace") if isinstance(word, n.String) else ""
        if text not in _TSERIES:
            return f'{name}() expects one of the following aggregation functions: {", ".join(_TSERIES)} ("{text}" provided)'
    return ""


def _strncmp(args: Args, name: str) -> str:
    return "" if _natural(args[2]) is not None else f"Builtin {name} requires a non-negative literal"


def _pton(args: Args, name: str) -> str:
    return "" if isinstance(args[0], n.String) else f"{name}() expects an string literal at the first argument"


def _signal(args: Args, name: str) -> str:
    first = args[0]
    if isinstance(first, n.String):
        text = first.value.decode(errors="replace")
        return "" if signal_number(text) else f"Invalid string for signal: {text}"
    if isinstance(first, n.Integer) and not 1 <= first.value <= LAST:
        return f"{name}() accepts a string literal or an integer between 1 and {LAST} (inclusive)"
    return ""


def _debugf(args: Args, name: str) -> str:
    return f"cannot use more than {MOST_TRACED} conversion specifiers" if len(args) > MOST_TRACED + 1 else ""


def _skboutput(args: Args, name: str) -> str:
    return f"{name}() writes packets, which the emulated network does not make"


def _uaddr(args: Args, name: str) -> str:
    return "" if isinstance(args[0], n.String) else f"__builtin_{name}() expects a string literal as the first argument"


def _cgroupid(args: Args, name: str) -> str:
    if not isinstance(args[0], n.String):
        return ""  # refused when its type is known
    path = args[0].value.decode(errors="replace")
    return "" if path.rstrip("/") == CGROUP_ROOT else f'Failed to get `cgroupid` for path: "{path}": No such file or directory'


def _kernel_function(args: Args, name: str) -> str:
    return "" if isinstance(args[0], (n.String, n.Identifier)) else f"{name}() accepts a string literal only"


_CHECKS: dict[str, Callable[[Args, str], str]] = {
    "hist": _hist,
    "lhist": _lhist,
    "tseries": _tseries,
    "strncmp": _strncmp,
    "pton": _pton,
    "signal": _signal,
    "signal_thread": _signal,
    "debugf": _debugf,
    "skboutput": _skboutput,
    "uaddr": _uaddr,
    "cgroupid": _cgroupid,
    "kfunc_exist": _kernel_function,
    "kfunc_allowed": _kernel_function,
}


def is_library(name: str) -> bool:
    """Whether a function is a macro of upstream's library, or is called through one."""
    return name in _OF_LIBRARY or any(known is not None and known.library for known in (FUNCTIONS.get(name), BUILTINS.get(name)))


def library(unit: Unit) -> None:
    """Check the calls of library macros, which come first because upstream expands them first."""
    calls = _Calls(unit)
    defined = {item.name for item in unit.script.items if isinstance(item, n.Macro)}
    for item in unit.script.items:
        if isinstance(item, (n.Probe, n.Function)):
            for node in descend(item):
                if isinstance(node, n.Call) and node.name not in defined:
                    calls.library(node)


def run(unit: Unit) -> None:
    """Check every call of every block."""
    calls = _Calls(unit)
    for body in (*unit.bodies, *unit.functions()):
        calls.provider = body.point.provider
        of_any_length = (node for node in descend(body.block) if isinstance(node, n.Call) and node.name in _ANY_LENGTH)
        calls.formats = {id(node.args[0]) for node in of_any_length if node.args}
        rewrite(body.block, calls.change)
