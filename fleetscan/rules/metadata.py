"""What a rule says about itself: read leniently, because a wrong date must not cost a detection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fleetscan.model.rule import Message, MessageLevel
from fleetscan.rules.source import BROKEN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fleetscan.errors import Place


class Metadata:
    """The texts of a rule's head; what has the wrong type is left out and noted."""

    def __init__(self, values: Mapping[Any, Any], place: Callable[..., Place]) -> None:
        """``place`` gives the line of a key."""
        self._values = values
        self._place = place
        self._notes: list[Message] = []

    def text(self, key: str) -> str:
        """One text; empty if absent."""
        value = self._values.get(key)
        if value is None:
            return ""
        if isinstance(value, dict | list):
            self._note(key, "text")
            return ""
        return str(value).strip()

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts; a single text is a list of one."""
        value = self._values.get(key)
        if value is None:
            return ()
        if isinstance(value, list) and not any(isinstance(entry, dict | list) for entry in value):
            return tuple(str(entry).strip() for entry in value if entry is not None)
        if isinstance(value, str):
            return (value.strip(),)
        self._note(key, "a list of texts")
        return ()

    def whole_number(self, key: str) -> int | None:
        """A whole number, or None."""
        value = self._values.get(key)
        if value is None:
            return None
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        self._note(key, "a whole number")
        return None

    def related(self) -> tuple[str, ...]:
        """The ids under Sigma's ``related``."""
        value = self._values.get("related")
        if value is None:
            return ()
        if isinstance(value, list) and all(isinstance(entry, dict) for entry in value):
            return tuple(str(entry["id"]) for entry in value if entry.get("id"))
        self._note("related", "a list of maps")
        return ()

    def notes(self) -> tuple[Message, ...]:
        """What was left out."""
        return tuple(self._notes)

    def _note(self, key: str, wanted: str) -> None:
        self._notes.append(Message(BROKEN, MessageLevel.NOTE, f"{key} must be {wanted}; left out", self._place(key)))
