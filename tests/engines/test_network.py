"""A bad line between us and a host: delay and loss change nothing, a cable pulled out ends in time."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest

from fleetscan.engines.osqueryi import OsqueryiEngine
from fleetscan.model.snapshot import Reason
from fleetscan.planner.plan import Answer, Answered, Failed, Statement
from fleetscan.transport.credentials import Credentials
from fleetscan.transport.ssh import SshTransport
from tests.doubles.sshd import Fleet, fleet
from tests.patience import LONG, given_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

pytestmark = pytest.mark.live

NAMESPACE = f"fleet{os.getpid()}"
OUTSIDE, INSIDE = f"fo{os.getpid()}", f"fi{os.getpid()}"
HERE, THERE = "198.18.77.1", "198.18.77.2"  # a range for tests of networks

MANY = Statement(
    id="many",
    sql="WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) "
    "SELECT i AS i, 'ü' || hex(i * 7919) AS text FROM n",
)
SLOW = Statement(
    id="slow", sql=MANY.sql.replace("5000", "1000000000").replace("SELECT i AS i, 'ü' ||", "SELECT max(i) ||")
)


def ip(*words: str, check: bool = True) -> bool:
    return subprocess.run(["ip", *words], capture_output=True, check=check).returncode == 0


@pytest.fixture(scope="module")
def far_away(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A host in a network namespace of its own, behind a pair of virtual cards."""
    if not shutil.which("tc") or not shutil.which("ip") or not ip("netns", "add", NAMESPACE, check=False):
        pytest.skip("network namespaces need root, ip and tc")
    try:
        ip("link", "add", OUTSIDE, "type", "veth", "peer", "name", INSIDE, "netns", NAMESPACE)
        ip("addr", "add", f"{HERE}/30", "dev", OUTSIDE)
        ip("link", "set", OUTSIDE, "up")
        ip("-n", NAMESPACE, "addr", "add", f"{THERE}/30", "dev", INSIDE)
        ip("-n", NAMESPACE, "link", "set", INSIDE, "up")
        export = tmp_path_factory.mktemp("far") / "far.reg"
        export.write_text("Windows Registry Editor Version 5.00\r\n\r\n[HKEY_LOCAL_MACHINE\\SOFTWARE]\r\n", "utf-16")
        with fleet(export.parent / "sshd", {THERE: [export]}, prefix=("ip", "netns", "exec", NAMESPACE)) as running:
            yield running
    finally:
        # What could not be told to end, because the line was cut, ends here.
        pids = subprocess.run(["ip", "netns", "pids", NAMESPACE], capture_output=True, text=True, check=False).stdout
        for pid in pids.split():
            os.kill(int(pid), signal.SIGKILL)
        ip("netns", "del", NAMESPACE, check=False)
        ip("link", "del", OUTSIDE, check=False)


@pytest.fixture
def line(far_away: Fleet) -> Iterator[str]:
    """The card on our side; whatever is done to the line is undone."""
    assert far_away.addresses == (THERE,)
    yield OUTSIDE
    subprocess.run(["tc", "qdisc", "del", "dev", OUTSIDE, "root"], capture_output=True, check=False)
    plug_in()
    far_away.tidy()


def pull_out() -> None:
    """Take the card of the far side down: packets vanish, nobody says why."""
    ip("-n", NAMESPACE, "link", "set", INSIDE, "down")


def plug_in() -> None:
    ip("-n", NAMESPACE, "link", "set", INSIDE, "up")


def test_delay_and_loss_change_no_answer(far_away: Fleet, line: str) -> None:
    how = ["delay", "60ms", "10ms", "loss", "3%", "reorder", "5%"]
    done = subprocess.run(
        ["tc", "qdisc", "replace", "dev", line, "root", "netem", *how], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"tc cannot spoil a line on this kernel: {done.stderr.decode().strip()}")
    engine = OsqueryiEngine(SshTransport(Credentials({})))
    answers = engine.ask(
        far_away.host(THERE, connect_timeout=LONG), [MANY], deadline=time.monotonic() + 3 * LONG
    ).answers
    assert isinstance(answers["many"], Answered)
    assert [row["i"] for row in answers["many"].rows] == [str(n) for n in range(1, 5001)]


@pytest.mark.usefixtures("line")
def test_a_line_that_breaks_in_the_middle_ends_at_the_deadline(far_away: Fleet) -> None:
    engine = OsqueryiEngine(SshTransport(Credentials({})))

    def cut_after(seconds: float) -> Mapping[str, Answer]:
        plug_in()
        cut = threading.Timer(seconds, pull_out)
        cut.start()
        given = engine.ask(far_away.host(THERE), [MANY, SLOW], deadline=time.monotonic() + 2 * seconds)
        cut.join()
        return given.answers

    answers = given_time(cut_after, lambda answers: isinstance(answers["many"], Answered), seconds=3.0)
    assert isinstance(answers["many"], Answered)
    assert answers["slow"] == Failed(Reason.DEADLINE)


@pytest.mark.usefixtures("line")
def test_a_host_that_swallows_everything_is_a_timeout(far_away: Fleet) -> None:
    pull_out()
    host = far_away.host(THERE, connect_timeout=1.0)
    engine = OsqueryiEngine(SshTransport(Credentials({})))
    answers = engine.ask(host, [MANY], deadline=time.monotonic() + LONG).answers
    assert isinstance(answers["many"], Failed)
    assert answers["many"].reason == Reason.TIMEOUT
