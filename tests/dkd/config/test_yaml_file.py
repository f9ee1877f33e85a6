"""YAML as DVC reads it, and what is refused."""

import os

import pytest

from dkd.config import yaml_file

SCALARS = """
010 08 -010 +5 00 0o10 -0o10 0O10 0o8 0b11 0x1F -0x1f 0xG 1_000 0_1 _1 9223372036854775807
1:30 190:20:30 1:30.5 4-1 1.0.0 1,000 1e3 1e-3 1E+3 9.0E-1 1.e3 .5 -.5 +.5 .5e3 .5e+3 5. 1_0.5 ._5 . 1e 1e999
.inf -.inf +.INF inf .nan nan yes no on off y Yes true True TRUE tRue false ~ null Null nUll None 2026-1-5 '010' "yes"
""".split()
MERGES = [
    "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\n",
    "a: &a {x: 1, y: 2}\nb: {y: 3, <<: *a}\n",
    "a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc: {<<: [*a, *b], z: 5}\nd: {<<: [*b, *a]}\n",
    "a: &a {x: 1}\nb: &b {<<: *a, y: 2}\nc: {<<: *b, x: 3}\n",
    "a: {<<: {x: 1}, y: 2}\n",
    'a: {"<<": 1}\n',
]


@pytest.mark.parametrize("text", [*(f"k: {scalar}" for scalar in SCALARS), *MERGES])
def test_values_are_those_that_dvc_reads(text):
    ruamel = pytest.importorskip("ruamel.yaml")
    assert repr(yaml_file.parse(text)) == repr(ruamel.YAML(typ="safe").load(text))


@pytest.mark.parametrize(
    ("text", "value"),
    [("010", 10), ("1:30", "1:30"), ("0o10", 8), ("1e-3", 0.001), ("yes", "yes"), ("1_000", 1000), ("09", 9)],
)
def test_scalars_are_those_of_yaml_1_2(text, value):
    assert repr(yaml_file.parse(text)) == repr(value)


def test_whole_numbers_as_keys_are_text():
    assert yaml_file.parse("a: {3: x, 010: y, '4': z}") == {"a": {"3": "x", "10": "y", "4": "z"}}


def test_aliases_within_bounds_are_read():
    text = "a: &a [" + ", ".join(map(str, range(150))) + "]\nb: [" + ", ".join(["*a"] * 500) + "]\n"
    assert yaml_file.parse(text)["b"] == [list(range(150))] * 500


