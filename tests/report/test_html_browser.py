"""The HTML report in a real browser: sorting, filtering, links, keyboard, printing, and hosts that try to break it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from fleetscan.findings.model import Prevalence
from fleetscan.model.finding import Severity
from fleetscan.model.host import HostId
from fleetscan.report.html import render

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

    from fleetscan.report.document import Document

OPEN_ALL = """(section) => {
  const openers = () => document.querySelectorAll(`#${section} .opener`);
  for (let n = 0; n < openers().length; n += 1) openers()[n].click();
}"""
"""Open the detail of every row of the page, one after the other."""

pytestmark = pytest.mark.live


@pytest.fixture
def open_report(browser: Browser, tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """Open a document's page; afterwards: no console message, no error, no request but for the file."""
    context = browser.new_context(viewport={"width": 1300, "height": 900})
    context.set_default_timeout(180_000)
    troubles: list[str] = []

    def open_(document: Document, place: str = "") -> Page:
        path = tmp_path / "report.html"
        path.write_text(render(document), encoding="utf-8")
        page = context.new_page()
        page.on("console", lambda message: troubles.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: troubles.append(f"error: {error}"))
        page.on("dialog", lambda dialog: troubles.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: troubles.append(request.url) if not _is_own(request.url, path) else None)
        page.goto(path.as_uri() + place)
        return page

    yield open_
    context.close()
    assert troubles == []


def _is_own(url: str, path: Path) -> bool:
    return url.partition("#")[0] == path.as_uri()


def titles(page: Page, section: str = "findings") -> list[str]:
    return page.locator(f"#{section} tbody .opener").all_inner_texts()


def severities(page: Page) -> list[str]:
    return page.locator("#findings tbody tr.row td:first-child").all_inner_texts()


def many(document: Document, number: int) -> Document:
    """A document with many findings of mixed severity and prevalence."""
    base = document.assessment.findings[0]
    findings = tuple(
        replace(
            base,
            fingerprint=f"f-{n:06}",
            host=HostId(f"ws-{n}"),
            severity=Severity(n % 4 + 1),
            prevalence=Prevalence(n % 7 + 1, 10),
        )
        for n in range(number)
    )
    return replace(document, assessment=replace(document.assessment, findings=findings))


def test_the_worst_comes_first_and_a_click_sorts(document: Document, open_report: Callable[..., Page]) -> None:
    page = open_report(many(document, 20))
    assert severities(page) == sorted(severities(page), key=["critical", "high", "medium", "low", "info"].index)
    header = page.get_by_role("columnheader", name="Host").first
    header.get_by_role("button").click()
    hosts = page.locator("#findings tbody tr.row td.host").all_inner_texts()
    assert hosts == [f"ws-{n}" for n in range(20)]
    assert header.get_attribute("aria-sort") == "ascending"
    header.get_by_role("button").click()
    assert page.locator("#findings tbody tr.row td.host").first.inner_text() == "ws-19"
    assert header.get_attribute("aria-sort") == "descending"


def test_search_and_filters_narrow_the_list(document: Document, open_report: Callable[..., Page]) -> None:
    page = open_report(document)
    assert len(titles(page)) == 2
    page.get_by_label("Search findings").fill("lsp64 msiexec")
    assert titles(page) == ["new: Winsock protocol 64-bit 0EA1E14E-2C5B-4A7C-A2D2-8AE1C44AE001 layered (Acme Layer)"]
    assert page.locator("#findings [role=status]").inner_text() == "1-1 of 1"
    page.get_by_label("Search findings").fill("")
    page.locator("#findings").get_by_label("Severity").select_option("high")
    assert severities(page) == ["high"]
    page.locator("#findings").get_by_label("Severity").select_option("low")
    assert page.locator("#findings .empty").inner_text() == "No findings match."


def test_approved_findings_show_when_asked_for(document: Document, open_report: Callable[..., Page]) -> None:
    page = open_report(document)
    page.get_by_label("approved and gone too").check()
    assert len(titles(page)) == 3


def test_long_lists_are_paged(document: Document, open_report: Callable[..., Page]) -> None:
    page = open_report(many(document, 120))
    assert len(titles(page)) == 50
    page.locator("#findings").get_by_role("button", name="Next").click()
    page.locator("#findings").get_by_role("button", name="Next").click()
    assert len(titles(page)) == 20
    assert page.locator("#findings").get_by_role("button", name="Next").is_disabled()


def test_a_link_to_a_finding_opens_it(document: Document, open_report: Callable[..., Page]) -> None:
    page = open_report(many(document, 500), "#/findings?open=f-000123")
    row = page.locator("tr[data-id='f-000123']")
    assert row.is_visible()
    assert row.get_by_role("button").get_attribute("aria-expanded") == "true"
    assert row.get_by_role("button").evaluate("node => node === document.activeElement")
    assert "DbgUiContinue" in page.locator("tr.detail").inner_text()


def test_a_link_to_an_approved_finding_shows_it_too(document: Document, open_report: Callable[..., Page]) -> None:
    page = open_report(document, "#/findings?open=a99c07be2d44")
    assert page.locator("tr[data-id='a99c07be2d44']").is_visible()


