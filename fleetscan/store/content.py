"""A host's result as content: the records it consists of, each named by its hash. Pure values; no database."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, assert_never

from fleetscan.errors import StoreError
from fleetscan.model.registry import RegistryRow
from fleetscan.model.snapshot import (
    BlindSpot,
    Complete,
    HostFacts,
    Partial,
    Reason,
    Status,
    Unreachable,
    is_gap,
)
from fleetscan.store.digest import block_bytes, canonical, parse, sha256

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fleetscan.model.snapshot import HostResult, ScopeResult

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DAMAGED = "fleetscan store verify"


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970 UTC, exactly; a time without zone is local time."""
    return (moment.astimezone(UTC) - _EPOCH) // _MICROSECOND


def moment(value: int) -> datetime:
    """The inverse of ``microseconds``."""
    return _EPOCH + value * _MICROSECOND


@dataclass(frozen=True, slots=True)
class CellContent:
    """One scope of one host: hashes of its block (None: nothing there) and of its status."""

    scope_id: str
    status: bytes
    block: bytes | None
    _record: bytes = field(default=b"", init=False, repr=False, compare=False)

    @property
    def record(self) -> bytes:
        """Canonical bytes, written once: most cells of a fleet are the same for all hosts."""
        if not self._record:
            record = canonical([self.scope_id, self.status.hex(), self.block.hex() if self.block else None])
            object.__setattr__(self, "_record", record)
        return self._record


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """Everything that one result adds to a store, by hash."""

    cells: tuple[CellContent, ...]
    blocks: Mapping[bytes, tuple[bytes, int]]
    """Canonical bytes and number of rows."""
    statuses: Mapping[bytes, bytes]
    tree: bytes
    complete: bool
    covered: bool
    facts: bytes
    facts_record: bytes
    raw: tuple[tuple[str, bytes], ...]
    raw_bytes: Mapping[bytes, bytes]
    answer: bytes
    blind_spots: bytes | None


def content_of(result: HostResult) -> Content:
    """The records of a result; StoreError when a scope is there twice."""
    blocks: dict[bytes, tuple[bytes, int]] = {}
    statuses: dict[bytes, bytes] = {}
    cells = tuple(sorted((_cell(item, blocks, statuses) for item in result.scopes), key=lambda cell: cell.scope_id))
    if len({cell.scope_id for cell in cells}) < len(cells):
        raise StoreError("a scope has two results", where=str(result.host), hint="report this as a bug of fleetscan")
    facts_record = facts_bytes(result.facts)
    # The hashes are computed here and not taken over: they name what the store really holds.
    raw = tuple((answer.statement_id, sha256(answer.content)) for answer in result.raw)
    raw_bytes = {digest: answer.content for (_, digest), answer in zip(raw, result.raw, strict=True)}
    blind_spots = blind_bytes(result.blind_spots)
    facts = sha256(facts_record)
    return Content(
        cells=cells,
        blocks=blocks,
        statuses=statuses,
        tree=tree_digest(cells),
        complete=not any(is_gap(item.status) for item in result.scopes),
        covered=any(not isinstance(item.status, Unreachable) for item in result.scopes),
        facts=facts,
        facts_record=facts_record,
        raw=raw,
        raw_bytes=raw_bytes,
        answer=answer_digest(facts, blind_spots, raw),
        blind_spots=blind_spots,
    )


def _cell(item: ScopeResult, blocks: dict[bytes, tuple[bytes, int]], statuses: dict[bytes, bytes]) -> CellContent:
    if not item.rows and not item.unproven:
        cell, record = _cell_of_nothing(item.scope_id, item.status)
        statuses[cell.status] = record
        if cell.block is not None:
            blocks[cell.block] = (_EMPTY[0], 0)
        return cell
    record, status = _status_record(item.status, item.unproven)
    statuses[status] = record
    if not item.rows and isinstance(item.status, Unreachable):
        return CellContent(item.scope_id, status, None)
    rows, block = _block(item.rows)
    blocks[block] = (rows, len(item.rows))
    return CellContent(item.scope_id, status, block)


@lru_cache(maxsize=65536)
def _cell_of_nothing(scope_id: str, status: Status) -> tuple[CellContent, bytes]:
    """The cell of a scope that gave nothing, and the canonical bytes of its status."""
    record, digest = _plain_status(status)
    return CellContent(scope_id, digest, None if isinstance(status, Unreachable) else _EMPTY[1]), record


