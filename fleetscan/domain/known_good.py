"""What is normal on Windows, as data: the entries of ``known_good.yml`` and how a registration compares with them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import yaml

from fleetscan.errors import Place, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One entry of ``known_good.yml``; texts that are compared are lower case."""

    kind: str
    guid: str = ""
    oid: str = ""
    name: str = ""
    dll: str = ""
    paths: tuple[str, ...] = ()
    bare_views: tuple[str, ...] = ()
    """Views in which the bare file name is normal; empty: every view."""
    bare_versions: tuple[str, ...] = ()
    """Releases on which the bare file name is normal; empty: every release."""
    functions: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    likely_functions: frozenset[str] = frozenset()
    optional_functions: frozenset[str] = frozenset()
    dll_by_step: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    numbers: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    names: tuple[str, ...] = ()
    value: str = ""
    app_args: str = ""
    windows_versions: tuple[str, ...] = ("any",)
    requires: tuple[str, ...] = ()
    may_be_absent: bool = False
    """Part of Windows, and missing on hosts that are sound."""
    vendor: str = ""
    confirmed: bool = False
    """False: an inference, which explains and never suppresses."""
    note: str = ""
    source: str = ""

    @property
    def is_windows(self) -> bool:
        """Part of Windows itself, not of a product."""
        return self.vendor == "Microsoft (Windows)"

    @property
    def is_stock(self) -> bool:
        """Confirmed, and there on every host of its release: its absence means something."""
        return self.confirmed and not self.requires and not self.may_be_absent and self.is_windows

    def is_stock_in(self, place: str) -> bool:
        """The same for one function set or step of the entry."""
        return self.is_stock and place not in self.optional_functions

    def accepts_path(self, token: str, *, view: str = "", step: str = "", releases: frozenset[str]) -> bool:
        """Is this where the entry's DLL is registered? ``step`` may have a DLL of its own."""
        own = self.dll_by_step.get(step)
        accepted = ("{bare}", f"{{system32}}\\{own}", f"{{syswow64}}\\{own}") if own else self.paths
        if "\\" not in token:
            return "{bare}" in accepted and token == (own or self.dll) and self._bare_is_normal(view, releases)
        if view == "native" and token.startswith("{syswow64}"):
            return False  # a 64-bit process cannot load it
        return token in accepted

    def _bare_is_normal(self, view: str, releases: frozenset[str]) -> bool:
        if self.bare_views and view and view not in self.bare_views:
            return False
        return not self.bare_versions or not releases or bool(releases & set(self.bare_versions))

    def fits(self, releases: frozenset[str]) -> bool:
        """Is the entry expected on a host of these release labels (empty: unknown, fits)?"""
        return not releases or "any" in self.windows_versions or bool(releases & set(self.windows_versions))


@dataclass(frozen=True, slots=True, kw_only=True)
class Artefact:
    """A public test tool, recognised by GUID, DLL name or export: a label, never an excuse."""

    name: str
    guid: str = ""
    dlls: tuple[str, ...] = ()
    function_prefix: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class KnownGood:
    """All facts, indexed by kind and what identifies them."""

    facts: tuple[Fact, ...]
    artefacts: tuple[Artefact, ...]
    function_sets: tuple[str, ...]
    steps: tuple[str, ...]
    oid_dlls: frozenset[str]
    """DLLs that stock functions of the other OID sets name."""
    index: Mapping[tuple[str, str], tuple[Fact, ...]]

    def find(self, kind: str, key: str) -> tuple[Fact, ...]:
        """Facts of that kind for a GUID, OID or name (any case)."""
        return self.index.get((kind, key.lower()), ())

    def of_kind(self, kind: str) -> tuple[Fact, ...]:
        """Every fact of a kind."""
        return tuple(fact for fact in self.facts if fact.kind == kind)

    def name_of(self, guid: str) -> str:
        """The name of a GUID in any area, or of a test artefact; empty if nobody knows it."""
        for kind in ("sip", "trust", "protocol", "namespace"):
            if found := self.find(kind, guid):
                return found[0].name
        return next((one.name for one in self.artefacts if one.guid == guid.upper()), "")

    def canonical_set(self, name: str) -> str:
        """The usual spelling of a function set."""
        return next((known for known in self.function_sets if known.lower() == name.lower()), name)

    def canonical_step(self, name: str) -> str:
        """The usual spelling of a trust step."""
        return next((known for known in (*self.steps, "Usages") if known.lower() == name.lower()), name)


