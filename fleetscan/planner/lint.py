"""Queries on osquery's ``registry`` table that cannot answer what they seem to ask, each with the safe form.

The facts are those of osquery-registry.md section 4: the table is read only for ``key`` and ``path`` compared with
``=``, ``IN`` or ``LIKE``, and a wrong query answers nothing instead of failing.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from fleetscan.errors import Place, SettingsError
from fleetscan.model.registry import HIVE_ROOTS
from fleetscan.planner.sqltext import Token, conjuncts, cores, disjuncts, statements, tokens

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fleetscan.planner.sqltext import Core, Tokens

_SHORT = {"HKLM": "HKEY_LOCAL_MACHINE", "HKU": "HKEY_USERS", "HKCR": "HKEY_CLASSES_ROOT", "HKCU": "HKEY_CURRENT_USER"}
_WALK = "walk: WITH RECURSIVE t AS (SELECT ... WHERE key = 'X' UNION ALL SELECT ... FROM t CROSS JOIN registry r WHERE t.type = 'subkey' AND r.key = t.path)"  # noqa: E501 - one SQL form
_BY_SID = r"list HKEY_USERS first: key IN (SELECT path || '\Software\X' FROM registry WHERE key = 'HKEY_USERS')"
_MANY_BRANCHES = 3
_SIGN_BIT, _MOST = 1 << 31, (1 << 32) - 1
_LOWER_HEX = re.compile(r"(?=.*[a-f])(?:[0-9a-f]{2}){3,}")
_TRANSPARENT = frozenset({"LIKELY", "UNLIKELY", "LIKELIHOOD"})


class Weight(StrEnum):
    """``unsafe``: the answer is not what the query seems to ask. ``fragile``: it is, until one key is unreadable."""

    UNSAFE = "unsafe"
    FRAGILE = "fragile"


@dataclass(frozen=True, slots=True)
class Fault:
    """One unsafe or fragile thing in a query: where, what happens, and what to write instead."""

    where: Place
    query: str
    what: str
    safe: str
    weight: Weight = Weight.UNSAFE

    def __str__(self) -> str:
        """One line."""
        name = f"{self.query}: " if self.query else ""
        return f"{self.where}: {self.weight}: {name}{self.what}; safe: {self.safe}"


_FRAGILE = (
    "%%",
    "after a wildcard",
    "a wildcard for",
    "path = is",
    "several conditions",
    "an OR of three",
    "a join on key",
    "data is hex",
    "a DWORD is",
)
"""How the texts of faults begin that only bite in some registries."""


@dataclass(frozen=True, slots=True)
class Term:
    """A comparison with the table's ``key`` or ``path``: column, operator, the text compared with (None: no literal).

    ``pushed``: the table is told about it. ``hidden``: the column stands inside an expression.
    """

    column: str
    operator: str
    text: str | None
    hidden: bool
    nocase: bool
    escape: bool
    negated: bool

    @property
    def pushed(self) -> bool:
        """Does it say which keys to read?"""
        return self.operator in ("=", "==", "IN", "LIKE") and not (self.hidden or self.escape or self.negated)


MAX_PACK = 16 << 20
"""Characters of a pack that are read."""


def lint_file(path: Path) -> tuple[Fault, ...]:
    """The faults of a pack (JSON), an osquery configuration, or a .sql file. Raises SettingsError."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            text = file.read(MAX_PACK + 1)
    except (OSError, UnicodeError) as error:
        raise SettingsError(f"cannot be read: {error}", where=str(path), hint="name a pack or .sql file") from error
    if len(text) > MAX_PACK:
        raise SettingsError(f"larger than {MAX_PACK >> 20} MB", where=str(path), hint="split the pack")
    if path.suffix.lower() == ".sql":
        return tuple(fault for fault in lint(text, str(path)))
    try:
        document = json.loads(text.replace("\\\n", " "))
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", None)
        raise SettingsError(
            f"neither a pack nor SQL: {error}", where=Place(str(path), line), hint="a pack is a JSON file"
        ) from error
    found = list(_queries(document))
    if not found:
        raise SettingsError(
            "no query is in it", where=str(path), hint='a pack has {"queries": {"name": {"query": ...}}}'
        )
    return tuple(fault for name, sql in found for fault in lint(sql, str(path), name))


