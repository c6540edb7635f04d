"""ProxyCommand of ssh_config before real OpenSSH: a relay that works, and each way in which one does not."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import tests.doubles.relay
from fleetscan.engines.osqueryi import OsqueryiEngine
from fleetscan.model.snapshot import Reason
from fleetscan.planner.plan import Answer, Answered, Failed, Statement
from fleetscan.processor import one_processor
from fleetscan.transport.credentials import Credentials
from fleetscan.transport.ssh import SshTransport
from tests.patience import LONG, eventually

if TYPE_CHECKING:
    from tests.doubles.sshd import Fleet

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc"),
]

WHO = Statement(id="who", sql="SELECT data FROM registry WHERE path = 'HKEY_LOCAL_MACHINE\\SOFTWARE\\Fleet\\Name'")
SLOW = Statement(
    id="slow",
    sql="WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1e9) SELECT max(i) AS i FROM n",
)
USER = "root" if os.geteuid() == 0 else os.environ.get("USER", "root")
RELAY = f"{shlex.quote(sys.executable)} {shlex.quote(str(Path(tests.doubles.relay.__file__)))} %h %p"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder of this test's own."""
    (tmp_path / ".ssh").mkdir(mode=0o700)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SHELL", "/bin/sh")
    return tmp_path


def configure(home: Path, text: str) -> None:
    """The user's ssh_config."""
    path = home / ".ssh" / "config"
    path.write_text(text)
    path.chmod(0o600)


def ask(fleet: Fleet, *statements: Statement, seconds: float = 2 * LONG, connect_timeout: float = LONG) -> Answer:
    host = fleet.host(fleet.addresses[0], user=USER, connect_timeout=connect_timeout)
    engine = OsqueryiEngine(SshTransport(Credentials({})))
    wanted = statements or (WHO,)
    return engine.ask(host, wanted, deadline=time.monotonic() + seconds).answers[wanted[-1].id]


def running(marker: str) -> list[int]:
    """The processes that have a word on their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if marker.encode() in path.read_bytes():
                found.append(int(path.parent.name))
    return found


def is_gone(marker: str) -> bool:
    return eventually(lambda: not running(marker))


def test_a_host_is_asked_through_the_command_and_nothing_is_left_of_it(ssh_fleet: Fleet, home: Path) -> None:
    marker = f"relay-{home.name}"
    configure(home, f"Host *\n  ProxyCommand {RELAY} {marker}\n")
    assert ask(ssh_fleet) == Answered(({"data": f"Rechner ü {ssh_fleet.addresses[0]}"},))
    assert is_gone(marker)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def zombies() -> set[str]:
    """Children of this process that ended and that nobody asked for their end."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
            if (state, parent) == ("Z", str(os.getpid())):
                found.add(path.parent.name)
    return found


def test_descriptors_and_processes_do_not_pile_up(ssh_fleet: Fleet, home: Path) -> None:
    configure(home, f"Host *\n  ProxyCommand {RELAY}\n")
    ask(ssh_fleet)
    before, ended = descriptors(), zombies()
    for _ in range(5):
        assert isinstance(ask(ssh_fleet), Answered)
    configure(home, "Host *\n  ProxyCommand false\n")
    for _ in range(5):
        assert isinstance(ask(ssh_fleet), Failed)
    assert eventually(lambda: descriptors() <= before and zombies() <= ended)


def test_what_the_command_complains_about_does_not_stop_it(ssh_fleet: Fleet, home: Path) -> None:
    """More than fits into a pipe, and while the answer comes."""
    script = home / "loud"
    script.write_text(f"#!/bin/sh\nhead -c 300000 /dev/zero | tr '\\0' x >&2\nexec {RELAY.replace('%h %p', '$1 $2')}\n")
    script.chmod(0o700)
    configure(home, f"Host *\n  ProxyCommand {script} %h %p\n")
    assert isinstance(ask(ssh_fleet), Answered)


