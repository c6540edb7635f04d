"""Verdicts on WinSock2 catalogue rows: base providers, layered providers and chains, NetBIOS, name spaces."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fleetscan.domain.namespaces import DNS_NAMESPACE
from fleetscan.domain.protocols import NETBIOS
from fleetscan.domain.verdicts import Verdict, expected, hijack, incomplete, likely, structural, unknown
from fleetscan.model.finding import Severity, What

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fleetscan.domain.entity import Entity
    from fleetscan.domain.judge import Context
    from fleetscan.domain.known_good import Fact, KnownGood

_NUMBERS = {"family": "address_family", "type": "socket_type", "protocol": "protocol"}


def stock_tuples(entities: Iterable[Entity], known: KnownGood) -> frozenset[tuple[str, str, str, str]]:
    """View, family, type and protocol that a stock provider serves on this host."""
    return frozenset(
        _tuple(entity)
        for entity in entities
        if entity.kind == "winsock_protocol" and entity.get("chain") == "base" and _facts(entity, known)
    )


def _tuple(entity: Entity) -> tuple[str, str, str, str]:
    return entity.get("view"), entity.get("family"), entity.get("type"), entity.get("protocol")


def _facts(entity: Entity, known: KnownGood) -> list[Fact]:
    return [
        fact
        for fact in known.find("protocol", entity.get("provider"))
        if all(fact.numbers.get(name) in {None, _int(entity.get(ours))} for ours, name in _NUMBERS.items())
    ]


def _int(text: str) -> int | None:
    return int(text) if text.lstrip("-").isdecimal() else None


def judge_protocol(entity: Entity, context: Context) -> Verdict:
    """The verdict on one protocol row."""
    if verdict := _shape(entity):
        return verdict
    if entity.get("chain") != "base":
        return _layered(entity, context)
    facts = _facts(entity, context.known)
    if not facts:
        return _foreign_base(entity, context)
    placed = [fact for fact in facts if fact.accepts_path(entity.get("dll"), releases=context.releases)]
    if not placed:
        return _replaced(entity, facts[0])
    return _numbers(entity, placed[0])


def _shape(entity: Entity) -> Verdict | None:
    if entity.incomplete:
        return incomplete(entity)
    if any(flag.code in {"duplicate", "malformed", "name twice", "dangling chain"} for flag in entity.flags):
        return structural(entity)
    return None


def _replaced(entity: Entity, fact: Fact) -> Verdict:
    raw = entity.get("raw") or entity.get("dll")
    why = f"{fact.name} loads {raw} where {fact.paths[0]} is stock"
    if "\\" not in entity.get("dll"):
        why = f"{fact.name}: the path is stripped to {raw}, so that the program's own folder wins"
    severity = Severity.HIGH if fact.is_windows else Severity.MEDIUM
    return hijack(fact, why, max(severity, entity.severity_of_flags), What.REPLACED)


def _numbers(entity: Entity, fact: Fact) -> Verdict:
    if entity.severity_of_flags >= Severity.MEDIUM:
        return structural(entity)
    for name, wanted in _stock_numbers(fact) if fact.confirmed else ():
        if entity.get(name) != wanted:
            why = f"{fact.name} has {name.replace('_', ' ')} {entity.get(name)}, stock is {wanted}"
            return hijack(fact, why, Severity.MEDIUM, What.SUSPICIOUS)
    return _match(fact)


def _stock_numbers(fact: Fact) -> Iterator[tuple[str, str]]:
    numbers = fact.numbers
    if "service_flags1" in numbers:
        yield "service_flags", f"0x{numbers['service_flags1']:08X}"
    if not fact.is_windows:
        return  # vendors change the rest with their releases
    if "provider_flags" in numbers:
        yield "provider_flags", f"0x{numbers['provider_flags']:08X}"
    if "catalog_version" in numbers:
        yield "version", str(numbers["catalog_version"])
    if "max_sockaddr" in numbers:
        yield "addresses", f"{numbers['min_sockaddr']}..{numbers['max_sockaddr']}"


def _match(fact: Fact) -> Verdict:
    if not fact.confirmed:
        return likely(fact)
    if fact.requires and not fact.is_windows:
        return likely(fact, f"{fact.name}: expected only where {', '.join(fact.requires)} is installed")
    return expected(f"{fact.name}: provider, numbers and DLL are stock", fact)


def _layered(entity: Entity, context: Context) -> Verdict:
    what = "layered provider" if entity.get("chain") == "layered" else "protocol chain"
    base = entity.get("dll").rpartition("\\")[2]
    for fact in context.known.find("protocol", base):
        if fact.accepts_path(entity.get("dll"), releases=context.releases) and entity.severity_of_flags < Severity.HIGH:
            return unknown(f"{what} of {fact.name}: it sees every byte of its protocol, a dual use", Severity.LOW)
    severity = max(Severity.MEDIUM, entity.severity_of_flags)
    return unknown(f"{what}: obsolete since Windows 8, and it sees every byte of its protocol", severity)


def _foreign_base(entity: Entity, context: Context) -> Verdict:
    severity = max(Severity.MEDIUM, entity.severity_of_flags)
    if entity.get("first") == "yes" and _tuple(entity) in context.stock:
        why = "unknown provider in front of the stock row of the same family, type and protocol: it is asked first"
        return unknown(why, Severity.HIGH)
    name = context.known.name_of(entity.get("provider"))
    if name:
        return unknown(f"the provider of {name} with a family, type or protocol that it does not serve", severity)
    return unknown("unknown base provider", severity)


def judge_netbios(entity: Entity, context: Context) -> Verdict:
    """The verdict on all NetBIOS rows of one type."""
    facts = [
        fact
        for fact in context.known.find("protocol", entity.get("provider"))
        if fact.numbers.get("address_family") == NETBIOS
    ]
    if not facts:
        return unknown("unknown NetBIOS provider", max(Severity.MEDIUM, entity.severity_of_flags))
    if not all(facts[0].accepts_path(token, releases=context.releases) for token in entity.get("dll").split(" | ")):
        return _replaced(entity, facts[0])
    if entity.severity_of_flags >= Severity.MEDIUM:
        return structural(entity)
    return replace(_match(facts[0]), stock=False)  # the rows come and go with the interfaces


def judge_namespace(entity: Entity, context: Context) -> Verdict:
    """The verdict on one name space row."""
    if verdict := _shape(entity):
        return verdict
    found = context.known.find("namespace", entity.get("provider"))
    number = _int(entity.get("namespace"))
    facts = [fact for fact in found if fact.numbers.get("supported_namespace", number) == number]
    placed = [fact for fact in facts if fact.accepts_path(entity.get("dll"), releases=context.releases)]
    if placed:
        return _known_namespace(entity, placed[0])
    return _replaced(entity, facts[0]) if facts else _foreign_namespace(entity, context)


def _known_namespace(entity: Entity, fact: Fact) -> Verdict:
    if entity.get("enabled") == "0" and fact.is_windows:
        return hijack(fact, f"{fact.name} is switched off: denial, or preparation", Severity.MEDIUM, What.SUSPICIOUS)
    if entity.severity_of_flags >= Severity.MEDIUM:
        return structural(entity)
    if entity.get("enabled") == "0":
        return likely(fact, f"{fact.name} is switched off")
    if not fact.is_windows and entity.get("rank") == "before DNS":
        return unknown(f"{fact.name} is asked before DNS", Severity.MEDIUM, What.SUSPICIOUS)
    return _match(fact)


def _foreign_namespace(entity: Entity, context: Context) -> Verdict:
    severity = max(Severity.MEDIUM, entity.severity_of_flags)
    base = entity.get("dll").rpartition("\\")[2]
    if entity.get("rank") == "before DNS" and entity.get("namespace") == DNS_NAMESPACE:
        return unknown("unknown name service provider in front of DNS: it sees every query first", Severity.HIGH)
    for fact in context.known.find("namespace", base):
        if fact.accepts_path(entity.get("dll"), releases=context.releases):
            return unknown(f"name service provider of {fact.name}, a dual use", Severity.LOW)
    return unknown("unknown name service provider", severity)
