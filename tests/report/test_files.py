"""A report file is whole or absent, and a failure says where."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest

from fleetscan.errors import SettingsError
from fleetscan.report.files import whole_file


def test_the_text_is_written_as_given(tmp_path: Path) -> None:
    with whole_file(tmp_path / "new" / "x.txt") as stream:
        stream.write("a\r\nb\n")
    assert (tmp_path / "new" / "x.txt").read_bytes() == b"a\r\nb\n"


def test_an_interrupted_report_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("old")
    with suppress(KeyboardInterrupt), whole_file(path) as stream:
        stream.write("half")
        raise KeyboardInterrupt
    assert [(entry.name, entry.read_text()) for entry in tmp_path.iterdir()] == [("x.txt", "old")]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(SettingsError, match="the report cannot be written") as caught,
        whole_file(tmp_path / "file" / "x.txt"),
    ):
        pass
    assert str(caught.value).startswith(str(tmp_path / "file" / "x.txt"))


def test_a_folder_in_place_of_the_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.txt").mkdir()
    with pytest.raises(SettingsError), whole_file(tmp_path / "x.txt") as stream:
        stream.write("a")
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.txt"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_line() -> None:
    with pytest.raises(SettingsError, match="cannot be written"), whole_file(Path("/dev/full/x")):
        pass


def test_the_file_has_the_permissions_that_the_umask_allows(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        with whole_file(tmp_path / "x.txt") as stream:
            stream.write("a")
    finally:
        os.umask(old)
    assert (tmp_path / "x.txt").stat().st_mode & 0o777 == 0o640
