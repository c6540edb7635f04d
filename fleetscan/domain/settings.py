"""Verdicts on the values around the catalogues: DLLs and pointers, LSP permissions, helper DLLs, the signature flag."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetscan.domain.verdicts import Verdict, expected, hijack, incomplete, likely, structural, unknown
from fleetscan.model.finding import Severity, VerdictKind, What

if TYPE_CHECKING:
    from fleetscan.domain.entity import Entity
    from fleetscan.domain.judge import Context
    from fleetscan.domain.known_good import Fact


def judge_scalar(entity: Entity, context: Context) -> Verdict:
    """The verdict on one value of WinSock2 Parameters."""
    if entity.incomplete:
        return incomplete(entity)
    facts = context.known.find("winsock_value", entity.get("name"))
    if not facts:
        return _unknown_scalar(entity)
    fact = facts[0]
    if fact.paths and not fact.accepts_path(entity.get("dll"), releases=context.releases):
        why = f"{fact.name} loads {entity.get('raw')} where {fact.paths[0]} is stock"
        return hijack(fact, why, max(Severity.HIGH, entity.severity_of_flags))
    if fact.value and entity.get("data").lower() != fact.value.lower():
        points = fact.name.lower().startswith("current_")
        why = f"{fact.name} is {entity.get('data')}, stock is {fact.value}" + (
            ": the live catalogue is moved out of the watched key" if points else ""
        )
        return hijack(fact, why, Severity.HIGH if points else Severity.MEDIUM)
    if entity.severity_of_flags >= Severity.MEDIUM:
        return structural(entity)
    return expected(f"{fact.name} is stock", fact)


def _unknown_scalar(entity: Entity) -> Verdict:
    if entity.severity_of_flags >= Severity.MEDIUM:
        return structural(entity)
    if entity.get("data").lower().rstrip(". ").endswith((".dll", ".ocx", ".cpl")):
        return unknown("unknown WinSock2 value that names a DLL")
    return Verdict(
        kind=VerdictKind.NOT_JUDGED,
        what=What.OBSERVED,
        severity=Severity.INFO,
        why="a WinSock2 value no fact speaks of",
    )


def judge_appid(entity: Entity, context: Context) -> Verdict:
    """The verdict on the layered providers that one program admits."""
    if entity.incomplete:
        return incomplete(entity)
    if entity.flags:
        return structural(entity)
    facts = context.known.find("winsock_appid", entity.get("name"))
    if not facts:
        return _other_application(entity, context)
    same = [fact for fact in facts if _same_program(fact, entity)]
    allowed = [fact for fact in same if entity.get("categories") == _categories(fact)]
    if any(fact.fits(context.releases) for fact in allowed):
        return expected(f"{entity.title}: permissions are stock", allowed[0])
    if allowed:
        return likely(allowed[0], f"{entity.title}: permissions of another release of Windows")
    wanted = " or ".join(sorted({_categories(fact) for fact in facts}))
    why = f"{entity.get('path')} admits {entity.get('categories')}, stock is {wanted}: layered providers may enter it"
    return hijack(facts[0], why, Severity.MEDIUM)


def _other_application(entity: Entity, context: Context) -> Verdict:
    """A row under a name that no fact lists: it may be about a program whose permissions are known."""
    stock = [fact for fact in context.known.of_kind("winsock_appid") if entity.get("path") in fact.paths]
    if stock and all(entity.get("categories") != _categories(fact) for fact in stock):
        why = f"another row for {entity.get('path')} admits {entity.get('categories')}, which stock rows of it do not"
        return unknown(why, Severity.MEDIUM)
    return unknown("LSP permissions of a program that no fact lists", Severity.LOW)


def _categories(fact: Fact) -> str:
    return f"0x{fact.numbers['permitted_lsp_categories']:08x}"


def _same_program(fact: Fact, entity: Entity) -> bool:
    return entity.get("path") in fact.paths and entity.get("arguments").lower() == fact.app_args.lower()


def judge_helper(entity: Entity, context: Context) -> Verdict:
    """The verdict on the helper DLL of one transport."""
    if entity.incomplete:
        return incomplete(entity)
    facts = context.known.find("winsock_helper", entity.get("service"))
    if not facts:
        return unknown("helper DLL of a transport that no fact lists", max(Severity.MEDIUM, entity.severity_of_flags))
    if not facts[0].accepts_path(entity.get("dll"), releases=context.releases):
        why = f"{facts[0].name} loads {entity.get('raw')} where {facts[0].paths[0]} is stock"
        return hijack(facts[0], why, Severity.HIGH)
    if entity.severity_of_flags >= Severity.MEDIUM:
        return structural(entity)
    return expected(f"helper DLL of {facts[0].name} is stock", facts[0])


def judge_flag(entity: Entity, context: Context) -> Verdict:
    """The verdict on one user's signature flag: posture, never more than low."""
    if entity.flags:
        return structural(entity)
    for fact in context.known.of_kind("wintrust_flag"):
        if int(fact.value, 0) == _int(entity.get("state")):
            return expected("signature checks are as Windows sets them", fact)
        why = f"State is {entity.get('state')}, stock is {fact.value.lower()}: signature checks are relaxed or changed"
        return hijack(fact, why, Severity.LOW, What.SUSPICIOUS)
    return unknown("no fact about the flag", Severity.LOW)


def _int(text: str) -> int | None:
    try:
        return int(text, 0)
    except ValueError:
        return None