def test_what_is_on_the_screen_is_in_the_address(document: Document, open_report: Callable[..., Page]) -> None:
    page = open_report(many(document, 120))
    page.get_by_label("Search findings").fill("sip.dll")
    page.locator("#findings").get_by_label("Severity").select_option("medium")
    page.get_by_role("columnheader", name="Host").first.get_by_role("button").click()
    page.locator("#findings .opener").nth(3).click()
    shown, address = titles(page), page.evaluate("location.hash")
    again = open_report(many(document, 120), address)
    assert titles(again) == shown
    assert again.locator("tr.detail").count() == 1


def test_the_detail_shows_decoded_entity_old_and_new_and_the_evidence(
    document: Document, open_report: Callable[..., Page]
) -> None:
    page = open_report(document, "#/findings?open=3a91c07be2d4")
    detail = page.locator("#findings tr.detail")
    assert detail.locator("td.old").inner_text() == "c:\\windows\\system32\\wintrust.dll"
    assert detail.locator("td.now").inner_text() == "c:\\users\\public\\sip.dll"
    text = detail.inner_text()
    for part in (
        "native",
        "DbgUiContinue",
        "REG_SZ",
        "SELECT 1",
        "sha256 9f86d081",
        "1 of 4",
        "Compare the DLL",
    ):
        assert part in text


def test_the_heat_map_leads_to_the_findings_of_a_host(document: Document, open_report: Callable[..., Page]) -> None:
    page = open_report(document)
    assert page.locator("#coverage tbody tr.row").count() == 5
    page.get_by_role("link", name="ws-07, New SIP provider: 1 findings, high").click()
    assert titles(page) == [
        "hijacked: SIP native CryptSIPDllVerifyIndirectData C689AAB8-8E78-11D0-8C47-00C04FC295EE (PE files)"
    ]
    page.get_by_role("button", name="Remove filter Host").click()
    assert page.locator("#findings tbody tr.row").count() == 1


def test_a_lost_host_is_never_shown_as_clean(document: Document, open_report: Callable[..., Page]) -> None:
    page = open_report(document, "#/coverage?open=srv-03")
    cells = page.locator("#coverage tr[data-id='srv-03'] .cell")
    assert {cell.get_attribute("aria-label") for cell in cells.all()} == {
        "srv-03, New SIP provider: unreachable, timeout",
        "srv-03, WinSock2 autorun keys: unreachable, timeout",
    }
    assert "unreachable: timeout" in page.locator("#coverage tr.detail").inner_text()


def test_the_heat_map_can_show_scopes(document: Document, open_report: Callable[..., Page]) -> None:
    page = open_report(document)
    page.locator("#coverage").get_by_label("Columns").select_option("scopes")
    assert page.locator("#coverage th.cellhead").all_inner_texts() == [scope.text for scope in document.scopes]


def test_prevalence_shows_what_is_not_stock_first(document: Document, open_report: Callable[..., Page]) -> None:
    page = open_report(document)
    rows = page.locator("#prevalence tr.row")
    assert rows.count() == 1
    assert "19045: 1 of 3, 20348: 0 of 1" in rows.first.inner_text()
    page.get_by_label("stock Windows too").check()
    assert rows.count() == 2


def test_the_keyboard_reaches_search_sorting_and_details(document: Document, open_report: Callable[..., Page]) -> None:
    page = open_report(document)
    page.keyboard.press("/")
    page.keyboard.type("lsp64")
    assert len(titles(page)) == 1
    opener = page.locator("#findings .opener").first
    opener.focus()
    page.keyboard.press("Enter")
    assert page.locator("#findings tr.detail").count() == 1
    assert page.locator("#findings .opener").first.evaluate("node => node === document.activeElement")


def test_every_control_has_a_name_and_every_table_a_caption(
    document: Document, open_report: Callable[..., Page]
) -> None:
    page = open_report(document)
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, a")].filter((node) =>
             !(node.textContent.trim() || node.ariaLabel || (node.labels && node.labels.length))).length"""
    )
    assert unnamed == 0
    tables = '[...document.querySelectorAll("table")]'
    assert page.evaluate(f'{tables}.every((table) => table.querySelector("caption") || table.closest("tr.detail"))')
    assert page.evaluate('[...document.querySelectorAll("thead th")].every((th) => th.scope === "col")')


def test_dark_and_light_can_be_switched(document: Document, open_report: Callable[..., Page]) -> None:
    page = open_report(document)
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Dark").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
    assert page.get_by_role("button", name="Light").get_attribute("aria-pressed") == "true"


def test_printing_takes_all_pages_of_a_list(document: Document, open_report: Callable[..., Page]) -> None:
    page = open_report(many(document, 120))
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.locator("#findings tr.row").count() == 120
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.locator("#findings tr.row").count() == 50


def test_a_narrow_window_does_not_scroll_sideways(document: Document, open_report: Callable[..., Page]) -> None:
    page = open_report(document)
    page.set_viewport_size({"width": 420, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_hostile_registry_data_stays_text(all_hostile: Document, open_report: Callable[..., Page]) -> None:
    page = open_report(all_hostile, "#/findings?all=1")
    for section in ("findings", "coverage", "changes", "evidence"):
        page.evaluate(OPEN_ALL, section)
    page.get_by_label("Search findings").fill("<script>")
    assert page.locator("#findings tr.row").count() >= 1
    assert "<script>window.hit=1</script>" in page.locator("#findings").inner_text()
    assert page.evaluate("window.hit") is None
    assert page.evaluate('document.querySelectorAll("img, svg, iframe, script:not([id]), style").length') == 2
    assert page.evaluate('[...document.querySelectorAll("a")].every((a) => a.getAttribute("href").startsWith("#/"))')
