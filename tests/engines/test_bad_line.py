"""A bad line between us and a real OpenSSH host: what arrives is right, what does not is named in time."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from fleetscan.engines.osqueryi import OsqueryiEngine
from fleetscan.model.snapshot import Reason
from fleetscan.planner.plan import Answer, Answered, Failed, Statement
from fleetscan.transport.credentials import Credentials
from fleetscan.transport.ssh import SshTransport
from tests.doubles.bad_line import Line, bad_line
from tests.patience import LONG

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fleetscan.model.host import Host
    from tests.doubles.sshd import Fleet

pytestmark = pytest.mark.live

ROWS = 3000
MANY = Statement(
    id="many",
    sql=f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS}) "
    "SELECT i AS i, 'ü' || hex(i * 7919) AS text FROM n",
)
LATER = Statement(id="later", sql=MANY.sql)
HALF_WAY = 60_000  # bytes towards us: within the first answer, after the login


@contextmanager
def over(line: Line, fleet: Fleet, folder: Path, **settings: float) -> Iterator[Host]:
    """A host of the fleet at the end of a line."""
    address = fleet.addresses[0]
    with bad_line(fleet.port, line, host=address) as port:
        pins = folder / "pins"
        key = " ".join((fleet.folder / "host_ed25519.pub").read_text().split()[:2])
        pins.write_text(f"[127.0.0.1]:{port} {key}\n")
        limits = {"connect_timeout": LONG} | settings
        yield fleet.host(address, "127.0.0.1", port=port, known_hosts=str(pins), **limits)


def ask(host: Host, *, seconds: float) -> tuple[Answer, Answer]:
    engine = OsqueryiEngine(SshTransport(Credentials({})))
    answers = engine.ask(host, [MANY, LATER], deadline=time.monotonic() + seconds).answers
    return answers["many"], answers["later"]


def is_whole(answer: Answer) -> bool:
    return isinstance(answer, Answered) and [row["i"] for row in answer.rows] == [str(n) for n in range(1, ROWS + 1)]


@pytest.mark.parametrize(
    "line",
    [
        Line(delay=0.06, jitter=0.03),
        Line(bytes_per_second=150_000),
        Line(tear=700, jitter=0.002),
        Line(delay=0.02, bytes_per_second=200_000, tear=1400),
    ],
    ids=["far away", "narrow", "torn into pieces", "all of it"],
)
def test_a_bad_line_changes_no_answer(ssh_fleet: Fleet, tmp_path: Path, line: Line) -> None:
    with over(line, ssh_fleet, tmp_path) as host:
        first, later = ask(host, seconds=2 * LONG)
    assert is_whole(first)
    assert is_whole(later)


def test_a_line_that_breaks_loses_what_had_not_arrived_and_nothing_else(ssh_fleet: Fleet, tmp_path: Path) -> None:
    with over(Line(cut_after=HALF_WAY), ssh_fleet, tmp_path) as host:
        first, later = ask(host, seconds=2 * LONG)
    assert [answer.reason for answer in (first, later) if isinstance(answer, Failed)] == [Reason.TRUNCATED] * 2
    with over(Line(cut_after=4 * HALF_WAY), ssh_fleet, tmp_path) as host:
        first, later = ask(host, seconds=2 * LONG)
    assert is_whole(first)
    assert isinstance(later, Failed)
    assert later.reason is Reason.TRUNCATED


def test_a_line_that_swallows_everything_ends_at_the_deadline(ssh_fleet: Fleet, tmp_path: Path) -> None:
    with over(Line(swallow_after=HALF_WAY), ssh_fleet, tmp_path) as host:
        began = time.monotonic()
        first, later = ask(host, seconds=5)
        assert time.monotonic() - began < LONG
    assert [answer.reason for answer in (first, later) if isinstance(answer, Failed)] == [Reason.DEADLINE] * 2


@pytest.mark.parametrize("after", [0, 300, 1500], ids=["at once", "in the key exchange", "before the login"])
def test_a_line_that_swallows_the_beginning_is_a_timeout(ssh_fleet: Fleet, tmp_path: Path, after: int) -> None:
    with over(Line(swallow_after=after), ssh_fleet, tmp_path, connect_timeout=1.5) as host:
        first, later = ask(host, seconds=2 * LONG)
    assert [answer.reason for answer in (first, later) if isinstance(answer, Failed)] == [Reason.TIMEOUT] * 2


def test_a_narrow_line_cannot_hold_a_host_beyond_its_deadline(ssh_fleet: Fleet, tmp_path: Path) -> None:
    with over(Line(bytes_per_second=5_000), ssh_fleet, tmp_path) as host:  # far less than one answer in the time
        began = time.monotonic()
        first, later = ask(host, seconds=5)
        assert time.monotonic() - began < LONG
    assert [answer.reason for answer in (first, later) if isinstance(answer, Failed)] == [Reason.DEADLINE] * 2
