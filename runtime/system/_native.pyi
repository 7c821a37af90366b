from collections.abc import Callable

class Glue:
    def __new__(
        cls,
        handed: int,
        syndrome: int,
        trap: int,
        deliver: int,
        cpu: int,
        special: Callable[[int], None],
        words: int,
        shift: int,
        uc: int,
        translate: int,
        invalidate: int,
        ram: int,
        ram_size: int,
        in_pieces: int,
    ) -> Glue: ...
    def breakpoints(self, claim: int, user: int, pc: int, start: int, size: int, left: Callable[[int], bool]) -> None: ...
    def addresses(self) -> tuple[int, int, int, int]: ...

class Entry:
    def __new__(
        cls,
        state: int,
        offsets: bytes,
        deliver: int,
        cpu: int,
        reg_read: int,
        flags: int,
        words: int,
        trap: int,
        special: Callable[[int], bool],
        in_pieces: int,
    ) -> Entry: ...
    def breakpoints(self, claim: int, user: int, pc: int, start: int, size: int, left: Callable[[int], bool]) -> None: ...
    def addresses(self) -> tuple[int, int, int, int, int]: ...

class Coherence:
    def __new__(
        cls,
        arch: bool,
        uc: int,
        cpu: int,
        host: int,
        size: int,
        reset_dirty: int,
        invalidate: int,
        protect: int,
        written: int,
        mark: int,
        protect_slot: int,
        written_slot: int,
        mark_slot: int,
    ) -> Coherence: ...

class Shortcuts:
    def __new__(
        cls,
        arch: bool,
        uc: int,
        cpu: int,
        region: int,
        base: int,
        size: int,
        flush: int,
        unchecked: int,
        mapping: int,
        fill: int,
        set_page: int,
        translate: int,
        mapping_place: int,
        fill_places: tuple[int, int],
        set_page_slot: int,
        translate_slot: int,
    ) -> Shortcuts: ...
    def expect_stop(self, address: int, /) -> None: ...
