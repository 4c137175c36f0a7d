"""Reading what others wrote: as people save it, within limits of size, depth and time."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from siame_se3.errors import InputError
from siame_se3.files import parse_json, read_csv_rows, read_csv_table, read_json, read_text, read_yaml, reading, shown

FUZZ = settings(derandomize=True, deadline=None, max_examples=150)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reading") / "file"


def put(file: Path, content: str | bytes) -> Path:
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def refusal(read: Any, file: Path) -> str:
    with pytest.raises(InputError) as caught:
        read(file)
    text = str(caught.value)
    assert text.startswith(str(file))
    assert len(text.splitlines()) == 1
    assert len(text) < 300
    return text


# Text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252", "latin-1"])
def test_text_of_any_editor_is_read(file: Path, encoding: str) -> None:
    assert read_text(put(file, "# Höhe 5 °".encode(encoding))) == "# Höhe 5 °"


def test_bytes_that_windows_does_not_know_are_read_as_latin_1(file: Path) -> None:
    assert read_text(put(file, b"a\x81\xff")) == "a\x81ÿ"


@pytest.mark.parametrize("content", [b"\x89PNG\x00\x00", b"a\0b", b"\xff\xfea\x00b", b"\xfe\xff\x00\x00"])
def test_binary_files_are_refused(file: Path, content: bytes) -> None:
    assert "not a text file; give a list" in refusal(lambda f: read_text(f, hint="give a list"), put(file, content))


def test_what_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    with path.open("wb") as stream:
        stream.truncate(10**12)  # a hole: takes no disk, and would take all memory
    for read in (read_text, read_yaml, read_json, lambda f: list(read_csv_rows(f))):
        assert "too many bytes" in refusal(read, path)
    assert read_text(put(path, b"12345"), most_bytes=5) == "12345"
    assert "too many bytes" in refusal(lambda f: read_text(f, most_bytes=4), path)


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    assert "no such file; give one" in refusal(lambda f: read_text(f, hint="give one"), tmp_path / "none")
    assert "a folder" in refusal(read_text, tmp_path)


def test_a_fifo_does_not_block(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "fifo")
    refusal(read_text, tmp_path / "fifo")


# YAML


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1\nb: [1.5, .nan, x]", {"a": 1, "b": [1.5, math.nan, "x"]}),
        ("a: 1 # M\xfcller\n".encode("latin-1"), {"a": 1}),
        ("a: 1\n---\nb: [cut off", {"a": 1}),  # as `ros2 topic echo` leaves it
        ("---\na: 1\n...\n---\n}", {"a": 1}),
        ("---\n---\n# note\n---\na: 1\n---\n}", {"a": 1}),
        ("null\n---\na: 1", None),
        ("a: 1\na: 2\n", {"a": 2}),
        ("base: &b {x: 1}\nmore: {<<: *b, y: 2}", {"base": {"x": 1}, "more": {"x": 1, "y": 2}}),
        ("%YAML:1.0\n---\nK: !!opencv-matrix\n  rows: 1\n  data: [ 1., 2. ]\n", {"K": {"rows": 1, "data": [1.0, 2.0]}}),
        ("", None),
    ],
    ids=[
        "plain",
        "latin-1",
        "stream",
        "broken second",
        "empty first",
        "null first",
        "duplicate",
        "merge",
        "opencv",
        "empty",
    ],
)
@pytest.mark.parametrize("library", ["libyaml", "python"])
def test_yaml_as_people_save_it(
    file: Path, text: str | bytes, value: Any, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if library == "python":
        monkeypatch.delattr(yaml, "CSafeLoader")
    reading._yaml_loader.cache_clear()
    try:
        assert repr(read_yaml(put(file, text))) == repr(value)
    finally:
        reading._yaml_loader.cache_clear()


def aliases(levels: int) -> str:
    first = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n"
    return first + "".join(f"a{k}: &a{k} [{','.join([f'*a{k - 1}'] * 9)}]\n" for k in range(1, levels))


BOMBS = {
    "aliases": aliases(9) + "image_width: *a8\n",
    "merged": "a0: &a0 {x: 1}\n"
    + "".join(f"a{k}: &a{k} {{<<: [{','.join([f'*a{k - 1}'] * 9)}]}}\n" for k in range(1, 9)),
    "doubled": "- &a0 1\n" + "".join(f"- &a{k} [*a{k - 1}, *a{k - 1}]\n" for k in range(1, 60)),
    "contains itself": "&a [*a]",
    "contains itself as a key": "&a {*a : 1}",
    "flow": "[" * 400_000,
    "mappings": "{a: " * 200_000,
    "sequences": "- " * 400_000,
    "keys": "? " * 400_000,
    "values": "[" + "1," * 450_000 + "1]",
    "long": "a: " + "x" * 900_000,
    "base sixty": "a: " + ":".join(["59"] * 6000),
    "hexadecimal": "a: 0x" + "f" * 5000,
    "python": "!!python/object/apply:os.system [id]",
    "date": "a: 2020-13-45",
    "key of a list": "? [a]\n: 1",
    "digits": "a: " + "9" * 5000,
    "tab": "\ta: 1",
    "undefined": "*a",
    "brace": "a: }",
}


@pytest.mark.parametrize("name", BOMBS)
def test_yaml_that_takes_more_than_it_should_is_refused_at_once(file: Path, name: str) -> None:
    put(file, BOMBS[name])
    began = time.process_time()
    refusal(read_yaml, file)
    assert time.process_time() - began < 1


@pytest.mark.parametrize("levels", [2, 5, 9])
def test_a_value_is_shown_short(levels: int) -> None:
    value = yaml.safe_load(aliases(levels))
    assert len(shown(value)) <= 60
    assert len(shown({"a": value})) <= 60


@pytest.mark.parametrize(
    "value",
    [10**5000, [10**5000], "x" * 1000, "a\nb\x1b[31m", b"\0" * 99, float("nan"), {1: {2: {3: {4: 5}}}}],
    ids=["digits", "list of digits", "long", "controls", "bytes", "nan", "nested"],
)
def test_any_value_is_shown_in_one_line(value: Any) -> None:
    assert len(shown(value)) <= 60
    assert shown(value).isprintable()


@given(st.one_of(st.binary(max_size=300), st.text(max_size=300).map(lambda x: x.encode("utf-8", "replace"))))
@FUZZ
def test_any_bytes_are_yaml_or_one_line(file: Path, content: bytes) -> None:
    put(file, content)
    try:
        read_yaml(file)
    except InputError as error:
        assert str(error).startswith(str(file))
        assert len(str(error).splitlines()) == 1


# JSON


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(plain)
@FUZZ
def test_json_comes_back(file: Path, value: Any) -> None:
    assert read_json(put(file, json.dumps(value))) == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("NaN", "nan"),
        ('{"a": [1e999]}', "inf"),
        ("-Infinity", "inf"),
        ("[" * 100_000, "not JSON"),
        ("[" * 60 + "]" * 60, "nested too deep"),
        ('{"a":' * 200 + "1" + "}" * 200, "nested too deep"),
        ("9" * 5000, "not JSON"),
        ("9" * 30, "64 bits"),
        ("{", "not JSON"),
        ("", "not JSON"),
        ('{"\\ud800": "\\ud800"', "not JSON"),
    ],
    ids=lambda x: x[:12],
)
def test_json_that_is_none_is_one_line(file: Path, text: str, words: str) -> None:
    assert words in refusal(read_json, put(file, text))


def test_json_with_nan_where_it_may_be() -> None:
    assert math.isnan(parse_json("[NaN]", "here", finite=False)[0])


# CSV


def test_rows_come_with_the_lines_where_they_end(file: Path) -> None:
    put(file, 'a,"b\nb",c\r\n\r\n"1,2",3\n')
    assert list(read_csv_rows(file)) == [(2, ["a", "b\nb", "c"]), (4, ["1,2", "3"])]


def test_a_field_that_never_ends_is_refused(file: Path) -> None:
    assert "line 2: not CSV" in refusal(lambda f: list(read_csv_rows(f)), put(file, "a,b\n" + '"' + "x" * 200_000))


def test_only_line_ends_end_a_line(file: Path) -> None:
    assert [row for _, row in read_csv_rows(put(file, "a\x0cb,\u2028c\rd,e\n"))] == [["a\x0cb", "\u2028c"], ["d", "e"]]


def test_a_table_is_read_by_its_header(file: Path) -> None:
    put(file, 'b,a,more\n1,"x,y",\n\n2,z,3\n')
    assert read_csv_table(file, ("a", "b")) == [{"b": "1", "a": "x,y", "more": ""}, {"b": "2", "a": "z", "more": "3"}]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no column 'a'; give another"),
        ("b\n1\n", "no column 'a'; give another"),
        ("a,a\n1,2\n", "two columns 'a'; give another"),
        ("a,b\n1\n", "line 2: 1 values for 2 columns; give another"),
        ("a,b\n1,2\n\n1,2,3\n", "line 4: 3 values for 2 columns; give another"),
        ("a,b\n", "no row below its header; give another"),
    ],
)
def test_a_table_that_is_none_is_one_line(file: Path, text: str, words: str) -> None:
    assert words in refusal(lambda f: read_csv_table(f, ("a",), "give another"), put(file, text))
