"""The examples of the scheduling page are what cron, systemd, Kubernetes and fleetscan itself would take."""

from __future__ import annotations

import configparser
import re
import shlex
from pathlib import Path

import pytest
import yaml
from apscheduler.triggers.cron import CronTrigger

from fleetscan.cli.main import build_parser
from fleetscan.schedule import Cron, Every, load_jobs

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "schedule.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def is_a_run_of_the_nightly_job(words: list[str]) -> bool:
    assert words[0].endswith("fleetscan")
    args = build_parser(words[1]).parse_args(words[1:])
    return bool(args.verb == "run" and args.job == "nightly")


def test_the_settings_file_of_the_page_loads_as_it_says(tmp_path: Path) -> None:
    (tmp_path / "fleetscan.yml").write_text(blocks("yaml")[0], encoding="utf-8")
    jobs = load_jobs(tmp_path / "fleetscan.yml")
    assert jobs.job("nightly").when == Cron("30 3 * * *", "Europe/Berlin")
    assert jobs.job("servers").when == Every(None)
    assert set(jobs.receivers) == {"soc", "siem"}


def test_the_crontab_line_has_five_valid_fields_and_runs_the_job() -> None:
    (line,) = blocks("cron")[0].strip().splitlines()
    fields = line.split(maxsplit=5)
    CronTrigger.from_crontab(" ".join(fields[:5]))
    assert is_a_run_of_the_nightly_job(shlex.split(fields[5].partition("&&")[2]))


def test_the_systemd_units_parse_and_the_timer_starts_the_service() -> None:
    units = []
    for text in blocks("ini"):
        unit = configparser.ConfigParser(interpolation=None, delimiters=("=",), comment_prefixes=("#",))
        unit.optionxform = str  # type: ignore[assignment,method-assign]  # systemd minds case
        unit.read_string(text)
        units.append(unit)
    service, timer = units
    assert service["Service"]["Type"] == "oneshot"
    assert service["Service"]["SuccessExitStatus"] == "1 3"
    assert is_a_run_of_the_nightly_job(shlex.split(service["Service"]["ExecStart"]))
    assert re.fullmatch(r"\*-\*-\* \d\d:\d\d:\d\d [A-Za-z]+/[A-Za-z]+", timer["Timer"]["OnCalendar"])
    assert timer["Install"]["WantedBy"] == "timers.target"


def test_the_task_of_windows_runs_the_job() -> None:
    words = re.search(r'/TR "([^"]+)"', blocks("powershell")[0])
    assert words is not None
    assert is_a_run_of_the_nightly_job(words[1].split())


def test_the_cron_job_of_kubernetes_forbids_overlap_and_runs_the_job() -> None:
    job = yaml.safe_load(blocks("yaml")[1])
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "CronJob")
    assert job["spec"]["concurrencyPolicy"] == "Forbid"
    CronTrigger.from_crontab(job["spec"]["schedule"], timezone=job["spec"]["timeZone"])
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    (container,) = pod["containers"]
    assert is_a_run_of_the_nightly_job(container["command"])
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}


@pytest.mark.parametrize("language", ["yaml", "cron", "ini", "powershell"])
def test_every_kind_of_example_is_still_there(language: str) -> None:
    assert blocks(language)