BOMB = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30)
)
MERGE_BOMB = "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n" for i in range(1, 40))
CHAIN = "a0: &a0 [1]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 3000))


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        ("name: 2026-11-25\n", 1, "'2026-11-25' is a date in YAML; put it in quotes: '2026-11-25'"),
        ("a: 1\nname: 2026-13-45\n", 2, "'2026-13-45' is a date"),
        ("name: 2026-11-25 10:00:00\n", 1, "is a date in YAML"),
        ("a: 1\nb: &x [*x]\n", 2, "an alias inside the value that it refers to; write the value out"),
        ("a: &x {<<: *x}\n", 1, "an alias inside the value that it refers to"),
        (f"a: {'9' * 5000}", 1, f"'{'9' * 40}...' is too large for an integer; at most 2^63 - 1"),
        (f"a: 0x{'f' * 5000}", 1, "is too large for an integer"),
        ("a: 9223372036854775808", 1, "is too large for an integer"),
        (BOMB, 1, "aliases make more than 100,000 values"),
        (MERGE_BOMB, 3, "aliases make more than 100,000 values"),
        (CHAIN, 1, "aliases nest more than 50 levels deep"),
        ("a: " + "[" * 100_000, 1, "nested more than 50 levels deep"),
        ("".join(f"{' ' * i}a:\n" for i in range(300)), 50, "nested more than 50 levels deep"),
        (f"a: [{'1,' * 300_000}]", 1, "more than 100,000 values; shorten the file"),
        ("a: 1\nb: x\0y\n", 2, "the character '\\x00' is not allowed"),
        ('a: "x\\0y"\n', 1, "text with a line break or control character ('\\x00'); remove it"),
        ('a: "\\ud800"\n', 1, "text with a line break or control character"),
        ("a: |\n  x\n  y\n", 1, "text with a line break or control character"),
        ("a: x\u0085b: y\n", 1, "the character '\\x85' is not allowed"),
        ("base:\n\tlr: 1\n", 2, "a tab; indent with spaces"),
        ("a: {x: 1, y: 2,\n x: 3}\n", 2, "key 'x' is given twice; remove one"),
        ("a: &a {x: 1}\nb:\n  <<: *a\n  <<: *a\n", 4, "key '<<' is given twice; write `<<: [*a, *b]`"),
        ("a: {<<: [3]}\n", 1, "`<<:` takes an alias of a map, or a list of such aliases"),
        ("a: <<\n", 1, "'<<' has a special meaning in YAML; put text in quotes"),
        ("1.5: 2\n", 1, "'1.5' cannot be a key"),
        ("true: 2\n", 1, "'true' cannot be a key"),
        ("3: 2\n'3': 2\n", 2, "key '3' is given twice; remove one"),
        ("? [a]\n: 2\n", 1, "a list or map cannot be a key"),
        (f"? {'k' * 200}\n: 2\n", 1, "cannot be a key; keys are strings of at most 100 characters"),
        ("a: !!python/name:os.system x\n", 1, "the tag 'tag:yaml.org,2002:python/name:os.system' is not supported"),
        ("a: !!set {x}\n", 1, "the tag 'tag:yaml.org,2002:set' is not supported; leave it out"),
        ("a: !!int x\n", 1, "'x' is not a YAML int; put text in quotes"),
        ("%YAML 1.1\n---\na: 1\n", None, "%YAML 1.1: files are read as YAML 1.2; remove this line"),
        ("a: 1\n---\nb: 1\n", 2, "expected a single document in the stream, but found another document"),
        ("a: &x 1\nb: &x 2\n", 2, "found duplicate anchor 'x'"),
        ("a: *x\n", 1, "found undefined alias 'x'"),
    ],
)
def test_what_is_not_readable_is_refused_with_its_line(tmp_path, refused, content, line, words):
    path = tmp_path / "params.yaml"
    path.write_text(content)
    said = refused(yaml_file.read_yaml, path)
    where = f"{path}, line {line}" if line else f"{path}"
    assert said.startswith(f"{where}: not readable as YAML: ") and words in said


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a: 1\n" * 200_001, ": 1,000,005 bytes; at most 1,000,000 are read"),
        (b"a: 1\nb: \xff\xfe\n", ", line 2: not UTF-8 text; save the file as UTF-8"),
        ("runs: []\n".encode("utf-16"), ", line 1: not UTF-8 text; save the file as UTF-8"),
        (b"text\n", ": expected a map of keys and values, got str"),
        (b"- a\n", ": expected a map of keys and values, got list"),
    ],
)
def test_what_is_not_a_map_in_utf_8_is_refused(tmp_path, refused, content, words):
    (tmp_path / "params.yaml").write_bytes(content)
    assert refused(yaml_file.read_yaml, tmp_path / "params.yaml") == f"{tmp_path / 'params.yaml'}{words}"


def test_what_is_not_a_file_is_refused(tmp_path, refused):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "device").symlink_to("/dev/zero")
    for name, words in {
        "folder": "is a folder; a YAML file is needed",
        "pipe": "is not a regular file; a YAML file is needed",
        "device": "is not a regular file; a YAML file is needed",
        "loop": "Too many levels of symbolic links",
        "none": "No such file or directory",
        "n" * 300: "File name too long",
    }.items():
        assert refused(yaml_file.read_yaml, tmp_path / name) == f"{tmp_path / name}: {words}"
