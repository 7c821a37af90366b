"""Names of the kernel's page allocation flags (`include/linux/gfp_types.h`), for printf's `%gr`.

The compound masks come first, as in the kernel's own `show_gfp_flags()` (`include/trace/events/mmflags.h`). As in bpftrace, the mobility
of a page (`__GFP_MOVABLE`, `__GFP_RECLAIMABLE`) has no name by itself.
"""

from __future__ import annotations

DMA, HIGHMEM, DMA32, MOVABLE, RECLAIMABLE, HIGH, IO, FS = (1 << i for i in range(8))
ZERO = 1 << 8
DIRECT_RECLAIM, KSWAPD, WRITE, NOWARN, RETRY_MAYFAIL, NOFAIL, NORETRY = (1 << i for i in range(10, 17))
MEMALLOC, COMP, NOMEMALLOC, HARDWALL, THISNODE, ACCOUNT = (1 << i for i in range(17, 23))
ZEROTAGS, SKIP_ZERO, SKIP_KASAN, NO_OBJ_EXT = (1 << i for i in range(23, 27))
RECLAIM = DIRECT_RECLAIM | KSWAPD
KERNEL = RECLAIM | IO | FS
USER = KERNEL | HARDWALL
HIGHUSER = USER | HIGHMEM
HIGHUSER_MOVABLE = HIGHUSER | MOVABLE | SKIP_KASAN
TRANSHUGE_LIGHT = (HIGHUSER_MOVABLE | COMP | NOMEMALLOC | NOWARN) & ~RECLAIM

NAMES: tuple[tuple[int, str], ...] = (
    (TRANSHUGE_LIGHT | DIRECT_RECLAIM, "GFP_TRANSHUGE"),
    (TRANSHUGE_LIGHT, "GFP_TRANSHUGE_LIGHT"),
    (HIGHUSER_MOVABLE, "GFP_HIGHUSER_MOVABLE"),
    (HIGHUSER, "GFP_HIGHUSER"),
    (USER, "GFP_USER"),
    (KERNEL | ACCOUNT, "GFP_KERNEL_ACCOUNT"),
    (KERNEL, "GFP_KERNEL"),
    (RECLAIM | IO, "GFP_NOFS"),
    (HIGH | KSWAPD, "GFP_ATOMIC"),
    (RECLAIM, "GFP_NOIO"),
    (KSWAPD | NOWARN, "GFP_NOWAIT"),
    (DMA, "GFP_DMA"),
    (HIGHMEM, "__GFP_HIGHMEM"),
    (DMA32, "GFP_DMA32"),
    (HIGH, "__GFP_HIGH"),
    (IO, "__GFP_IO"),
    (FS, "__GFP_FS"),
    (ZERO, "__GFP_ZERO"),
    (DIRECT_RECLAIM, "__GFP_DIRECT_RECLAIM"),
    (KSWAPD, "__GFP_KSWAPD_RECLAIM"),
    (WRITE, "__GFP_WRITE"),
    (NOWARN, "__GFP_NOWARN"),
    (RETRY_MAYFAIL, "__GFP_RETRY_MAYFAIL"),
    (NOFAIL, "__GFP_NOFAIL"),
    (NORETRY, "__GFP_NORETRY"),
    (MEMALLOC, "__GFP_MEMALLOC"),
    (COMP, "__GFP_COMP"),
    (NOMEMALLOC, "__GFP_NOMEMALLOC"),
    (HARDWALL, "__GFP_HARDWALL"),
    (THISNODE, "__GFP_THISNODE"),
    (ACCOUNT, "__GFP_ACCOUNT"),
    (ZEROTAGS, "__GFP_ZEROTAGS"),
    (SKIP_ZERO, "__GFP_SKIP_ZERO"),
    (SKIP_KASAN, "__GFP_SKIP_KASAN"),
    (NO_OBJ_EXT, "__GFP_NO_OBJ_EXT"),
)


def gfp_text(value: int) -> bytes:
    """The names of the flags joined by `|`, what has no name in hex."""
    parts = []
    for mask, name in NAMES:
        if value & mask == mask:
            parts.append(name)
            value &= ~mask
    if value or not parts:
        parts.append(f"0x{value:x}" if value else "0")
    return "|".join(parts).encode()
