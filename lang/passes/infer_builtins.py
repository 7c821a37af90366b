"""The types of builtin values, of which some depend on the probe."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pyprobe.lang import nodes as n
from pyprobe.lang.builtins import BUILTINS, nanoseconds_type, stack_type
from pyprobe.lang.passes import availability
from pyprobe.lang.signatures import EVENT, KERNEL, PROBE_TYPES, TIMER, USER
from pyprobe.lang.typesys import (
    BOOL,
    INT64,
    KSYM,
    NONE,
    UINT64,
    USYM,
    Context,
    Pointer,
    Record,
    String,
    Struct,
    Type,
    smallest_integer,
)

if TYPE_CHECKING:
    from pyprobe.lang.passes.infer import Inference

SPACE_MARKS = {"kptr": "kernel", "uptr": "user"}  # functions that say where their argument points


def default_space(provider: str) -> str | None:
    """The address space that a plain pointer points into, in a probe of this provider."""
    if provider in USER:
        return "user"
    return "kernel" if provider in KERNEL else None


def space_of(address: n.Expr, provider: str) -> str | None:
    """The address space that an address points into where a probe of this provider reads at it; None where nothing tells."""
    if isinstance(address.type, Pointer):
        return address.type.space
    if isinstance(address, n.Call) and address.name in SPACE_MARKS:
        return SPACE_MARKS[address.name]
    return None if isinstance(address, n.Integer) else default_space(provider)


def in_space(t: Type, space: str | None) -> Type:
    """A pointer found in memory of an address space points into the same one."""
    return Pointer(t.to, space) if space is not None and isinstance(t, Pointer) and t.space is None else t


def builtin(ctx: Inference, node: n.Builtin) -> Type:
    """The type of a builtin value in the current body."""
    known = BUILTINS[node.name].type
    if known is not None:
        return nanoseconds_type(node.args) if node.name == "nsecs" else known
    return node.type if node.type is not NONE else _BUILTINS[node.name](ctx, node)


def _args(ctx: Inference, node: n.Builtin) -> Type:
    point = ctx.body.point
    if availability.refusal(node, point):
        return NONE
    found = ctx.unit.world.args(point)
    if found is None and point.provider == "uprobe":
        ctx.error("Cannot read function parameters", node.span)
        return NONE
    if found is None:
        return Record(())
    space = "user" if point.provider == "tracepoint" and point.target == "syscalls" else default_space(point.provider)
    return Record(tuple((name, in_space(t, space)) for name, t in found.fields))


def _config(ctx: Inference, node: n.Builtin) -> Type:
    """The values in force, as a record."""
    return Record(tuple((name, _setting_type(value)) for name, value in ctx.unit.config.shown()))


def _setting_type(value: object) -> Type:
    if isinstance(value, bool):
        return BOOL
    return smallest_integer(value) if isinstance(value, int) else String(len(str(value).encode()) + 1)


def _retval(ctx: Inference, node: n.Builtin) -> Type:
    if ctx.body.point.provider == "fentry":  # where the syntax has it, but nothing has returned
        ctx.error("Can't find a field $retval", node.span)
        return NONE
    return ctx.unit.world.retval(ctx.body.point) or UINT64


def _arg(ctx: Inference, node: n.Builtin) -> Type:
    return INT64 if ctx.body.point.provider == "usdt" else UINT64


def _func(ctx: Inference, node: n.Builtin) -> Type:
    return USYM if ctx.body.point.provider in USER else KSYM


def _probe(ctx: Inference, node: n.Builtin) -> Type:
    return String(ctx.longest_name() + 1)


def _probetype(ctx: Inference, node: n.Builtin) -> Type:
    provider = ctx.body.point.provider
    return String(len(PROBE_TYPES.get(provider, provider)) + 1)


def _ctx(ctx: Inference, node: n.Builtin) -> Type:
    """The registers, or what perf events or iterators hand over."""
    point = ctx.body.point
    name = "struct bpf_perf_event_data" if point.provider in TIMER | EVENT else "struct pt_regs"
    if point.provider == "iter":
        name = f"struct bpf_iter__{point.function}"
    return Context(ctx.unit.types.named(name) or Struct(name, 0, list), "kernel")


def _curtask(ctx: Inference, node: n.Builtin) -> Type:
    task = ctx.unit.types.named("struct task_struct") or Struct("struct task_struct", 0, list)
    return Pointer(task, "kernel")


def _stack(ctx: Inference, node: n.Builtin) -> Type:
    return stack_type(node.name, node.args, ctx.config)


_BUILTINS: dict[str, Callable[[Inference, n.Builtin], Type]] = {
    "args": _args,
    "retval": _retval,
    "arg": _arg,
    "func": _func,
    "probe": _probe,
    "probetype": _probetype,
    "ctx": _ctx,
    "curtask": _curtask,
    "kstack": _stack,
    "ustack": _stack,
    "dw_ustack": _stack,
    "config": _config,
}