@lru_cache(maxsize=8)
def load(extra: Path | None = None) -> KnownGood:
    """The shipped facts, with an operator's own file layered on top."""
    shipped = files("fleetscan.domain").joinpath("known_good.yml")
    document = _parse(shipped.read_text(encoding="utf-8"), "known_good.yml")
    own = _parse(_read(extra), str(extra)) if extra is not None else {}
    facts = tuple(
        _fact(entry, name)
        for name, part in ((str(extra), own), ("known_good.yml", document))
        for entry in part.get("entries", ())
    )
    return KnownGood(
        facts=facts,
        artefacts=tuple(_artefact(entry) for entry in (*own.get("artefacts", ()), *document.get("artefacts", ()))),
        function_sets=tuple(document["sets_order"]),
        steps=tuple(document["steps_order"]),
        oid_dlls=frozenset((*document.get("oid_dlls", ()), *own.get("oid_dlls", ()))),
        index=_index(facts),
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError("the known-good file cannot be read", where=str(path), hint=str(error)) from error


def _parse(text: str, name: str) -> dict[str, Any]:
    try:
        document = yaml.load(text, Loader=_LOADER)  # noqa: S506 - a safe loader, the C one where it is built in
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = Place(name, mark.line + 1 if mark else None)
        raise SettingsError(
            "the known-good file is not valid YAML", where=place, hint="check the indentation"
        ) from error
    if not isinstance(document, dict) or not isinstance(document.get("entries", []), list):
        raise SettingsError("the known-good file needs a list named entries", where=name, hint="compare known_good.yml")
    return document


def _fact(entry: object, name: str) -> Fact:
    if not isinstance(entry, dict) or not isinstance(entry.get("kind"), str):
        raise SettingsError("every known-good entry needs a kind", where=name, hint="kind: sip, trust, protocol, ...")
    numbers = {key: _number(entry[key]) for key in _NUMBERS if entry.get(key) is not None}
    return Fact(
        kind=entry["kind"],
        guid=_text(entry, "guid").upper(),
        oid=_text(entry, "oid"),
        name=_text(entry, "name"),
        dll=_text(entry, "dll").lower(),
        paths=tuple(str(path).lower() for path in entry.get("paths") or ()),
        bare_views=tuple(entry.get("bare_views") or ()),
        bare_versions=tuple(map(str, entry.get("bare_versions") or ())),
        functions=MappingProxyType({str(key): str(value) for key, value in (entry.get("functions") or {}).items()}),
        likely_functions=frozenset(entry.get("likely_functions") or ()),
        optional_functions=frozenset(entry.get("optional_functions") or ()),
        dll_by_step=MappingProxyType(dict(entry.get("dll_by_step") or {})),
        numbers=MappingProxyType(numbers),
        names=tuple(map(str, entry.get("protocol_names") or entry.get("display_strings") or ())),
        value=_text(entry, "value"),
        app_args=_text(entry, "app_args"),
        windows_versions=tuple(map(str, entry.get("windows_versions") or ("any",))),
        requires=tuple(map(str, entry.get("requires") or ())),
        may_be_absent=bool(entry.get("may_be_absent")),
        vendor=_text(entry, "vendor"),
        confirmed=entry.get("confidence") == "verified",
        note=_text(entry, "note"),
        source=_text(entry, "source"),
    )


_NUMBERS = [
    "chain_len",
    "catalog_version",
    "address_family",
    "socket_type",
    "protocol",
    "max_sockaddr",
    "min_sockaddr",
    "service_flags1",
    "provider_flags",
    "supported_namespace",
    "enabled",
    "version",
    "permitted_lsp_categories",
]


def _number(value: object) -> int:
    return value if isinstance(value, int) else int(str(value), 0)


def _text(entry: Mapping[str, Any], key: str) -> str:
    value = entry.get(key)
    return "" if value is None else str(value)


def _artefact(entry: Mapping[str, Any]) -> Artefact:
    return Artefact(
        name=_text(entry, "name"),
        guid=_text(entry, "guid").upper(),
        dlls=tuple(str(dll).lower() for dll in entry.get("dlls") or ()),
        function_prefix=_text(entry, "function_prefix").lower(),
        source=_text(entry, "source"),
    )


def _index(facts: Iterable[Fact]) -> Mapping[tuple[str, str], tuple[Fact, ...]]:
    table: dict[tuple[str, str], tuple[Fact, ...]] = {}
    for fact in facts:
        # A provider is found by its GUID or OID, a value or service by its name; what has neither, by its DLL.
        key = fact.guid or fact.oid
        keys = {key or fact.dll or fact.name}
        if fact.kind.startswith("winsock_"):
            keys = {fact.name}
        for one in keys:
            found = table.get((fact.kind, one.lower()), ())
            table[fact.kind, one.lower()] = (*found, fact)
    return MappingProxyType(table)
