"""The tables of the store as the queries name them; their definition is in ``migrations/*.sql``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, LargeBinary, Text, column, table

if TYPE_CHECKING:
    from sqlalchemy.sql.expression import ColumnClause, TableClause

APPLICATION_ID = 0x666C7363
"""SQLite header field ``application_id``: ``flsc``, so that ``file`` and we can tell a store from other databases."""


def _table(name: str, numbers: str = "", texts: str = "", blobs: str = "") -> TableClause:
    columns: list[ColumnClause[object]] = [column(word, BigInteger) for word in numbers.split()]
    columns += [column(word, Text) for word in texts.split()]
    columns += [column(word, LargeBinary) for word in blobs.split()]
    return table(name, *columns)


meta = _table("meta", texts="name value")
host = _table("host", "id", "name")
placement = _table("placement", "id", "engine groups", "sha256")
scope = _table("scope", "id", "scope_id text")
plan = _table("plan", "id", "digest rules_digest", "sha256 record")
plan_scope = _table("plan_scope", "plan scope")
sweep = _table("sweep", "id plan started finished pruned", "name outcome note")
block = _table("block", "id row_count", "", "sha256 content")
status = _table("status", "id", "kind reason detail", "sha256 record")
tree = _table("tree", "id complete covered", "", "sha256")
cell = _table("cell", "tree scope status block")
facts = _table("facts", "id", "hostname os_name os_version os_build arch osquery_version", "sha256 record")
raw = _table("raw", "id size", "", "sha256 content")
answer = _table("answer", "id facts", "", "sha256 blind_spots")
answer_raw = _table("answer_raw", "answer position raw", "statement_id")
result = _table("result", "sweep host placement tree answer started duration")
seal = _table("seal", "number sweep", "act", "sha256 content")
baseline = _table("baseline", "sweep host created own_past", "name note others", "sha256")
finding = _table(
    "finding", "id is_open",
    "fingerprint rule_id rule_title severity certainty state verdict entity_kind entity key_path summary techniques"
    " details", "sha256 record",
)  # fmt: skip
change = _table(
    "change", "id", "kind entity_kind entity base attribute old_value new_value summary details", "sha256 record"
)
entity = _table("entity", "id", "kind identity attributes", "sha256 record")
sheet = _table("sheet", "id kind", "", "sha256")
sheet_item = _table("sheet_item", "sheet position item", "fingerprint")
judged = _table("judged", "sweep kind host sheet")
judging = _table("judging", "sweep kind", "judged_with", "sha256")
triage = _table("triage", "taken", "fingerprint", "sha256 record")

TABLES = (
    meta, host, placement, scope, plan, plan_scope, sweep, block, status, tree, cell, facts, raw, answer, answer_raw,
    result, seal, baseline, finding, change, entity, sheet, sheet_item, judged, judging, triage,
)  # fmt: skip

BY_NAME = {table.name: table for table in TABLES}
