from collections.abc import Callable, Mapping

class Table:
    def __new__(cls, callbacks: Mapping[int, Callable[[], object] | Trap], /) -> Table: ...
    def set(self, address: int, callback: Callable[[], object] | Trap, /) -> None: ...
    def delete(self, address: int, /) -> None: ...

class Trap:
    def __new__(cls, handler: Callable[[], object], slot: int, /) -> Trap: ...

class Core:
    def __new__(
        cls,
        state: int,
        words: int,
        uc: int,
        emu_start: int,
        emu_stop: int,
        reg_read: int,
        ctl: int,
        tlb_flush: int,
        attend: Callable[[], None],
        enter: Callable[[], bool],
        miss: Callable[[int, int], int],
        fail: Callable[[BaseException], None],
    ) -> Core: ...
    def activate(self, pages: dict[int, int], blocks: Table, exact: Table, traps: Table, /) -> None: ...
    def traces(self, link: int, saved_flags: int, flags: int, /) -> None: ...
    def breakpoints(
        self,
        pc: int,
        trap: int,
        advance: int,
        cost: int,
        interrupted: Callable[[int], None],
        trap_address: Callable[[], int],
        go_to: Callable[[int], None],
        trap_type: type[Trap],
        /,
    ) -> None: ...
    def masks(self, address: int, bit: int, /) -> None: ...
    def kicks(self, address: int, /) -> None: ...
    def start(self) -> int: ...
    def flush(self) -> None: ...
    def addresses(self) -> tuple[int, int, int, int, int, int, int]: ...
