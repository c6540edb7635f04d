"""Verdicts on SIPs and trust steps: GUID, DLL path and function must all agree with one fact."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fleetscan.domain.verdicts import IN_A_USER_HIVE, Verdict, expected, hijack, incomplete, likely, structural, unknown
from fleetscan.model.finding import Severity, VerdictKind, What

if TYPE_CHECKING:
    from fleetscan.domain.entity import Entity
    from fleetscan.domain.judge import Context
    from fleetscan.domain.known_good import Fact

_SHAPE = frozenset({"version 1", "default list", "encoding", "no GUID", "type", "unknown set", "name twice"})
"""Flags that decide alone, whatever DLL is named."""
_DIAGNOSTIC = "DiagnosticPolicy"
"""A step that stock systems register for the test action only: wrong for any other action, whoever owns it."""
_SHOWN = frozenset({"doubled", "subkeys"})
"""Flags of a registration that leads to the stock DLL, but is not as Windows writes it: shown, at low."""
_PATH_FLAGS = frozenset(
    {"writable", "prefix", "remote", "user variable", "unknown variable", "stream", "system DLL", "mock folder"}
)


def judge_sip(entity: Entity, context: Context) -> Verdict:
    """The verdict on one SIP registration."""
    if verdict := _shape(entity):
        return verdict
    facts = [fact for fact in context.known.find("sip", entity.get("id")) if fact.guid]
    if facts:
        return _compare(entity, facts[0], entity.get("set"), entity.get("function"), context)
    return _stranger(entity, "SIP provider", context)


def judge_trust(entity: Entity, context: Context) -> Verdict:
    """The verdict on one step of one action, or on one usage."""
    if verdict := _shape(entity):
        return verdict
    facts = context.known.find("trust", entity.get("id"))
    step = entity.get("step")
    if not facts:
        return _stranger(entity, "trust provider action", context)
    if step == "Usages":
        return _usage(entity, facts[0], context)
    return _compare(entity, facts[0], step, entity.get("function"), context)


def _shape(entity: Entity) -> Verdict | None:
    if entity.get("view") == "user":
        return unknown(IN_A_USER_HIVE, Severity.LOW, What.SUSPICIOUS)
    if entity.incomplete and not entity.get("dll"):
        return incomplete(entity)
    if any(flag.code in _SHAPE and flag.severity >= Severity.MEDIUM for flag in entity.flags):
        return structural(entity)
    return None


def _compare(entity: Entity, fact: Fact, place: str, function: str, context: Context) -> Verdict:
    dll, wanted = entity.get("dll"), fact.functions.get(place, "")
    if not fact.paths:
        return _anywhere(entity, fact, dll, function, wanted)
    if not fact.accepts_path(dll, view=context.bits(entity.get("view")), step=place, releases=context.releases):
        return hijack(fact, _other_dll(entity, fact, dll), Severity.HIGH)
    if fact.functions and function != wanted:
        return _other_function(entity, fact, place, function, wanted)
    if entity.severity_of_flags >= Severity.MEDIUM or any(flag.code in _SHOWN for flag in entity.flags):
        return structural(entity)
    return _match(fact, place) if fact.functions else likely(fact)


def _other_function(entity: Entity, fact: Fact, place: str, function: str, wanted: str) -> Verdict:
    if not wanted:
        sure = entity.kind == "trust" and (fact.confirmed or place == _DIAGNOSTIC)
        severity = Severity.HIGH if sure else Severity.MEDIUM
        return hijack(fact, f"{fact.name} has no {place} on stock systems", severity, What.SUSPICIOUS)
    if not function:
        return _no_function(fact, wanted)
    sure = fact.confirmed and place not in fact.likely_functions
    why = f"{fact.name} calls {function} where {wanted} is stock"
    return hijack(fact, why, Severity.HIGH if sure else Severity.MEDIUM)


def _match(fact: Fact, place: str) -> Verdict:
    if not fact.confirmed or place in fact.likely_functions:
        return likely(fact)
    if fact.requires and not fact.is_windows:
        return likely(fact, f"{fact.name}: expected only where {', '.join(fact.requires)} is installed")
    verdict = expected(f"{fact.name}: GUID, DLL and function are stock", fact)
    return replace(verdict, stock=fact.is_stock_in(place))


def _no_function(fact: Fact, wanted: str) -> Verdict:
    why = f"no function name was returned where {wanted} is stock: absent, or hidden behind an empty value"
    return _incomplete(fact, why)


def _incomplete(fact: Fact, why: str) -> Verdict:
    return Verdict(kind=VerdictKind.STRUCTURAL, what=What.INCOMPLETE, severity=Severity.MEDIUM, why=why, fact=fact.name)


def _other_dll(entity: Entity, fact: Fact, dll: str) -> str:
    usual = fact.dll or (fact.paths[0] if fact.paths else "")
    reasons = "; ".join(flag.text for flag in entity.flags if flag.severity >= Severity.MEDIUM)
    text = f"{fact.name} loads {entity.get('raw') or dll} where {usual} is stock"
    if "\\" not in dll and dll == fact.dll:
        text = f"{fact.name}: the path is stripped to {dll}, so that the program's own folder wins"
    return f"{text} ({reasons})" if reasons else text


def _anywhere(entity: Entity, fact: Fact, dll: str, function: str, wanted: str) -> Verdict:
    """An entry that may be installed in any folder: location cannot clear it, and neither can its GUID."""
    same_name = not fact.dll or dll.rpartition("\\")[2] == fact.dll
    if not same_name or (wanted and function != wanted):
        return hijack(fact, f"the GUID of {fact.name} with another DLL or function", Severity.HIGH)
    why = f"GUID and names of {fact.name}, which any folder may hold and attackers impersonate"
    return unknown(why, max(Severity.MEDIUM, _capped(entity)))


def _stranger(entity: Entity, what: str, context: Context) -> Verdict:
    dll, function = entity.get("dll"), entity.get("function")
    severity = max(Severity.MEDIUM, entity.severity_of_flags)
    why = f"unknown {what}"
    if artefact := _artefact(entity, context):
        return unknown(f"{artefact}: left behind by a test, or by someone who uses it", Severity.HIGH)
    if entity.get("id").startswith("000000"):
        why += ", whose GUID sorts before all others, so that it is asked first"
        severity = max(severity, Severity.HIGH if entity.get("set").startswith("CryptSIPDllIsMyFileType") else severity)
    if entity.get("step") == _DIAGNOSTIC:
        why += " with a diagnostic step, which stock systems have for the test action only"
        severity = max(severity, Severity.HIGH)
    if not function and entity.kind == "sip":
        why += "; without FuncName the export named like the function set is called"
    for fact in context.known.find(entity.kind, dll.rpartition("\\")[2]):
        why += f"; the DLL is that of {fact.name}, whose GUID is not confirmed"
    reasons = "; ".join(flag.text for flag in entity.flags if flag.severity >= Severity.LOW)
    return unknown(f"{why} ({reasons})" if reasons else why, severity)


def _artefact(entity: Entity, context: Context) -> str:
    base, function = entity.get("dll").rpartition("\\")[2], entity.get("function").lower()
    for one in context.known.artefacts:
        by_function = one.function_prefix and function.startswith(one.function_prefix)
        if one.guid == entity.get("id").upper() or base in one.dlls or by_function:
            return one.name
    return ""


def _capped(entity: Entity) -> Severity:
    return max((flag.severity for flag in entity.flags if flag.code in _PATH_FLAGS), default=Severity.INFO)


def _usage(entity: Entity, fact: Fact, context: Context) -> Verdict:
    if fact.dll and not fact.accepts_path(
        entity.get("dll"), view=context.bits(entity.get("view")), releases=context.releases
    ):
        return hijack(fact, _other_dll(entity, fact, entity.get("dll")), Severity.HIGH)
    if not fact.dll and entity.get("dll"):
        return hijack(fact, f"{fact.name} has no DLL on stock systems", Severity.HIGH)
    for name, wanted in fact.functions.items():
        found = entity.get(name).strip("{}")
        if not found:
            why = f"no {name} was returned where {wanted} is stock: absent, or hidden behind an empty value"
            return _incomplete(fact, why)
        if found.upper() != wanted.upper():
            return hijack(fact, f"{fact.name}: {name} is {found}, stock is {wanted}", Severity.HIGH)
    if entity.severity_of_flags >= Severity.MEDIUM:
        return structural(entity)
    return _match(fact, "Usages")
