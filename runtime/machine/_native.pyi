from collections.abc import Callable

class Table:
    def __new__(cls, callbacks: dict[int, Callable[[], object]], /) -> Table: ...
    def set(self, address: int, callback: Callable[[], object], /) -> None: ...
    def delete(self, address: int, /) -> None: ...

class Core:
    def __new__(
        cls,
        state: int,
        words: int,
        emu_stop: int,
        ctl: int,
        tlb_flush: int,
        attend: Callable[[], None],
        enter: Callable[[], bool],
        miss: Callable[[int, int], int],
        fail: Callable[[BaseException], None],
    ) -> Core: ...
    def activate(self, pages: dict[int, int], blocks: Table, exact: Table, /) -> None: ...
    def addresses(self) -> tuple[int, int, int, int, int]: ...