def _queries(document: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - any JSON value
    """Names and SQL of all queries, wherever the configuration holds them."""
    if not isinstance(document, dict):
        return
    for name, value in document.items():
        if isinstance(value, dict) and isinstance(value.get("query"), str):
            yield str(name), value["query"]
        else:
            yield from _queries(value)


def lint(sql: str, where: str, query: str = "") -> Iterator[Fault]:
    """The faults of the statements of a text, each once."""
    seen = set()
    for statement in statements(tokens(sql)):
        for core in cores(statement):
            for what, safe in _core_faults(core):
                weight = Weight.FRAGILE if what.startswith(_FRAGILE) else Weight.UNSAFE
                fault = Fault(Place(where, None if query else core.line), query, what, safe, weight)
                if fault not in seen:
                    seen.add(fault)
                    yield fault


def _core_faults(core: Core) -> Iterator[tuple[str, str]]:
    names = _table_names(core.sources)
    if not names:
        return
    condition = _and(core.where, _on_conditions(core.sources))
    joined = len(_sources(core.sources)) > 1
    if core.nested and _is_correlated(core, names):
        joined = True
    own = [term for token_list in conjuncts(condition) for term in _terms(token_list, names, joined=joined)]
    branches = [part for part in conjuncts(condition) if len(disjuncts(part)) > 1]
    if len(disjuncts(core.where)) > 1:
        own, branches = [], [core.where]
    every = own + [
        term for part in branches for branch in disjuncts(part) for term in _all_terms(branch, names, joined)
    ]
    yield from _shape_faults(core, own, branches, names, joined=joined)
    told = any(term.pushed for term in every)
    for term in every:
        if told and term.hidden:
            continue  # a filter beside the condition that says which keys to read: the safe way to have two
        yield from _term_faults(term)
    yield from _type_faults(core.where)


def _and(one: Tokens, other: Tokens) -> Tokens:
    both = (Token("group", "", 0, one), Token("word", "AND", 0), Token("group", "", 0, other))
    return both if one and other else one or other


def _shape_faults(
    core: Core, own: list[Term], branches: list[Tokens], names: set[str], *, joined: bool
) -> Iterator[tuple[str, str]]:
    pushed = [term for term in own if term.pushed]
    usable = bool(pushed)
    for part in branches:
        parts = [_all_terms(branch, names, joined) for branch in disjuncts(part)]
        complete = all(any(term.pushed for term in terms) for terms in parts)
        usable = usable or complete
        if not complete and any(term.pushed for terms in parts for term in terms):
            yield "an OR branch without key or path reads the hive roots only", "UNION ALL of one SELECT a branch"
        elif complete and any(term.operator != "IN" for term in pushed):
            yield (
                "OR beside another condition on key or path may answer nothing",
                "UNION ALL, each arm with all its conditions",
            )
        elif (
            complete
            and len(parts) >= _MANY_BRANCHES
            and not _without_subkeys(part)
            and any(term.operator == "LIKE" for t in parts for term in t)
        ):
            yield "an OR of three or more branches loses values that share a path with a subkey", "UNION ALL"
    yield from _missing_faults(core, own, usable=usable, joined=joined)
    if joined and any(term.text is None and term.operator in ("=", "==") for term in pushed) and len(pushed) > 1:
        yield (
            "a join on key with another condition on key or path answers nothing",
            "filter outside: instr(r.path, ...)",
        )
    if len({term.column for term in pushed}) > 1 or len([term for term in pushed if term.text is not None]) > 1:
        yield (
            "several conditions on key and path read the keys of all of them",
            "keep one; compare the rest with instr()",
        )


def _without_subkeys(part: Tokens) -> bool:
    return all("subkey" in {token.text for token in _flat(branch)} for branch in disjuncts(part))


def _missing_faults(core: Core, own: list[Term], *, usable: bool, joined: bool) -> Iterator[tuple[str, str]]:
    if not usable:
        operators = {term.operator for term in own}
        if core.limited:
            yield "LIMIT without key or path answers nothing", "key = 'X' or key LIKE 'X\\%'"
        elif operators:
            shown = ", ".join(sorted(operators))
            yield f"{shown} on key or path alone says no key to read", "key = 'X', key IN (...) or key LIKE 'X\\%'"
        else:
            yield "without key or path only the hive roots are listed", "key = 'X' or key LIKE 'X\\%'"
    if (joined or core.nested) and any(term.operator == "IN" and term.pushed for term in own) and joined:
        yield "IN on key or path in an inner loop works in its first turn only", "join a VALUES list: r.key = v.k"


def _is_correlated(core: Core, names: set[str]) -> bool:
    """Does the condition speak of a table of the query around it?"""
    flat = list(_flat(core.where))
    return any(token.text == "." and at and flat[at - 1].text.upper() not in names for at, token in enumerate(flat))


def _term_faults(term: Term) -> Iterator[tuple[str, str]]:
    if term.escape:
        yield "LIKE ... ESCAPE is not handed to the table: nothing is read", "key = 'X', or LIKE without ESCAPE"
    elif term.hidden and term.operator in ("=", "==", "IN", "LIKE"):
        yield f"{term.column} inside an expression is not handed to the table", f"the bare column: {term.column} = 'X'"
    if term.text is None or term.hidden or term.negated:
        return
    yield from _hive_faults(term.text)
    if term.column == "PATH" and term.operator in ("=", "==", "IN") and not term.negated:
        if term.text.endswith("\\(Default)"):
            yield "path = '...\\(Default)' is never true", "key = 'K' AND name = '(Default)'"
        elif not term.nocase:
            yield "path = is case-sensitive", "key = 'K' AND lower(name) = 'v', or path = 'X' COLLATE NOCASE"
    if term.operator == "LIKE" and not term.negated:
        yield from _pattern_faults(term.column, term.text)


def _pattern_faults(column: str, pattern: str) -> Iterator[tuple[str, str]]:
    elements = pattern.split("\\")
    if (pattern.endswith("\\") and column == "KEY") or "" in elements[1:-1]:
        yield "LIKE with a trailing or doubled backslash answers nothing", "single backslashes, none at the end"
    deep = [element for element in elements[:-1] if "%" in element]
    if any("%%" in element for element in elements):
        yield "%% ends silently at the first key that cannot be listed, and reads keys several times", _WALK
    elif len(deep) > 1 or (deep and "%" in elements[-1]):
        yield "after a wildcard one unreadable key empties the whole answer", _WALK


def _hive_faults(text: str) -> Iterator[tuple[str, str]]:
    hive, _, rest = text.lstrip("\\ ").partition("\\")
    if hive in _SHORT:
        yield f"hive {hive} is unknown to osquery", f"{_SHORT[hive]}\\..."
    elif "%" in hive:
        yield "a wildcard for the hive tries all nine", "name the hive"
    elif hive not in HIVE_ROOTS:
        known = hive.upper() in HIVE_ROOTS or hive.upper() in _SHORT
        yield f"hive {hive!r} is unknown to osquery", "upper case, long form" if known else "HKEY_LOCAL_MACHINE\\..."
    if hive.upper() in ("HKEY_CURRENT_USER", "HKCU", "HKEY_CURRENT_USER_LOCAL_SETTINGS"):
        yield "HKEY_CURRENT_USER is the service account's own hive", _BY_SID
    if hive == "HKEY_USERS" and rest:
        sid = rest.partition("\\")[0]
        if sid.startswith("%"):
            yield "a wildcard for the SID: one unreadable user hive empties the answer", _BY_SID
        elif not sid.startswith(("S-1-", ".DEFAULT")):
            yield f"HKEY_USERS\\{sid}: the name of a user hive is missing", _BY_SID


def _type_faults(where: Tokens) -> Iterator[tuple[str, str]]:
    flat = list(_flat(where))
    for at, token in enumerate(flat):
        if token.kind == "text" and token.text == "REG_EXPAND_SZ":
            yield "REG_EXPAND_SZ is reported as REG_SZ, expanded (osquery 5.14 and later)", "type = 'REG_SZ'"
        if at > 1 and flat[at - 2].text.upper() == "DATA":
            yield from _data_faults(flat[at - 1].text, token)


def _data_faults(operator: str, value: Token) -> Iterator[tuple[str, str]]:
    if value.kind == "number" and operator in ("<", ">", "<=", ">="):
        yield "data is text: it is not compared as a number", f"CAST(data AS INTEGER) {operator} {value.text}"
    if operator in ("=", "==", "LIKE") and value.text.isdigit() and _SIGN_BIT <= int(value.text) <= _MOST:
        yield "a DWORD is printed signed", f"data = '{int(value.text) - _MOST - 1}'"
    if operator in ("=", "==") and _LOWER_HEX.fullmatch(value.text):
        yield "data is hex in upper case", f"data = '{value.text.upper()}'"


def _flat(found: Tokens) -> Iterator[Token]:
    for token in found:
        if token.kind == "group":
            yield from _flat(token.group)
        else:
            yield token


# How the table is asked


def _sources(sources: Tokens) -> list[Tokens]:
    parts: list[list[Token]] = [[]]
    for token in sources:
        if (token.kind == "sign" and token.text == ",") or (token.kind == "word" and token.text == "JOIN"):
            parts.append([])
        else:
            parts[-1].append(token)
    return [tuple(part) for part in parts if part]


def _table_names(sources: Tokens) -> set[str]:
    """The names under which ``registry`` is asked; none if it is not."""
    names = set()
    for part in _sources(sources):
        words = [token.text.upper() for token in part if token.kind in ("word", "name")]
        if words[:1] == ["REGISTRY"]:
            alias = [
                word for word in words[1:3] if word not in ("AS", "ON", "CROSS", "LEFT", "INNER", "OUTER", "USING")
            ]
            names.add(alias[0] if alias else "REGISTRY")
    return names


def _on_conditions(sources: Tokens) -> Tokens:
    """The conditions behind ON, as one condition; empty if there is none."""
    found: Tokens = ()
    for part in _sources(sources):
        words = [token.text if token.kind == "word" else "" for token in part]
        if "ON" in words:
            rest = part[words.index("ON") + 1 :]
            while rest and rest[-1].kind == "word" and rest[-1].text in ("CROSS", "LEFT", "INNER", "OUTER", "NATURAL"):
                rest = rest[:-1]
            found = _and(found, rest)
    return found


def _all_terms(branch: Tokens, names: set[str], joined: bool) -> list[Term]:  # noqa: FBT001 - passed on as it is
    return [term for part in conjuncts(branch) for term in _terms(part, names, joined=joined)]


def _terms(part: Tokens, names: set[str], *, joined: bool) -> Iterator[Term]:
    """The comparison of a term with the table's key or path, if it is one."""
    negated = bool(part) and part[0].kind == "word" and part[0].text == "NOT"
    rest = part[1:] if negated else part
    wrapped = bool(rest) and rest[0].text in _TRANSPARENT and rest[-1].kind == "group"
    rest = _turned(rest[-1].group if wrapped else rest)
    if len(disjuncts(rest)) > 1 or len(conjuncts(rest)) > 1:
        return
    column = _column(rest, names, joined=joined)
    if column is None:
        return
    at, name, hidden = column
    operator, value = _operator(rest[at:])
    if operator:
        literals = [token.text for token in _flat(value) if token.kind == "text"]
        words = [token.text for token in _flat(rest) if token.kind == "word"]
        is_query = any(token.kind == "word" and token.text == "SELECT" for token in _flat(value))
        yield Term(
            column=name,
            operator=operator.removeprefix("NOT "),
            text=literals[0]
            if literals and not is_query and not (len(value) > 1 and "||" in map(str, value))
            else None,
            hidden=hidden,
            nocase="NOCASE" in words,
            escape="ESCAPE" in words,
            negated=negated or operator.startswith("NOT "),
        )


def _turned(part: Tokens) -> Tokens:
    """``'X' = key`` as ``key = 'X'``, and ``like('X', key)`` as ``key LIKE 'X'``."""
    match part:
        case (Token(kind="text"), Token(text="=" | "=="), *column) if column:
            return (*column, part[1], part[0])
        case (Token(text="LIKE"), Token(kind="group", group=(pattern, _, column_of_like))):
            return (column_of_like, part[0], pattern)
        case _:
            return part


def _column(part: Tokens, names: set[str], *, joined: bool) -> tuple[int, str, bool] | None:
    """Where the column ends, which it is, and whether it stands inside an expression."""
    for at, token in enumerate(part[:4]):
        text = token.text.upper()
        if token.kind == "group":
            inner = next((t.text.upper() for t in _flat(token.group) if t.text.upper() in ("KEY", "PATH")), None)
            if inner and at <= 1:
                return at + 1, inner, at == 1 or len(token.group) > 1
        if token.kind in ("word", "name") and text in ("KEY", "PATH"):
            qualified = at > 1 and part[at - 1].text == "."
            if qualified and part[at - 2].text.upper() not in names:
                return None
            if not qualified and joined and len(names) > 1:
                return None
            start = at - 2 if qualified else at
            behind = [follower.text for follower in part[at + 1 : at + 4]]
            inside = behind[:1] == ["||"] or (behind[:1] == ["COLLATE"] and behind[2:] == ["LIKE"])
            return at + 1, text, start > 0 or inside
    return None


_OPERATORS = frozenset(
    {"=", "==", "!=", "<>", "<", ">", "<=", ">=", "LIKE", "GLOB", "REGEXP", "MATCH", "IN", "IS", "BETWEEN"}
)


def _operator(rest: Tokens) -> tuple[str, Tokens]:
    """The first operator behind the column, with NOT before it, and what follows."""
    negation = ""
    for at, token in enumerate(rest):
        if token.text == "NOT":
            negation = "NOT "
        elif token.text in _OPERATORS:
            return negation + token.text, rest[at + 1 :]
        elif token.text == "||":
            continue
    return "", ()