def test_a_jump_host_may_be_reached_through_a_command(ssh_fleet: Fleet, home: Path) -> None:
    jump, _, behind = ssh_fleet.addresses
    configure(home, f"Host {jump}\n  ProxyCommand {RELAY}\nHost *\n  ProxyCommand false\n")
    host = ssh_fleet.host(behind, proxy_jump=f"{USER}@{jump}:{ssh_fleet.port}", user=USER)
    engine = OsqueryiEngine(SshTransport(Credentials({})))
    answer = engine.ask(host, [WHO], deadline=time.monotonic() + 2 * LONG).answers["who"]
    assert answer == Answered(({"data": f"Rechner ü {behind}"},))


def test_openssh_itself_may_be_the_command(ssh_fleet: Fleet, home: Path) -> None:
    gate, folder = ssh_fleet.addresses[1], ssh_fleet.folder
    configure(
        home,
        f"Host *\n  ProxyCommand ssh -F none -i {folder}/id_ed25519 -o UserKnownHostsFile={folder}/known_hosts"
        f" -o IdentityAgent=none -p {ssh_fleet.port} -W [%h]:%p {USER}@{gate}\n",
    )
    assert ask(ssh_fleet) == Answered(({"data": f"Rechner ü {ssh_fleet.addresses[0]}"},))


def test_many_at_once_get_in_nobodys_way(ssh_fleet: Fleet, home: Path) -> None:
    marker = f"many-{home.name}"
    configure(home, f"Host *\n  ProxyCommand {RELAY} {marker}\n")
    engine = OsqueryiEngine(SshTransport(Credentials({})))

    def one(number: int) -> Answer:
        address = ssh_fleet.addresses[number % len(ssh_fleet.addresses)]
        host = ssh_fleet.host(address, user=USER, connect_timeout=120.0)
        return engine.ask(host, [WHO], deadline=time.monotonic() + 180).answers["who"]

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(one, range(24)))
    expected = [ssh_fleet.addresses[number % len(ssh_fleet.addresses)] for number in range(24)]
    assert answers == [Answered(({"data": f"Rechner ü {address}"},)) for address in expected]
    assert is_gone(marker)


FAULTS = {
    "dies and says why": (
        "sh -c 'echo gate is closed >&2; exit 3'",
        Reason.CONNECTION,
        "exit status 3: gate is closed",
    ),
    "dies silently": ("false", Reason.CONNECTION, "through its ProxyCommand, which ended with exit status 1"),
    "ends at once": ("true", Reason.CONNECTION, "through its ProxyCommand"),
    "prints garbage": ("echo '407 Proxy Authentication Required'", Reason.CONNECTION, "it said: 407 Proxy Auth"),
    "is missing": ("no-such-command-%h", Reason.NOT_ASKED, "which ended with exit status 127"),
    "may not be run": ("{home}/.ssh/config", Reason.NOT_ASKED, "which ended with exit status 126"),
    "hangs": ("sleep 1000", Reason.TIMEOUT, "no key exchange in time, through its ProxyCommand"),
    "hangs and says why": ("sh -c 'echo waiting for you >&2; sleep 1000'", Reason.TIMEOUT, ": waiting for you"),
    "floods": ("yes", Reason.CONNECTION, "through its ProxyCommand"),
    "floods without a line": ("tail -f -c +0 /dev/zero", Reason.CONNECTION, "it talks, and shows no banner"),
    "complains without end": ("yes complaint 1>&2", Reason.TIMEOUT, "complaint complaint"),
}


