"""The types a script can name, and how a type as written becomes a type.

Names are looked up in this order: the language's own (`uint8`, `string`, `count_t`), the script's C section, the machine (its kernel's
types), and the kernel's integer typedefs (`u32`, `size_t`, `pid_t`; `include/linux/types.h` and `include/uapi/asm-generic/posix_types.h`
for 64-bit machines), so that these work where no kernel type information is at hand.
"""

from __future__ import annotations

from collections.abc import Callable

from pyprobe.lang import typesys as t
from pyprobe.lang.nodes import ArrayType, Expr, Integer, NamedType, PointerType, TypeOf, TypeSpec
from pyprobe.lang.world import World

NAMED: dict[str, t.Type] = {
    "void": t.VOID,
    "bool": t.BOOL,
    **t.INTEGERS,
    "username_t": t.USERNAME,
    "macaddr_t": t.MAC,
    "cgroup_path_t": t.CGROUP_PATH,
    "timestamp": t.Timestamp(),
    "count_t": t.Aggregate("count", False),
    **{f"{'' if signed else 'u'}{f}_t": t.Aggregate(f, signed) for f in t.SUMMARIES for signed in (True, False)},
}
"""The types whose name says everything. `string`, `buffer` and `inet` also take a size."""

SIZED: dict[str, Callable[[int], t.Type]] = {"string": t.String, "buffer": t.Buffer, "inet": t.Inet}

_TYPEDEFS: dict[t.Type, str] = {
    t.INT8: "s8 __s8 int8_t",
    t.UINT8: "char u8 __u8 uint8_t u_char unchar",
    t.BOOL: "_Bool",
    t.INT16: "short s16 __s16 int16_t",
    t.UINT16: "u16 __u16 uint16_t u_short ushort umode_t __le16 __be16 __sum16 __kernel_uid16_t __kernel_gid16_t "
    "__kernel_sa_family_t",
    t.INT32: "int s32 __s32 int32_t pid_t key_t clockid_t timer_t __kernel_pid_t __kernel_ipc_pid_t __kernel_daddr_t __kernel_timer_t "
    "__kernel_clockid_t __kernel_key_t __kernel_mqd_t",
    t.UINT32: "unsigned u32 __u32 uint32_t uint u_int uid_t gid_t dev_t mode_t nlink_t gfp_t fmode_t __le32 __be32 __poll_t "
    "__wsum __kernel_mode_t __kernel_uid_t __kernel_gid_t __kernel_uid32_t __kernel_gid32_t",
    t.INT64: "long s64 __s64 int64_t ssize_t off_t loff_t ktime_t time64_t clock_t ptrdiff_t intptr_t suseconds_t __kernel_long_t "
    "__kernel_suseconds_t __kernel_ssize_t __kernel_ptrdiff_t __kernel_off_t __kernel_loff_t __kernel_old_time_t __kernel_time_t "
    "__kernel_time64_t __kernel_clock_t __aligned_s64",
    t.UINT64: "u64 __u64 uint64_t size_t ino_t sector_t blkcnt_t uintptr_t u_long ulong phys_addr_t dma_addr_t resource_size_t pgoff_t "
    "aligned_u64 __le64 __be64 __kernel_ulong_t vm_flags_t __aligned_u64 __aligned_le64 __aligned_be64 __kernel_ino_t __kernel_size_t",
}
KERNEL_INTEGERS: dict[str, t.Type] = {name: type for type, names in _TYPEDEFS.items() for name in names.split()}


class UnknownType(Exception):
    """A type name that nothing defines; `name` is as written, with its keyword."""

    def __init__(self, name: str) -> None:
        super().__init__(f'Cannot resolve unknown type "{name}"')
        self.name = name


class TypeTable:
    """All named types of one compilation. `tags` holds the C section's structs, unions, enums and typedefs by full name (`struct foo`,
    `foo_t`), `constants` its enum constants, `macros` the bodies of its object-like macros."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.tags: dict[str, t.Type] = {}
        self.constants: dict[str, tuple[int, t.Enum]] = {}
        self.macros: dict[str, str] = {}

    def named(self, name: str, size: int | None = None) -> t.Type | None:
        """The type called `name`, or None. `size` is the number in `string[64]`; without one such a type has size 0, to be inferred."""
        if name == "buffer" and size is not None:
            return t.Array(t.Buffer(0), size)  # as bpftrace reads it: only buf() makes buffers of a size
        if name in SIZED:
            return SIZED[name](size or 0)
        known = NAMED.get(name) or self.tags.get(name) or self._world.type_named(name) or KERNEL_INTEGERS.get(name)
        return known or (None if " " in name else self._world.type_named(f"struct {name}"))

    def constant(self, name: str) -> tuple[int, t.Enum] | None:
        """Value and type of an enum constant of the C section or the machine."""
        return self.constants.get(name) or self._world.enum_constant(name)

    def enum(self, name: str) -> t.Enum | None:
        """The enum of that name (without the keyword)."""
        found = self.named(f"enum {name}")
        return found if isinstance(found, t.Enum) else None

    def resolve(self, spec: TypeSpec, typeof: Callable[[Expr], t.Type]) -> t.Type:
        """The type that `spec` writes. `typeof` answers for `typeof(expression)`. An array without a number has 0 elements.

        Raises UnknownType for a name that nothing defines.
        """
        if isinstance(spec, NamedType):
            found = self.named(spec.name, spec.size)
            if found is None and spec.name.startswith("enum "):
                return t.Enum(spec.name.removeprefix("enum "), {})  # that nothing defines it matters where a value becomes one
            if found is None:
                raise UnknownType(spec.name)
            return found
        if isinstance(spec, PointerType):
            return t.Pointer(self.resolve(spec.to, typeof))
        if isinstance(spec, ArrayType):
            count = spec.count_expr.value if isinstance(spec.count_expr, Integer) else spec.count
            return t.Array(self.resolve(spec.element, typeof), count or 0)
        assert isinstance(spec, TypeOf), spec
        return self.resolve(spec.operand, typeof) if isinstance(spec.operand, TypeSpec) else typeof(spec.operand)
