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
    ) -> Glue: ...
    def addresses(self) -> tuple[int, int, int, int]: ...
