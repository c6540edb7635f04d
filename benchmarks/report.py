"""What reports of a large fleet cost: 10,000 hosts, 60 rules, 5,000 findings; time and size of every format.

    python benchmarks/report.py               # every format, then the page in a browser
    python benchmarks/report.py --no-browser  # without chromium
    python benchmarks/report.py --hosts 1000 --findings 500

The fleet has 40 stock rows with rule hits on every host (equal on all, as in a fleet of few images), 1 % of the hosts
are not reached, 2 % are partly covered.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from tabulate import tabulate

from fleetscan.domain.entity import Entity
from fleetscan.domain.verdicts import Verdict
from fleetscan.findings.model import Assessment, Finding, Prevalence, RuleHit, StockGroup
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
from fleetscan.report.formats import FILE_NAMES, Format, Options, write

CHROMIUM = "/usr/bin/chromium"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
RULES, SCOPES, STOCK = 60, 80, 40
KEY = "HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Cryptography\\OID\\EncodingType 0\\CryptSIPDllVerifyIndirectData"


def _finding(number: int, host: str, *, stock: bool) -> Finding:
    guid = f"{number:08X}-0000-4000-8000-000000000000"
    row = RegistryRow(
        f"{KEY}\\{{{guid}}}", "Dll", "REG_SZ", f"C:\\Windows\\System32\\lib{number}.dll", mtime=1_700_000_000
    )
    entity = Entity(
        kind="sip",
        identity=(("view", "native"), ("set", "CryptSIPDllVerifyIndirectData"), ("id", guid)),
        attributes=(("dll", f"c:\\windows\\system32\\lib{number}.dll"), ("function", "Verify"), ("type", "text")),
        keys=(row.key,),
        rows=(row,),
    )
    kind = VerdictKind.EXPECTED if stock else VerdictKind.UNKNOWN
    severity = Severity.INFO if stock else Severity(number % 4 + 1)
    hit = RuleHit(
        rule_id=f"rule-{number % RULES}",
        title=f"Rule {number % RULES}",
        severity=Severity.MEDIUM,
        certainty=Certainty.POSSIBLE,
        row=row,
        excuse="possible, unless written by C:\\Windows\\System32\\poqexec.exe",
        scope_id=f"s-{number % SCOPES:04}",
        techniques=("T1553.003",),
    )
    return Finding(
        fingerprint=f"{number:012x}",
        host=HostId(host),
        entity=entity,
        verdict=Verdict(kind=kind, what=What.STOCK if stock else What.NEW, severity=severity, why="no list knows it"),
        severity=severity,
        certainty=Certainty.POSSIBLE,
        what=What.STOCK if stock else What.NEW,
        why=() if stock else ("no list knows it", "a bare file name: the application's folder wins"),
        state=(FindingState.NEW, FindingState.STILL_THERE, FindingState.CHANGED)[number % 3],
        hits=(hit,),
        prevalence=Prevalence(number % 50 + 1, 4000, "19045"),
    )


def _host(number: int, hit: bool) -> HostReport:  # noqa: FBT001 - a fact of the host
    lost, partial = number % 100 == 0, number % 50 == 1
    status = Covered.UNREACHABLE if lost else Covered.COMPLETE
    reason = "timeout" if lost else ""
    scopes = [ScopeCoverage(scope_id=f"s-{n:04}", status=status, reason=reason) for n in range(SCOPES)]
    rules = [
        RuleCoverage(rule_id=f"rule-{n}", status=Covered.UNREACHABLE if lost else Covered.CLEAN, reason=reason)
        for n in range(RULES)
    ]
    if partial:
        scopes[3] = replace(scopes[3], status=Covered.PARTIAL, reason="unproven keys", detail="2 keys")
        rules[3] = replace(rules[3], status=Covered.PARTIAL, reason="unproven keys")
    if hit:
        rules[number % RULES] = replace(rules[number % RULES], status=Covered.FINDING, findings=1)
    return HostReport(
        name=f"ws-{number:05}",
        groups=("workstations", f"site-{number % 20}"),
        facts=(("os", "Microsoft Windows 10 Pro"), ("build", "19045"), ("arch", "x86_64")),
        rules=tuple(rules),
        scopes=tuple(scopes),
        finished=NOW,
    )


def fleet(hosts: int, findings: int) -> Document:
    """A document of that size."""
    names = [f"ws-{number:05}" for number in range(hosts)]
    stock = tuple(_finding(number, names[0], stock=True) for number in range(STOCK))
    return Document(
        sweep=SweepInfo(id="20260101-000000-0000", started=NOW, finished=NOW, baseline="golden"),
        assessment=Assessment(
            sweep="20260101-000000-0000",
            baseline="golden",
            findings=tuple(_finding(n, names[n * 7 % hosts], stock=False) for n in range(findings)),
            stock=(StockGroup(hosts=tuple(map(HostId, names)), findings=stock),),
            hosts=hosts,
            reached=hosts,
        ),
        hosts=tuple(_host(number, number < findings) for number in range(hosts)),
        rules=tuple(RuleInfo(id=f"rule-{n}", title=f"Rule {n}", severity=Severity.MEDIUM) for n in range(RULES)),
        scopes=tuple(ScopeInfo(f"s-{n:04}", f"HKEY_LOCAL_MACHINE\\SOFTWARE\\AREA {n}") for n in range(SCOPES)),
        statements=(StatementInfo("software-0", "SELECT 1"), StatementInfo("system-0", "SELECT 2")),
        raw={name: (RawHash("software-0", "a" * 64), RawHash("system-0", "b" * 64)) for name in names},
    )


def formats(document: Document, folder: Path) -> list[tuple[str, str, str]]:
    """Seconds and megabytes of every format."""
    rows = []
    for format_ in Format:
        start = time.perf_counter()
        target = folder / ("csv" if format_ is Format.CSV else FILE_NAMES[format_])
        paths = write(document, (format_,), target, sys.stdout, Options())
        size = sum(path.stat().st_size for path in paths)
        rows.append((str(format_), f"{time.perf_counter() - start:.1f} s", f"{size / 1e6:.1f} MB"))
    return rows


def browser(path: Path) -> list[tuple[str, str, str]]:
    """Milliseconds until the page stands, and for a search, a sort, a filter and a page of the heat map."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - only with a browser

    steps = {
        "search": "const i = document.querySelector('#findings input[type=search]'); i.value = 'lib4999';"
        " i.dispatchEvent(new Event('input'))",
        "sort by host": "document.querySelectorAll('#findings thead button')[3].click()",
        "filter": "const s = document.querySelector('#findings select'); s.value = 'high';"
        " s.dispatchEvent(new Event('change'))",
        "next page of the heat map": "document.querySelectorAll('#coverage .pager button')[1].click()",
        "search the hosts": "const i = document.querySelector('#coverage input[type=search]'); i.value = 'ws-0999';"
        " i.dispatchEvent(new Event('input'))",
    }
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = chromium.new_page()
        start = time.perf_counter()
        page.goto(path.as_uri())
        rows = [("browser: open", f"{1000 * (time.perf_counter() - start):.0f} ms", "")]
        for name, code in steps.items():
            timed = f"const t = performance.now(); {code}; document.body.offsetHeight; return performance.now() - t"
            script = f"() => {{ {timed}; }}"
            rows.append((f"browser: {name}", f"{page.evaluate(script):.0f} ms", ""))
        heap = page.evaluate("performance.memory ? performance.memory.usedJSHeapSize : 0")
        rows.append(("browser: script heap", "", f"{heap / 1e6:.0f} MB"))
        rows.append(("browser: elements on the page", str(page.evaluate("document.querySelectorAll('*').length")), ""))
        chromium.close()
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, default=10_000)
    parser.add_argument("--findings", type=int, default=5_000)
    parser.add_argument("--no-browser", action="store_true")
    args = parser.parse_args()
    document = fleet(args.hosts, args.findings)
    with tempfile.TemporaryDirectory() as folder:
        rows = formats(document, Path(folder))
        if not args.no_browser and Path(CHROMIUM).exists():
            rows += browser(Path(folder) / FILE_NAMES[Format.HTML])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(tabulate(rows, headers=("what", "time", "size")))
    print(f"peak memory {peak:.0f} MB")


if __name__ == "__main__":
    main()
