"""C types as text (`const char *`, `unsigned long[6]`) to types of the language, for arguments of tracepoints and kernel functions.

Integer typedefs: include/linux/types.h and include/uapi/asm-generic/posix_types.h, on 64-bit machines.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from pyprobe.lang.typesys import (
    BOOL,
    INT8,
    INT16,
    INT32,
    INT64,
    UINT8,
    UINT16,
    UINT32,
    UINT64,
    VOID,
    Array,
    Pointer,
    String,
    Struct,
    Type,
)

TEXT_SIZE = 1024  # bytes that a string of variable length (`__data_loc char[]`) may have, its NUL included

_NAMES: dict[Type, str] = {
    VOID: "void",
    BOOL: "bool,_Bool",
    INT8: "char,signed char,s8,__s8,int8_t",
    UINT8: "unsigned char,u8,__u8,uint8_t",
    INT16: "short,short int,s16,__s16,int16_t",
    UINT16: "unsigned short,unsigned short int,u16,__u16,uint16_t,umode_t",
    INT32: "int,signed,signed int,s32,__s32,int32_t,pid_t,key_t,clockid_t,timer_t,key_serial_t,rwf_t,mqd_t,__kernel_pid_t",
    UINT32: "unsigned,unsigned int,u32,__u32,uint32_t,uid_t,gid_t,qid_t,dev_t,mode_t,gfp_t,fmode_t",
    INT64: "long,long int,long long,long long int,s64,__s64,int64_t,ssize_t,off_t,loff_t,ktime_t,time64_t,clock_t,__kernel_old_time_t",
    UINT64: "unsigned long,unsigned long int,unsigned long long,u64,__u64,uint64_t,size_t,ino_t,sector_t,aio_context_t,uintptr_t",
}
_TYPES = {name: type for type, names in _NAMES.items() for name in names.split(",")}
_DROPPED = re.compile(r"\b(?:const|volatile|__user|__kernel|__rcu|restrict)\b")
_ARRAY = re.compile(r"(.*?)\s*\[(\d*)\]")


Named = Callable[[str], Type | None]


def c_type(text: str, space: str | None = None, named: Named | None = None) -> Type:
    """The type that `text` writes; pointers point into `space` (`user`, `kernel` or None). Unknown names count as 64-bit words.

    named: gives the machine's structs and enums by their names.
    """
    text = text.strip()
    if text.startswith("__data_loc"):
        return String(TEXT_SIZE)
    if array := _ARRAY.fullmatch(text):
        element, count = array.groups()
        if element in ("char", "const char"):
            return String(int(count or TEXT_SIZE))
        return Array(c_type(element, space), int(count or 0))
    text = " ".join(_DROPPED.sub(" ", text).replace("*", " * ").split())
    if text.endswith("*"):
        target = text[:-1].rstrip()
        if target in _TYPES or target.endswith("*"):
            return Pointer(c_type(target, space, named), space)
        return Pointer((named(target) if named is not None else None) or opaque(target), space)
    if text.startswith("enum ") and named is not None:
        return named(text) or UINT64
    return _TYPES.get(text, UINT64)


def opaque(name: str) -> Type:
    """A type of which only the name is known."""
    if name.startswith(("struct ", "union ")):
        return Struct(name, 0, list)
    return VOID


def register_type(text: str, space: str | None, named: Named | None = None) -> Type:
    """The type of an argument that is shown as it was in its 64-bit register: a pointer, or an unsigned word."""
    type = c_type(text, space, named)
    return type if isinstance(type, Pointer) else UINT64


def declaration(ctype: str, name: str) -> str:
    """`char[16]` and `comm` as a C declaration, `char comm[16]`."""
    array = _ARRAY.fullmatch(ctype)
    if array and array[2]:
        return f"{array[1]} {name}[{array[2]}]"
    return f"{ctype} {name}"
