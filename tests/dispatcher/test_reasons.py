"""Every reason of the ledger is documented for users, with whether it is asked again."""

from __future__ import annotations

import re
from pathlib import Path

from fleetscan.dispatcher import RETRYABLE
from fleetscan.model.snapshot import Reason

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "reasons.md"


def test_every_reason_has_its_line_and_no_line_lies_about_retries() -> None:
    lines = re.findall(r"(?m)^\| `([^`]+)` \|.*\| (yes|no) \|$", PAGE.read_text(encoding="utf-8"))
    assert dict(lines) == {reason.value: "yes" if reason in RETRYABLE else "no" for reason in Reason}
    assert len(lines) == len(Reason)
