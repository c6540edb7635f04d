"""The dialogue with the shell: what an output proves, and that no damage to it is taken for an answer."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fleetscan.engines.framing import Ending, Script, Transcript, parse_rows, read_transcript, survives, write_script
from fleetscan.model.snapshot import Reason
from fleetscan.planner.plan import Answered, Failed, Statement
from tests.doubles.shell import ROWS, answer_script

STATEMENTS = (
    Statement(id="all", sql="SELECT key, name, type, data FROM registry WHERE type <> 'subkey'"),
    Statement(id="none", sql="SELECT key FROM registry WHERE key = 'nowhere'"),
    Statement(id="broken", sql="SELECT missing FROM registry"),
    Statement(id="last", sql="SELECT count(*) AS n FROM registry WHERE name = 'ünïcødé'"),
)
CUT = Ending(reason=Reason.TRUNCATED)


def script_of(*statements: Statement) -> Script:
    """The script with the nonces 1, 2, 3 and so on."""
    return write_script(statements or STATEMENTS, lambda size: "".join(f"{n:016x}" for n in range(size // 8)))


def output_of(script: Script) -> tuple[bytes, bytes]:
    out, err, _ = answer_script(script.text.decode())
    return out.encode(), err.encode()


def transcript(script: Script, stdout: bytes, stderr: bytes) -> Transcript:
    return read_transcript(script, stdout, stderr, CUT)


def test_each_statement_has_its_own_answer() -> None:
    script = script_of()
    read = transcript(script, *output_of(script))
    rows = [dict(zip(("key", "name", "type", "data"), row, strict=True)) for row in ROWS]
    assert read.answers["all"] == Answered(tuple(rows))
    assert read.answers["none"] == Answered(())
    assert read.answers["last"] == Answered(({"n": "1"},))


def test_an_error_belongs_to_the_statement_on_its_line_and_leaves_the_others() -> None:
    script = script_of()
    read = transcript(script, *output_of(script))
    assert read.answers["broken"] == Failed(Reason.OSQUERY_ERROR, "no such column: missing")


def test_version_and_build_are_noted() -> None:
    script = script_of()
    notes = transcript(script, *output_of(script)).notes
    assert (notes["osquery_version"], notes["osquery_build"]) == ("5.23.1", "double")


def test_the_bytes_of_an_answer_are_kept_as_evidence() -> None:
    script = script_of()
    stdout, stderr = output_of(script)
    raw = {answer.statement_id: answer for answer in transcript(script, stdout, stderr).raw}
    assert raw["none"].content == b"[\n\n]\n"
    assert all(answer.content in stdout for answer in raw.values())


def test_banners_and_profile_noise_are_no_part_of_any_answer() -> None:
    script = script_of()
    stdout, stderr = output_of(script)
    noisy = "Willkommen auf WS1 \x1b[2J[{}]\r\n".encode("cp1252") + stdout.replace(b"\n", b"\r\n") + b"\r\nbye"
    assert (
        transcript(script, noisy, b"W0315 registry.cpp: no access\n" + stderr).answers
        == transcript(script, stdout, stderr).answers
    )


@given(st.data())
def test_a_cut_anywhere_gives_the_same_answer_or_none(data: st.DataObject) -> None:
    script = script_of()
    stdout, stderr = output_of(script)
    whole = transcript(script, stdout, stderr).answers
    cut = data.draw(st.integers(0, len(stdout)))
    for name, answer in transcript(script, stdout[:cut], stderr).answers.items():
        assert answer == whole[name] or answer == Failed(Reason.TRUNCATED), name


@given(st.binary(max_size=40), st.data())
def test_bytes_put_in_anywhere_never_make_an_answer_without_notice(noise: bytes, data: st.DataObject) -> None:
    script = script_of(STATEMENTS[3])
    stdout, stderr = output_of(script)
    at = data.draw(st.integers(0, len(stdout)))
    read = transcript(script, stdout[:at] + noise + stdout[at:], stderr).answers["last"]
    if isinstance(read, Answered):
        # Noise within a text is the host's own business: it says what it says. The frame cannot be moved.
        assert len(read.rows) <= 1


@given(st.binary(max_size=300))
def test_no_output_breaks_the_reader(stdout: bytes) -> None:
    assert set(transcript(script_of(), stdout, stdout).answers) == {"hello", "canary", *(s.id for s in STATEMENTS)}


def marked(nonce: int, content: str) -> bytes:
    return f"{nonce:032x}:begin\n{content}{nonce:032x}:end\n".encode()


LIES = {
    "another query's markers": (marked(9, '[{"a": "1"}]\n'), Reason.TRUNCATED),
    "answer twice": (marked(3, "[]\n") + marked(3, "[]\n"), Reason.PROTOCOL),
    "end before begin": (f"{3:032x}:end\n[]\n{3:032x}:begin\n".encode(), Reason.PROTOCOL),
    "answers out of order": (marked(3, "[]\n") + marked(2, "[]\n") + marked(1, "[]\n"), Reason.PROTOCOL),
    "marker in the middle of a line": (f"$ {3:032x}:begin\n[]\n{3:032x}:end\n".encode(), Reason.PROTOCOL),
    "the script echoed": (b"> .print " + marked(3, "[]\n"), Reason.PROTOCOL),
    "two arrays": (marked(3, "[]\n[]\n"), Reason.PROTOCOL),
    "nothing": (marked(3, ""), Reason.PROTOCOL),
    "an object": (marked(3, "{}\n"), Reason.PROTOCOL),
    "numbers": (marked(3, '[{"a": 1}]\n'), Reason.PROTOCOL),
    "torn JSON": (marked(3, '[{"a": "1"\n'), Reason.PROTOCOL),
    "deep": (marked(3, "[" * 100_000), Reason.PROTOCOL),
    "long number": (marked(3, "[" + "9" * 10_000 + "]\n"), Reason.PROTOCOL),
    "invalid UTF-8": (marked(3, "[]\n").replace(b"[]", b'[{"a": "\xff"}]'), Reason.PROTOCOL),
    "torn end marker": (marked(3, "[]\n")[:-3], Reason.TRUNCATED),
}


@pytest.mark.parametrize(("stdout", "reason"), LIES.values(), ids=LIES)
def test_a_lying_host_is_found_out(stdout: bytes, reason: Reason) -> None:
    script = script_of(Statement(id="q", sql="SELECT 1 AS a"))
    answer = transcript(script, stdout, b"").answers["q"]
    assert isinstance(answer, Failed)
    assert answer.reason == reason


def test_a_host_that_repeats_markers_without_end_costs_no_more_than_its_bytes() -> None:
    script = script_of(STATEMENTS[3])
    stdout, stderr = output_of(script)
    began = time.process_time()
    read = transcript(script, marked(3, "[]\n") * 200_000 + stdout, stderr)
    assert time.process_time() - began < 1
    assert isinstance(read.answers["last"], Failed)


def test_rows_without_number_are_refused_before_they_are_parsed() -> None:
    with pytest.raises(ValueError, match="more than 2000000 rows"):
        parse_rows(b"[" + b"{}," * 2_000_001 + b"{}]")


TEXTS = st.text(st.characters(codec=None), max_size=4)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


def whole(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@given(rows=st.lists(st.dictionaries(TEXTS, TEXTS, max_size=3), max_size=4), escaped=st.booleans())
def test_arrays_of_rows_are_read_with_every_character(rows: list[dict[str, str]], *, escaped: bool) -> None:
    content = json.dumps(rows, ensure_ascii=escaped).encode("utf-8", "replace")
    read = json.loads(content)
    assert parse_rows(content) == tuple({whole(name): whole(text) for name, text in row.items()} for row in read)


@given(value=JSON)
def test_anything_else_is_refused(value: object) -> None:
    assume(not isinstance(value, list) or not all(isinstance(row, dict) for row in value))
    with pytest.raises(ValueError, match="not an array of rows"):
        parse_rows(json.dumps(value).encode())


@given(row=st.dictionaries(TEXTS, st.none() | st.integers() | st.lists(TEXTS, max_size=1), min_size=1, max_size=3))
def test_a_cell_that_is_no_text_is_refused(row: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="not an array of rows"):
        parse_rows(json.dumps([{"a": "x"}, row]).encode())


def test_halves_of_characters_are_replaced() -> None:
    rows = parse_rows(rb'[{"a": "x\ud800y", "b": "\ud83d\ude00"}]')
    assert rows == ({"a": "x\ufffdy", "b": "😀"},)


@pytest.mark.parametrize(
    "sql",
    ["SELECT 1\nFROM x", "SELECT '\x1a'", "SELECT 'open", ".exit", " .shell rm", "SELECT 1 /* open", "", "SELECT \x00"],
)
def test_a_text_that_is_not_one_statement_on_one_line_is_not_sent(sql: str) -> None:
    script = script_of(Statement(id="bad", sql=sql), STATEMENTS[1])
    assert isinstance(script.refused["bad"], Failed)
    read = transcript(script, *output_of(script)).answers
    assert read["bad"] == script.refused["bad"]
    assert read["none"] == Answered(())


def test_the_canary_shows_a_shell_that_changes_text() -> None:
    script = script_of()
    stdout, stderr = output_of(script)
    assert survives(transcript(script, stdout, stderr).answers) == (True, True)
    mangled = stdout.decode().encode("cp850", "replace").decode("cp850").encode()
    assert survives(transcript(script, mangled, stderr).answers) == (False, False)
