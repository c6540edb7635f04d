"""One registry subject as rules see it: its names, texts and kind, each computed once and only when a rule asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from fleetscan.evaluate.data import EXPANDABLE, elastic_texts, environment_of, expand, sysmon_texts
from fleetscan.evaluate.names import elements_of, folded_spellings, key_spellings, last_elements
from fleetscan.model.registry import DEFAULT_VALUE, SUBKEY, RegistryRow, fold
from fleetscan.model.rule import Dialect, Field, Match, Subject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_KEYS = frozenset({Subject.KEY, Subject.REMOVED_KEY})
_SAM_NAMES = ("HKLM", "SAM", "SAM", "DOMAINS", "ACCOUNT", "USERS", "NAMES")


ADDED, MODIFIED, ADDED_OR_MODIFIED = "added", "modified", "added or modified"


@dataclass(frozen=True, slots=True)
class Context:
    """What is known of the host and of the baseline when its rows are judged.

    ``environment`` None: the documented default (D5); ``current_control_set`` None: 001. ``change`` is ``added`` or
    ``modified`` for rows that the baseline lacks or shows otherwise (S2), or both where nobody can say which.
    """

    current_control_set: int | None = None
    environment: Mapping[str, str] | None = None
    change: str | None = None


NOTHING_KNOWN = Context()


def subjects_of(row: RegistryRow) -> Iterator[tuple[Subject, RegistryRow]]:
    """The subjects a row of the current sweep stands for (section 1; R1 adds the values osquery cannot show)."""
    if row.type != SUBKEY:
        yield Subject.VALUE, row
        return
    yield Subject.KEY, row
    if "Names" in row.key and tuple(map(fold, elements_of(row.key))) == _SAM_NAMES:
        key = f"{row.key}\\{row.name}"
        yield Subject.VALUE, RegistryRow(key, DEFAULT_VALUE, "UNKNOWN", "", f"{key}\\", row.mtime)


def removed_subject(row: RegistryRow) -> Subject:
    """What a row stands for that the newer sweep lacks."""
    return Subject.REMOVED_KEY if row.type == SUBKEY else Subject.REMOVED_VALUE


T = TypeVar("T")


class _once(Generic[T]):  # noqa: N801 - a decorator
    """A property worked out once. functools.cached_property takes a lock for that, which costs more than most texts."""

    def __init__(self, method: Callable[[Any], T]) -> None:
        self.method = method
        self.name = method.__name__
        self.__doc__ = method.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> _once[T]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> T | _once[T]:
        if instance is None:
            return self
        value = instance.__dict__[self.name] = self.method(instance)
        return value


class View:
    """A subject through the eyes of one dialect."""

    def __init__(self, row: RegistryRow, kind: Subject, dialect: Dialect, context: Context = NOTHING_KNOWN) -> None:
        """``row`` is of the older sweep for removed subjects."""
        self.row = row
        self.kind = kind
        self.dialect = dialect
        self.context = context

    @property
    def added(self) -> bool | None:
        """Did it appear since the baseline? None: it did, or only its data changed."""
        return None if self.context.change == ADDED_OR_MODIFIED else self.context.change == ADDED

    @_once
    def paths(self) -> tuple[str, ...]:
        """All spellings of the full name."""
        last = last_elements(self.row.name, self.kind, self.dialect)
        keys = key_spellings(self.row.key, self.context.current_control_set)
        return tuple(f"{key}\\{name}" for key in keys for name in last)

    @_once
    def value_names(self) -> tuple[str, ...] | None:
        """The value's name, None for keys; the unnamed value is also the empty text."""
        if self.kind in _KEYS:
            return None
        return (DEFAULT_VALUE, "") if self.row.name in {"", DEFAULT_VALUE} else (self.row.name,)

    @_once
    def keys(self) -> tuple[str, ...]:
        """The key: for EQL without root and also with the value name; for Security 4657 with the root."""
        keys = key_spellings(self.row.key, self.context.current_control_set)
        if self.kind in _KEYS:
            keys = tuple(f"{key}\\{self.row.name}" for key in keys)
        if self.dialect is Dialect.SIGMA:
            return keys
        bare = tuple(key.partition("\\")[2] for key in keys)
        return bare + tuple(f"{key}\\{name}" for key in bare for name in self.value_names or ())

    @_once
    def hives(self) -> tuple[str, ...]:
        """The hive; HKEY_USERS has two spellings in the wild."""
        root = elements_of(self.row.key)[:1]
        return ("HKU", "HKEY_USERS") if root == ("HKU",) else root

    @_once
    def sysmon(self) -> tuple[str, ...] | None:
        """Data as Sysmon prints it."""
        return sysmon_texts(self.row) if self.kind is Subject.VALUE else None

    @_once
    def elastic(self) -> tuple[str, ...] | None:
        """Data as Elastic prints it."""
        return elastic_texts(self.row) if self.kind is Subject.VALUE else None

    @_once
    def environment(self) -> Mapping[str, str]:
        """What expands %NAME%."""
        return environment_of(self.context.environment)

    @_once
    def expanded(self) -> tuple[str, ...]:
        """The raw data expanded, if that changes it (D5)."""
        if self.kind is not Subject.VALUE or self.row.type not in EXPANDABLE or "%" not in self.row.data:
            return ()
        expanded = expand(self.row.data, self.environment)
        return () if expanded == self.row.data else (expanded,)

    @property
    def expandable(self) -> bool:
        """May patterns with %NAME% be tried expanded on it?"""
        return self.row.type in EXPANDABLE

    def texts(self, match: Match) -> tuple[str, ...] | None:
        """The texts of a field, None where the subject has none."""
        match match.field:
            case Field.PATH | Field.NEW_NAME:
                return self.paths
            case Field.VALUE_NAME:
                return self.value_names
            case Field.KEY:
                return self.keys
            case Field.HIVE:
                return self.hives
            case Field.DATA:
                return self.elastic if self.dialect is Dialect.EQL or match.name == "NewValue" else self.sysmon
            case _:
                return None

    @_once
    def folded(self) -> dict[str, tuple[str, ...]]:
        """Folded texts by field and name, filled as rules ask."""
        return {}

    @_once
    def folded_paths(self) -> tuple[str, ...]:
        """All spellings of the full name in folded case."""
        last = tuple(map(fold, last_elements(self.row.name, self.kind, self.dialect)))
        keys = folded_spellings(self.row.key, self.context.current_control_set)
        return tuple([key + name for key in keys for name in last])

    @_once
    def joined_paths(self) -> str | None:
        """``folded_paths`` as one text, see ``_joined``."""
        return _joined(self.folded_paths)

    @_once
    def joined_names(self) -> str | None:
        """``folded_names`` as one text, see ``_joined``."""
        return _joined(self.folded_names)

    @_once
    def joined_data(self) -> str | None:
        """``folded_data`` as one text, see ``_joined``."""
        return _joined(self.folded_data)

    @_once
    def folded_names(self) -> tuple[str, ...]:
        """The spellings of the value's name in folded case; none for keys."""
        return tuple(map(fold, self.value_names or ()))

    @_once
    def folded_data(self) -> tuple[str, ...]:
        """The texts of the data, raw and expanded, folded, for patterns without a percent sign; none if null."""
        texts = self.elastic if self.dialect is Dialect.EQL else self.sysmon
        return () if texts is None else tuple(map(fold, texts + self.expanded))


def _joined(texts: tuple[str, ...]) -> str | None:
    """Each text between two NULs, so that one search finds a run, a beginning or an end in any of them.

    None where a text holds NUL itself: then each has to be looked at alone.
    """
    joined = "\0".join(("", *texts, ""))
    return joined if joined.count("\0") == len(texts) + 1 else None
