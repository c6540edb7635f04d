"""Tables besides ``registry`` that tell about the machine, as far as its hives can: osquery's names and columns."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, NamedTuple, Protocol

from fleetscan.engines.registry_table.values import (
    DWORD,
    EXPAND_SZ,
    QWORD,
    SZ,
    decode,
    expand,
    shown,
)
from fleetscan.model.registry import fold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    import apsw

    from fleetscan.engines.registry_table.values import Environment
    from fleetscan.engines.registry_table.versions import Behaviour
    from fleetscan.hives.tree import Key, Value

Cell = str | int | None
Row = tuple[Cell, ...]


class Machine(Protocol):
    """What the tables ask of a machine."""

    @property
    def environment(self) -> Environment:
        """Variables that expand values."""
        ...

    def find(self, key: str, *, needed: bool = True) -> Key | None:
        """The key, if it exists. ``needed``: if its hive is absent, the answer is not covered."""
        ...


class FactTable(NamedTuple):
    """Columns with their SQL types, and the rows, made when the table is first read."""

    columns: tuple[tuple[str, str], ...]
    rows: Callable[[], Iterable[Row]]


class FactsModule:
    """A small read-only table without constraints."""

    def __init__(self, table: FactTable) -> None:
        """The table to show."""
        self._table = table

    def Create(self, *_: object) -> tuple[str, FactsModule]:  # noqa: N802 - apsw names it
        """Declare the columns."""
        columns = ", ".join(f"`{name}` {sql_type}" for name, sql_type in self._table.columns)
        return f"CREATE TABLE facts({columns})", self

    Connect = Create

    def BestIndexObject(self, info: apsw.IndexInfo) -> bool:  # noqa: N802 - apsw names it
        """Every scan gives all rows."""
        info.estimatedRows = 25
        return True

    def Open(self) -> FactsCursor:  # noqa: N802 - apsw names it
        """A cursor."""
        return FactsCursor(self._table)

    def Disconnect(self) -> None:  # noqa: N802 - apsw names it
        """Nothing to release."""

    Destroy = Disconnect


class FactsCursor:
    """All rows of a small table."""

    def __init__(self, table: FactTable) -> None:
        """Before the first scan."""
        self._table = table
        self._rows: list[Row] = []
        self._place = 0

    def Filter(self, *_: object) -> None:  # noqa: N802 - apsw names it
        """Start."""
        self._rows = list(self._table.rows())
        self._place = 0

    def Eof(self) -> bool:  # noqa: N802 - apsw names it
        """Are all rows given?"""
        return self._place >= len(self._rows)

    def Next(self) -> None:  # noqa: N802 - apsw names it
        """Go on."""
        self._place += 1

    def Column(self, number: int) -> Cell:  # noqa: N802 - apsw names it
        """One cell."""
        return self._place if number < 0 else self._rows[self._place][number]

    def Rowid(self) -> int:  # noqa: N802 - apsw names it
        """The row's place."""
        return self._place

    def Close(self) -> None:  # noqa: N802 - apsw names it
        """Drop the rows."""
        self._rows = []


def fact_tables(
    machine: Machine, behaviour: Behaviour, now: Callable[[], float] = time.time
) -> Mapping[str, FactTable]:
    """The tables by name."""
    return {
        "osquery_info": FactTable(_columns(_OSQUERY_INFO), lambda: _osquery_info(behaviour)),
        "os_version": FactTable(_columns(_OS_VERSION), lambda: _os_version(machine)),
        "system_info": FactTable(_columns(_SYSTEM_INFO), lambda: _system_info(machine)),
        "users": FactTable(_columns(_USERS), lambda: _users(machine)),
        "default_environment": FactTable(_columns(_ENVIRONMENT), lambda: _default_environment(machine)),
        "time": FactTable(_columns(_TIME), lambda: _time(now())),
    }


def scanner_tables(*, elevated: bool) -> Mapping[str, FactTable]:
    """``processes`` of a shell that says it runs with or without elevation: itself, and no other process."""
    row = _row(
        _PROCESSES, pid=os.getpid(), name="osqueryi.exe", uid=_SCANNER, gid=-1, euid=-1, elevated_token=int(elevated)
    )
    return {"processes": FactTable(_columns(_PROCESSES), lambda: (row,))}


