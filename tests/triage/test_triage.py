"""Triage asks real SQL of a host, bounds and keeps what it answers, and says what the writer makes of a finding."""

from __future__ import annotations

import json
import sqlite3
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetscan.engines.interface import Answers
from fleetscan.errors import QueryError
from fleetscan.evaluate import Context
from fleetscan.model.host import Host, HostId
from fleetscan.model.snapshot import Reason
from fleetscan.planner.plan import Answered, Failed
from fleetscan.queries import Query, load_queries
from fleetscan.rules.load import load_rules
from fleetscan.settings import content
from fleetscan.store.records import FindingRecord
from fleetscan.triage import MOST_ROWS, Case, literal, pairs, take, times_of, to_json, values_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fleetscan.planner.plan import Statement
    from fleetscan.triage import Reply, Triage

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
WRITTEN = int(datetime(2026, 11, 3, 8, 30, tzinfo=UTC).timestamp())
DLL = r"C:\Windows\System32\evil'.dll"
GUID = "{603BCC1F-4B59-4E08-B724-D2C6297EF351}"
SET = r"HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Cryptography\OID\EncodingType 0\CryptSIPDllPutSignedDataMsg"
KEY = rf"{SET}\{GUID}"
SIGMA_SIP = "5a2b21ee-6aaa-4234-ac9d-59a59edf90a1"
HOST = Host(id=HostId("ws-1"), engine="embedded")


def hit(rule: str, data: str, certainty: str = "possible") -> dict[str, str]:
    return {
        "id": rule,
        "severity": "medium",
        "certainty": certainty,
        "key": KEY,
        "name": "Dll",
        "type": "REG_SZ",
        "data": data,
    }


def finding(data: str = DLL, *, details: dict[str, object] | None = None, entity_kind: str = "sip") -> FindingRecord:
    return FindingRecord(
        host=HOST.id,
        fingerprint="75f32c7b90c5",
        rule_id=SIGMA_SIP,
        severity="high",
        entity_kind=entity_kind,
        entity=f"view=native set=CryptSIPDllPutSignedDataMsg id={GUID[1:-1]}",
        key=KEY,
        details={"shown": {"raw": data}, "rules": [hit(SIGMA_SIP, data)]} if details is None else details,
    )


class SqlHost:
    """A host whose osquery is SQLite with tables of the same names and columns: the SQL is run, not looked up."""

    def __init__(self) -> None:
        self.database = sqlite3.connect(":memory:")
        self.database.row_factory = sqlite3.Row
        self.asked: list[str] = []
        columns = {
            "file": "path size btime mtime ctime uid gid attributes file_version product_version original_filename",
            "hash": "path md5 sha1 sha256",
            "processes": "pid name path cmdline parent start_time",
            "process_memory_map": "pid path",
            "services": "name display_name status start_type path module_path user_account",
            "programs": "name version publisher install_date install_location",
            "registry": "key name type mtime",
            "windows_eventlog": "channel eventid time_range datetime data",
        }
        for table, names in columns.items():
            self.database.execute(f"CREATE TABLE {table} ({', '.join(names.split())})")

    def put(self, table: str, **row: object) -> None:
        names = ", ".join(row)
        self.database.execute(
            f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(row))})", tuple(row.values())
        )

    def ask(self, _host: Host, statements: Sequence[Statement], *, deadline: float | None = None) -> Answers:
        assert deadline is not None
        answers: dict[str, Answered | Failed] = {}
        for statement in statements:
            self.asked.append(statement.sql)
            try:
                rows = self.database.execute(statement.sql).fetchall()
            except sqlite3.Error as error:
                answers[statement.id] = Failed(Reason.OSQUERY_ERROR, str(error))
            else:
                answers[statement.id] = Answered([{name: str(row[name]) for name in row.keys()} for row in rows])  # noqa: SIM118 - sqlite3.Row iterates values
        return Answers(answers=dict(answers))


def triage(host: SqlHost, record: FindingRecord, queries: Sequence[Query] | None = None) -> Triage:
    case = Case(
        finding=record, host=HOST, context=Context(), rules=load_rules([content("rules")]).rules, elsewhere=("ws-9",)
    )
    shipped = load_queries(content("queries") / "triage")
    return take(case, host, shipped if queries is None else queries, now=NOON, deadline=time.monotonic() + 10)


def reply(taken: Triage, name: str) -> Reply:
    return next(one for one in taken.replies if one.query == name)


def test_file_hash_and_loading_processes_are_asked_for_the_dll_and_its_twin() -> None:
    host = SqlHost()
    host.put("hash", path=DLL, sha256="aa")
    host.put("hash", path=DLL.replace("System32", "SysWOW64"), sha256="bb")
    host.put("processes", pid=7, name="explorer.exe")
    host.put("process_memory_map", pid=7, path=DLL.upper())
    host.put("process_memory_map", pid=7, path=DLL.upper())
    taken = triage(host, finding())
    assert [row["sha256"] for row in reply(taken, "dll-hash").rows] == ["aa", "bb"]
    assert [row["name"] for row in reply(taken, "dll-loaded").rows] == ["explorer.exe"]
    assert reply(taken, "dll-file").rows == ()
    assert reply(taken, "dll-file").reason == ""


def test_a_table_the_host_lacks_is_said_and_the_rest_is_answered() -> None:
    taken = triage(SqlHost(), finding())
    assert "no such table: ntfs_acl_permissions" in reply(taken, "dll-permissions").reason
    assert reply(taken, "dll-hash").reason == ""