@pytest.mark.parametrize(("command", "reason", "words"), FAULTS.values(), ids=FAULTS)
def test_a_command_that_makes_no_connection(
    ssh_fleet: Fleet, home: Path, command: str, reason: Reason, words: str
) -> None:
    configure(home, f"Host *\n  ProxyCommand {command.format(home=home)}\n")
    told: tuple[Reason, str] = (Reason.NOT_ASKED, "")
    for patience in (1.5, 6.0, 24.0):  # a busy machine takes its time to start a shell
        answer = ask(ssh_fleet, connect_timeout=patience, seconds=60.0)
        assert isinstance(answer, Failed)
        told = (answer.reason, answer.detail)
        if told[0] is reason and words in told[1]:
            break
    assert told[0] is reason, told
    assert words in told[1]
    assert len(told[1]) < 1000


def test_one_that_will_not_go_is_ended_with_all_that_it_started(ssh_fleet: Fleet, home: Path) -> None:
    script = home / "stubborn-script"
    script.write_text(
        "#!/bin/sh\ntrap '' HUP TERM PIPE\n(while :; do sleep 0.1; done) &\nwhile :; do sleep 0.1; done\n"
    )
    script.chmod(0o700)
    configure(home, f"Host *\n  ProxyCommand {script}\n")
    answer = ask(ssh_fleet, connect_timeout=1.0)
    assert isinstance(answer, Failed)
    assert answer.reason is Reason.TIMEOUT
    assert is_gone(str(script))


def test_the_deadline_ends_the_command_in_the_middle(ssh_fleet: Fleet, home: Path) -> None:
    marker = f"deadline-{home.name}"
    configure(home, f"Host *\n  ProxyCommand {RELAY} {marker}\n")
    answer = ask(ssh_fleet, WHO, SLOW, seconds=4.0)
    assert isinstance(answer, Failed)
    assert answer.reason is Reason.DEADLINE
    assert is_gone(marker)


def test_a_command_that_is_killed_in_the_middle_is_a_broken_connection(ssh_fleet: Fleet, home: Path) -> None:
    marker = f"killed-{home.name}"
    configure(home, f"Host *\n  ProxyCommand {RELAY} {marker}\n")

    def kill() -> None:
        eventually(lambda: running(marker))
        time.sleep(2.0)
        for pid in running(marker):
            os.kill(pid, 9)

    killer = threading.Thread(target=kill)
    killer.start()
    answer = ask(ssh_fleet, WHO, SLOW)
    killer.join()
    assert isinstance(answer, Failed)
    assert answer.reason in (Reason.TRUNCATED, Reason.CONNECTION, Reason.TIMEOUT, Reason.AUTH)


def test_ctrl_c_ends_the_command_too(ssh_fleet: Fleet, home: Path) -> None:
    script = home / "waits-for-ever"
    script.write_text("#!/bin/sh\ntrap '' HUP TERM PIPE\nwhile :; do sleep 0.1; done\n")
    script.chmod(0o700)
    configure(home, f"Host *\n  ProxyCommand {script}\n")
    words = [sys.executable, "-m", "fleetscan", "hosts", "check", "-i", f"root@{ssh_fleet.addresses[0]},"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert eventually(lambda: running(str(script)))
        process.send_signal(signal.SIGINT)
        process.wait(2 * LONG)
    finally:
        process.kill()
        process.wait(LONG)
    assert is_gone(str(script))


def test_the_command_may_run_on_all_processors_while_a_sweep_keeps_to_one(ssh_fleet: Fleet, home: Path) -> None:
    told = home / "processors"
    note = f"import os; open({str(told)!r}, 'w').write(repr(sorted(os.sched_getaffinity(0))))"
    script = home / "telling"
    python = shlex.quote(sys.executable)
    script.write_text(f"#!/bin/sh\n{python} -c {shlex.quote(note)}\nexec {RELAY.replace('%h %p', '$1 $2')}\n")
    script.chmod(0o700)
    configure(home, f"Host *\n  ProxyCommand {script} %h %p\n")
    with one_processor():
        assert isinstance(ask(ssh_fleet), Answered)
    assert told.read_text() == repr(sorted(os.sched_getaffinity(0)))