_PROCESSES = "pid:BIGINT name path uid:BIGINT gid:BIGINT euid:BIGINT egid:BIGINT elevated_token:INTEGER"
_SCANNER = 1001  # the first account that somebody makes on a machine
_OSQUERY_INFO = """pid:INTEGER uuid instance_id version config_hash config_valid:INTEGER extensions build_platform
    build_distro start_time:INTEGER watcher:INTEGER platform_mask:INTEGER"""
_OS_VERSION = """name version major:INTEGER minor:INTEGER patch:INTEGER build platform platform_like codename arch
    install_date:BIGINT revision:INTEGER"""
_SYSTEM_INFO = """hostname uuid cpu_type cpu_subtype cpu_brand cpu_physical_cores:INTEGER cpu_logical_cores:INTEGER
    cpu_sockets:INTEGER cpu_microcode physical_memory:BIGINT hardware_vendor hardware_model hardware_version
    hardware_serial board_vendor board_model board_version board_serial computer_name local_hostname"""
_USERS = """uid:BIGINT gid:BIGINT uid_signed:BIGINT gid_signed:BIGINT username description directory shell uuid type"""
_ENVIRONMENT = "variable value expand:INTEGER"
_TIME = """weekday year:INTEGER month:INTEGER day:INTEGER hour:INTEGER minutes:INTEGER seconds:INTEGER timezone
    local_timezone unix_time:INTEGER timestamp datetime iso_8601 win_timestamp:BIGINT"""

_CURRENT_VERSION = r"HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows NT\CurrentVersion"
_CONTROL = r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control"
_SERVICES = r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services"
_SAM_NAMES = r"HKEY_LOCAL_MACHINE\SAM\SAM\Domains\Account\Users\Names"
_PLATFORM_WINDOWS = 2
_FIRST_ACCOUNT_SID = "S-1-5-21-"
_ARCHITECTURES = {"AMD64": "64-bit", "X86": "32-bit", "ARM64": "ARM 64-bit Processor", "IA64": "64-bit"}
_CPU_TYPES = {"AMD64": "x86_64", "X86": "x86", "ARM64": "arm64", "IA64": "ia64"}
_EPOCH_OF_WINDOWS = 11_644_473_600


def _columns(text: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, sql_type or "TEXT") for name, _, sql_type in (word.partition(":") for word in text.split()))


def _row(columns: str, **cells: Cell) -> Row:
    return tuple(cells.get(name) for name, _ in _columns(columns))


def _values(machine: Machine, key: str) -> Mapping[str, Cell]:
    """The values of a key by folded name: texts and numbers, whatever else it holds left out."""
    opened = machine.find(key)
    shown = {} if opened is None else {fold(value.name): _cell(value) for value in opened.values()}
    return {name: cell for name, cell in shown.items() if cell is not None}


def _cell(value: Value) -> Cell:
    if value.type in (SZ, EXPAND_SZ):
        return decode(value.data).partition("\0")[0]
    if value.type in (DWORD, QWORD) and len(value.data) in (4, 8):
        return int.from_bytes(value.data, "little")
    return None


def _text(values: Mapping[str, Cell], name: str) -> str:
    return str(values.get(fold(name), ""))


def _number(values: Mapping[str, Cell], name: str) -> int | None:
    cell = values.get(fold(name))
    if isinstance(cell, str):
        return int(cell) if cell.isascii() and cell.isdecimal() and len(cell) <= 18 else None  # noqa: PLR2004 - fits a BIGINT
    return cell


def _osquery_info(behaviour: Behaviour) -> Iterable[Row]:
    yield _row(
        _OSQUERY_INFO,
        pid=os.getpid(),
        version=behaviour.version,
        config_hash="",
        config_valid=0,
        extensions="inactive",
        build_platform="windows",
        build_distro="10",
        watcher=-1,
        platform_mask=_PLATFORM_WINDOWS,
    )


