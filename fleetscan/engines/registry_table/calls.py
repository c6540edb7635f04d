"""What a scan costs in registry calls, and calls that are made to fail: the measures of the conformance corpus."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from fleetscan.model.registry import fold

FILE_NOT_FOUND = 2
MORE_DATA = 234
TOO_MANY_LINKS = 1142  # ERROR_TOO_MANY_LINKS; Windows gives STATUS_NAME_TOO_LONG for a link that leads to itself


@dataclass(slots=True)
class Calls:
    """Counters of registry calls (rule 28); they only grow."""

    table: int = 0
    open: int = 0
    open_failed: int = 0
    list_subkey: int = 0
    list_value: int = 0
    read_value: int = 0
    rows: int = 0

    def as_dict(self) -> dict[str, int]:
        """The counters by name."""
        return asdict(self)


class CallFailedError(Exception):
    """A registry call failed with a Win32 error code."""

    def __init__(self, code: int) -> None:
        """``code`` is the Win32 error."""
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One call that fails: ``open`` of a key, ``list`` of its subkey at ``index``, ``read`` of its value ``name``."""

    op: str
    key: str
    code: int
    name: str = ""
    index: int = -1


class Faults:
    """The faults of one database, looked up at every call."""

    def __init__(self, faults: tuple[Fault, ...] = ()) -> None:
        """Keys and value names ignore case."""
        self._codes = {(f.op, fold(f.key), f.index if f.op == "list" else fold(f.name)): f.code for f in faults}

    def __bool__(self) -> bool:
        """Is there any?"""
        return bool(self._codes)

    def check(self, op: str, key: str, item: str | int = "") -> None:
        """Raise CallFailedError if this call is to fail; ``key`` is the cleaned key."""
        if not self._codes:
            return
        code = self._codes.get((op, fold(key), fold(item) if isinstance(item, str) else item))
        if code is not None:
            raise CallFailedError(code)
