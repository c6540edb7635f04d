"""The HTML report as a file: one, without network, without a place where a host's text could become markup."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from typing import TYPE_CHECKING

from fleetscan.report.html import LONGEST_TEXT, embedded, page_data, render

if TYPE_CHECKING:
    from collections.abc import Callable

    from fleetscan.report.document import Document


class Outline(HTMLParser):
    """Elements, attributes and script texts of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self.elements[-1] if self.elements else "", []).append(data)


def test_golden_page_data(document: Document, golden: Callable[[str, str], None]) -> None:
    golden("report.html.json", json.dumps(page_data(document), indent=1) + "\n")


def test_the_page_names_no_resource_outside_of_itself(document: Document) -> None:
    outline = Outline(render(document))
    loading = {"src", "srcset", "data", "action", "poster", "background", "formaction"}
    assert not [item for item in outline.attributes if item[1] in loading]
    assert {
        value for _, name, value in outline.attributes if name == "href" and not (value or "").startswith("#/")
    } == set()
    assert not {"link", "img", "iframe", "object", "embed", "base", "form"} & set(outline.elements)
    assert "url(" not in "".join(outline.texts["style"])


def test_the_policy_allows_only_the_hashes_of_its_own_script_and_style(document: Document) -> None:
    page = render(document)
    policy = next(
        v for t, n, v in Outline(page).attributes if t == "meta" and n == "content" and v and "default-src" in v
    )
    script = page[page.rindex("<script>") + len("<script>") : page.rindex("</script>")]
    style = page[page.index("<style>") + len("<style>") : page.index("</style>")]
    for text, directive in ((script, "script-src"), (style, "style-src")):
        digest = b64encode(sha256(text.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; ")


def test_there_are_no_inline_handlers_or_styles(document: Document) -> None:
    assert not [n for _, n, _ in Outline(render(document)).attributes if n.startswith("on") or n == "style"]


def test_the_summary_stands_without_script(document: Document) -> None:
    page = render(document)
    assert "2 findings to look at" in page
    assert "fleetscan triage 3a91c07be2d4" in page
    assert "2 of 5 hosts not wholly covered" in page


def test_stock_rows_are_counted_not_embedded(document: Document) -> None:
    data = page_data(document)
    assert len(data["findings"]) == 3
    assert [(row[0], row[5], row[6]) for row in data["hosts"]][2] == ("ws-09", 1, 1)


def test_hosts_with_equal_coverage_share_it(silent: Document) -> None:
    host = silent.hosts[0]
    data = page_data(replace(silent, hosts=tuple(replace(host, name=f"h{n}") for n in range(100))))
    assert len(data["hosts"]) == 100
    assert [len(data[name]) for name in ("ruleCoverage", "scopeCoverage", "facts", "groups")] == [1, 1, 1, 1]


def test_a_very_long_text_is_cut_and_says_so(document: Document) -> None:
    finding = document.assessment.findings[0]
    hit = replace(finding.hits[0], row=replace(finding.hits[0].row, data="A" * 100_000))
    long = replace(finding, hits=(hit,))
    data = page_data(replace(document, assessment=replace(document.assessment, findings=(long,))))
    shown = data["findings"][0]["evidence"][0]["data"]
    assert len(shown) < LONGEST_TEXT + 100
    assert shown.endswith("... (cut, 100000 characters)")


def test_hostile_text_changes_neither_elements_nor_attribute_names(document: Document, hostile: Document) -> None:
    page = render(hostile)
    page.encode("utf-8")
    outline = Outline(page)
    assert outline.elements.count("script") == 2
    assert outline.elements.count("style") == 1
    assert set(outline.elements) <= set(Outline(render(document)).elements)
    assert not [n for _, n, _ in outline.attributes if n.startswith("on") or n == "style"]
    data = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert json.loads(data[0]) == page_data(hostile)


def test_embedded_json_has_no_character_that_starts_markup() -> None:
    text = embedded({"a": "</script><!--&\u2028"})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"a": "</script><!--&\u2028"}