def _os_version(machine: Machine) -> Iterable[Row]:
    values = _values(machine, _CURRENT_VERSION)
    name, build = _text(values, "ProductName"), _text(values, "CurrentBuildNumber") or _text(values, "CurrentBuild")
    if not (name or build):
        return
    old_major, _, old_minor = _text(values, "CurrentVersion").partition(".")
    # Since Windows 10 CurrentVersion stays at 6.3; the true numbers have values of their own.
    major = _number(values, "CurrentMajorVersionNumber")
    minor = _number(values, "CurrentMinorVersionNumber")
    major_text = old_major if major is None else str(major)
    minor_text = old_minor if minor is None else str(minor)
    name = name if not name or name.startswith("Microsoft") else f"Microsoft {name}"
    yield _row(
        _OS_VERSION,
        name=name,
        version=".".join(part for part in (major_text, minor_text, build) if part),
        major=major_text,
        minor=minor_text,
        patch="",
        build=build,
        platform="windows",
        platform_like="windows",
        codename=name,
        arch=_ARCHITECTURES.get(_processor(machine), ""),
        install_date=_number(values, "InstallDate"),
        revision=_number(values, "UBR"),
    )


def _processor(machine: Machine) -> str:
    return fold(_text(_values(machine, rf"{_CONTROL}\Session Manager\Environment"), "PROCESSOR_ARCHITECTURE"))


def _system_info(machine: Machine) -> Iterable[Row]:
    name = _text(_values(machine, rf"{_CONTROL}\ComputerName\ComputerName"), "ComputerName")
    network = _values(machine, rf"{_SERVICES}\Tcpip\Parameters")
    hardware = _values(machine, rf"{_CONTROL}\SystemInformation")
    host = _text(network, "Hostname") or _text(network, "NV Hostname")
    if not (name or host or hardware):
        return
    yield _row(
        _SYSTEM_INFO,
        hostname=host or name,
        cpu_type=_CPU_TYPES.get(_processor(machine), ""),
        hardware_vendor=_text(hardware, "SystemManufacturer"),
        hardware_model=_text(hardware, "SystemProductName"),
        computer_name=name,
        local_hostname=host or name,
    )


def _users(machine: Machine) -> Iterable[Row]:
    profiles = machine.find(rf"{_CURRENT_VERSION}\ProfileList")
    accounts = dict(_accounts(machine.find(_SAM_NAMES, needed=False)))
    for profile in profiles.subkeys() if profiles else ():
        sid = profile.name.partition("\0")[0]
        number = sid.rpartition("-")[2]
        # ProfileList also holds copies that Windows sets aside as <SID>.bak.
        if not (number.isascii() and number.isdecimal() and len(number) <= 10):  # noqa: PLR2004 - a RID is 32 bits wide
            continue
        uid = int(number)
        path = _text({fold(value.name): _cell(value) for value in profile.values()}, "ProfileImagePath")
        directory = expand(path, machine.environment)
        is_account = sid.startswith(_FIRST_ACCOUNT_SID)
        yield _row(  # noqa: S604 - "shell" is a column
            _USERS,
            uid=uid,
            uid_signed=uid,
            # The SAM hive tells the account's name; the folder keeps the name of the day it was made.
            username=(accounts.get(uid) if is_account else None) or directory.rpartition("\\")[2],
            description="",
            directory=directory,
            shell=r"C:\Windows\system32\cmd.exe",
            uuid=sid,
            type="local" if is_account else "special",
        )


def _accounts(names: Key | None) -> Iterator[tuple[int, str]]:
    """Account names by relative id, which SAM keeps as the type number of an unnamed value."""
    for name in names.subkeys() if names else ():
        for value in name.values():
            yield value.type, name.name


def _default_environment(machine: Machine) -> Iterable[Row]:
    key = machine.find(rf"{_CONTROL}\Session Manager\Environment")
    for value in key.values() if key else ():
        text = _cell(value)
        if isinstance(text, str):
            yield _row(_ENVIRONMENT, variable=shown(value.name), value=text, expand=int(value.type == EXPAND_SZ))


def _time(now: float) -> Iterable[Row]:
    moment = time.gmtime(now)
    yield _row(
        _TIME,
        weekday=time.strftime("%A", moment),
        year=moment.tm_year,
        month=moment.tm_mon,
        day=moment.tm_mday,
        hour=moment.tm_hour,
        minutes=moment.tm_min,
        seconds=moment.tm_sec,
        timezone="UTC",
        local_timezone="UTC",
        unix_time=int(now),
        timestamp=time.strftime("%a %b %e %H:%M:%S %Y UTC", moment),
        datetime=time.strftime("%Y-%m-%dT%H:%M:%SZ", moment),
        iso_8601=time.strftime("%Y-%m-%dT%H:%M:%SZ", moment),
        win_timestamp=int((now + _EPOCH_OF_WINDOWS) * 10_000_000),
    )