def _block(rows: tuple[RegistryRow, ...]) -> tuple[bytes, bytes]:
    """Canonical bytes of rows, and their hash."""
    content = block_bytes(rows)
    return content, sha256(content)


_EMPTY = _block(())


def tree_digest(cells: tuple[CellContent, ...]) -> bytes:
    """The hash of a tree: of the canonical list of its cells, sorted by scope id."""
    return sha256(b"[" + b",".join([cell.record for cell in cells]) + b"]")


def answer_digest(facts: bytes, blind_spots: bytes | None, raw: tuple[tuple[str, bytes], ...]) -> bytes:
    """The hash of what a host said beside its rows: facts, blind spots, raw answers in order."""
    spots = sha256(blind_spots).hex() if blind_spots is not None else None
    return sha256(canonical([facts.hex(), spots, [[statement, digest.hex()] for statement, digest in raw]]))


def status_words(status: Status) -> tuple[str, str, str]:
    """Kind, reason and detail as texts."""
    match status:
        case Complete():
            return ("complete", "", "")
        case Partial(reason, detail):
            return ("partial", reason.value, detail)
        case Unreachable(reason, detail):
            return ("unreachable", reason.value, detail)
        case _:
            assert_never(status)


@lru_cache(maxsize=4096)
def _plain_status(status: Status) -> tuple[bytes, bytes]:
    record = canonical([*status_words(status), []])
    return record, sha256(record)


def _status_record(status: Status, unproven: tuple[str, ...]) -> tuple[bytes, bytes]:
    """Canonical bytes, and their hash, of a status and the keys that gave no row."""
    if not unproven:
        return _plain_status(status)
    record = canonical([*status_words(status), sorted(unproven)])
    return record, sha256(record)


@lru_cache(maxsize=4096)
def parse_status(record: bytes) -> tuple[Status, tuple[str, ...]]:
    """Status and unproven keys of their canonical bytes."""
    try:
        kind, reason, detail, unproven = parse(record)
        keys = tuple(unproven)
        match kind:
            case "complete":
                return Complete(), keys
            case "partial":
                return Partial(Reason(reason), detail), keys
            case "unreachable":
                return Unreachable(Reason(reason), detail), keys
            case _:
                raise StoreError("a status of the store is damaged", hint=_DAMAGED)
    except (ValueError, TypeError) as error:
        raise StoreError("a status of the store is damaged", hint=_DAMAGED) from error


def facts_bytes(facts: HostFacts) -> bytes:
    """Canonical bytes of facts."""
    record: dict[str, Any] = {name: getattr(facts, name) for name in _FACTS_PLAIN}
    record["environment"] = None if facts.environment is None else dict(facts.environment)
    record["extra"] = dict(facts.extra)
    return canonical(record)


_FACTS_PLAIN = (
    "osquery_version", "os_name", "os_version", "os_build", "arch", "hostname", "current_control_set",
    "profiles_known", "profiles_loaded",
)  # fmt: skip


def parse_facts(record: bytes) -> HostFacts:
    """The inverse of ``facts_bytes``."""
    try:
        fields = dict(parse(record))
        for name in ("profiles_known", "profiles_loaded"):
            fields[name] = tuple(fields[name])
        fields["extra"] = MappingProxyType(fields["extra"])
        if fields["environment"] is not None:
            fields["environment"] = MappingProxyType(fields["environment"])
        return HostFacts(**fields)
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError("the facts of a host are damaged in the store", hint=_DAMAGED) from error


def blind_bytes(spots: tuple[BlindSpot, ...]) -> bytes | None:
    """Canonical bytes of blind spots; None when there are none."""
    return canonical([_blind_record(spot) for spot in spots]) if spots else None


def _blind_record(spot: BlindSpot) -> list[Any]:
    rows = [[row.key, row.name, row.type, row.data] for row in spot.rows]
    return [spot.kind, spot.key, spot.detail, *([rows] if rows else [])]


def _blind_spot(kind: str, key: str, detail: str, rows: Iterable[tuple[str, str, str, str]] = ()) -> BlindSpot:
    return BlindSpot(
        kind, key, detail, tuple(RegistryRow(where, name, type_, data) for where, name, type_, data in rows)
    )


def parse_blind(record: bytes | None) -> tuple[BlindSpot, ...]:
    """The inverse of ``blind_bytes``."""
    try:
        return tuple(_blind_spot(*item) for item in parse(record)) if record is not None else ()
    except (TypeError, ValueError) as error:
        raise StoreError("the blind spots of a host are damaged in the store", hint=_DAMAGED) from error