def test_programs_and_sysmon_are_searched_around_the_time_the_key_was_written() -> None:
    host = SqlHost()
    host.put("registry", key=SET, name=GUID.lower(), type="subkey", mtime=WRITTEN)
    host.put("programs", name="Dropper", install_date="20261104", install_location="D:\\x")
    host.put("programs", name="Other", install_date="20261120", install_location="D:\\y")
    taken = triage(host, finding())
    assert [row["name"] for row in reply(taken, "programs").rows] == ["Dropper"]
    assert any("2026-11-03T08:20:00.000Z;2026-11-03T08:40:00.000Z" in sql for sql in host.asked)


def sysmon(host: SqlHost, image: str) -> None:
    event = {
        "Image": image,
        "User": "CORP\\eve",
        "EventType": "SetValue",
        "TargetObject": f"HKLM\\SOFTWARE{KEY[27:]}\\Dll",
    }
    host.put(
        "windows_eventlog",
        channel="Microsoft-Windows-Sysmon/Operational",
        eventid=13,
        time_range=times_of(0, NOON)["time_range"],
        datetime="2026-11-03T08:30:01Z",
        data=json.dumps({"EventData": event}),
    )


@pytest.mark.parametrize(
    ("image", "outcome"),
    [(r"C:\Windows\System32\poqexec.exe", "excused"), (r"C:\Users\eve\dropper.exe", "certain")],
    ids=["the writer the rule excuses", "any other writer"],
)
def test_the_writer_that_sysmon_saw_decides_a_possible_finding(image: str, outcome: str) -> None:
    host = SqlHost()
    sysmon(host, image)
    (attribution,) = triage(host, finding(r"C:\Windows\System32\PsfSip.dll")).attributions
    assert (attribution.image, attribution.user, attribution.outcome) == (image, "CORP\\eve", outcome)


def test_a_field_the_event_does_not_tell_leaves_it_possible(tmp_path: Path) -> None:
    rule = tmp_path / "rule.yml"
    rule.write_text(
        "title: t\nid: r1\nlogsource: {category: registry_set, product: windows}\n"
        "detection:\n  s: {TargetObject|endswith: '\\Dll'}\n  f: {ParentImage: a.exe}\n  condition: s and not f\n",
        encoding="utf-8",
    )
    host = SqlHost()
    sysmon(host, "x.exe")
    record = finding(details={"shown": {"raw": DLL}, "rules": [hit("r1", DLL)]})
    case = Case(finding=record, host=HOST, context=Context(), rules=load_rules([rule]).rules)
    taken = take(case, host, load_queries(content("queries") / "triage"), now=NOON, deadline=time.monotonic() + 10)
    assert [one.outcome for one in taken.attributions] == ["possible"]


def test_signatures_of_a_host_with_a_sip_finding_are_called_untrustworthy_and_never_asked() -> None:
    host = SqlHost()
    taken = triage(host, finding())
    assert any("not evidence" in remark for remark in taken.remarks)
    assert not any("authenticode" in sql for sql in host.asked)
    assert triage(host, finding(entity_kind="winsock_protocol")).remarks == ()


@pytest.mark.parametrize(
    "sql", ["SELECT * FROM authenticode", "SELECT * FROM file f JOIN Authenticode a ON a.path = f.path"]
)
def test_a_query_that_would_load_the_suspect_dll_is_refused(sql: str) -> None:
    own = load_queries(content("queries") / "triage")[0]
    query = Query(name="mine", where=own.where, sql=sql, parameters=(), title="t")
    host = SqlHost()
    with pytest.raises(QueryError, match="authenticode"):
        triage(host, finding(), [query])
    assert host.asked == []


def test_a_query_whose_value_the_finding_lacks_says_which() -> None:
    taken = triage(SqlHost(), finding(details={}))
    assert reply(taken, "dll-permissions").reason == "this finding has no dll"
    assert reply(taken, "key-time").reason == ""


def test_a_flood_of_rows_is_cut_and_counted() -> None:
    host = SqlHost()
    for number in range(MOST_ROWS + 5):
        host.put("services", name=f"s{number}", path=r"c:\windows\system32\x")
    answer = reply(triage(host, finding()), "dll-services")
    assert len(answer.rows) == MOST_ROWS
    assert answer.left_out == 5


def test_a_bare_dll_has_no_folder_and_no_twin_of_its_own() -> None:
    values = values_of(finding("evil.dll"))
    assert values["dll"] == values["twin"] == "evil.dll"
    assert "folder" not in values


def test_what_is_kept_is_json_and_reports_show_every_answer() -> None:
    host = SqlHost()
    sysmon(host, "x.exe")
    taken = triage(host, finding(r"C:\Windows\System32\PsfSip.dll"))
    record = json.loads(json.dumps(to_json(taken)))
    shown = dict(pairs(record))
    assert shown["also on"] == "ws-9"
    assert shown["written by"].endswith("certain")
    assert set(shown) >= {reply.title for reply in taken.replies}


@given(st.text())
def test_a_value_from_a_host_stays_one_literal_on_one_line(text: str) -> None:
    sql = f"SELECT {literal(text)}"
    assert "\n" not in sql
    assert "\r" not in sql
    (row,) = sqlite3.connect(":memory:").execute(sql).fetchall()
    assert row[0] == "".join(char if char.isprintable() else "?" for char in text)
