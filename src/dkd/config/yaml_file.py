"""Reads YAML as DVC does, which records the same files: scalars and merge keys of YAML 1.2, no other tags.

Refuses, with its line, what two readers can take for different values, and what is too large. Does not know what keys
mean.
"""

import re
import stat
from pathlib import Path
from typing import Any

import yaml

from dkd.errors import InputError

MOST_BYTES = 1_000_000
MOST_VALUES = 100_000
"""With every alias replaced by its content."""
MOST_LEVELS = 50
LONGEST_KEY = 100
TAG = "tag:yaml.org,2002:"
BREAKS = re.compile("[\x85\u2028\u2029]")
"""Line breaks of YAML 1.1 only, so that two readers can find different lines."""
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
WORDS = {"true": True, "false": False}
# How plain scalars are typed; the first match counts. The patterns of ruamel.yaml, which DVC uses, for YAML 1.2.
SCALARS = {
    "bool": ("true|True|TRUE|false|False|FALSE", "tTfF"),
    "float": (
        r"[-+]?[0-9][0-9_]*\.[0-9_]*([eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+"
        r"|[-+]?\.[0-9_]+([eE][-+][0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+0123456789.",
    ),
    "int": ("[-+]?(0b[0-1_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|[0-9_]+)", "-+0123456789"),
    "merge": ("<<", "<"),
    "null": ("~|null|Null|NULL|", ["~", "n", "N", ""]),
    "timestamp": (
        "[0-9]{4}-[0-9]{2}-[0-9]{2}"
        r"|[0-9]{4}-[0-9]{2}?-[0-9]{2}?([Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}(\.[0-9]*)?"
        r"([ \t]*(Z|[-+][0-9]{1,2}(:[0-9]{2})?))?",
        "0123456789",
    ),
    "value": ("=", "="),
}


class _Loader(yaml.SafeLoader):
    """Composes nodes, which `_Values` turns into values; PyYAML's own constructors follow YAML 1.1."""

    yaml_implicit_resolvers: dict = {}  # noqa: RUF012 - PyYAML's own name

    def __init__(self, text: str):
        super().__init__(text)
        self.levels = self.nodes = 0

    def compose_node(self, parent, index):
        """Refuse what is nested too deeply, or too long, while it is read."""
        self.levels += 1
        self.nodes += 1
        if self.levels > MOST_LEVELS:
            raise _fault(f"nested more than {MOST_LEVELS} levels deep", self.peek_event())
        if self.nodes > MOST_VALUES:
            raise _fault(f"more than {MOST_VALUES:,} values; shorten the file", self.peek_event())
        node = super().compose_node(parent, index)
        self.levels -= 1
        return node


for _name, (_pattern, _first) in SCALARS.items():
    _Loader.add_implicit_resolver(f"{TAG}{_name}", re.compile(f"^({_pattern})$"), list(_first))


def _fault(words: str, at: Any) -> yaml.MarkedYAMLError:
    """An error at a node or event."""
    return yaml.MarkedYAMLError(problem=words, problem_mark=at.start_mark)


class _Values:
    """Turns nodes into dicts, lists, text, numbers, bools and None."""

    def __init__(self):
        self.count = 0
        self.open: set[int] = set()

    def of(self, node: yaml.Node) -> Any:
        self.count += 1
        if self.count > MOST_VALUES:
            raise _fault(f"aliases make more than {MOST_VALUES:,} values; write fewer of them", node)
        if isinstance(node, yaml.ScalarNode):
            return _scalar(node)
        if id(node) in self.open:
            raise _fault("an alias inside the value that it refers to; write the value out", node)
        if len(self.open) >= MOST_LEVELS:
            raise _fault(f"aliases nest more than {MOST_LEVELS} levels deep", node)
        if node.tag not in (f"{TAG}map", f"{TAG}seq"):
            raise _fault(f"the tag {_shorten(node.tag)} is not supported; leave it out", node)
        self.open.add(id(node))
        value = self._map(node) if isinstance(node, yaml.MappingNode) else [self.of(each) for each in node.value]
        self.open.remove(id(node))
        return value

    def _map(self, node: yaml.MappingNode) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged = None
        for key_node, value_node in node.value:
            if key_node.tag == f"{TAG}merge":
                if merged is not None:
                    raise _fault("key '<<' is given twice; write `<<: [*a, *b]`", key_node)
                merged = self._merged(value_node)
                continue
            key = _scalar(key_node) if isinstance(key_node, yaml.ScalarNode) else None
            if type(key) is int:
                # A number of a step, or a class whose name is a number; on the command line it is text as well.
                key = str(key)
            if not isinstance(key, str) or len(key) > LONGEST_KEY:
                shown = _shorten(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "a list or map"
                raise _fault(f"{shown} cannot be a key; keys are strings of at most {LONGEST_KEY} characters", key_node)
            if key in own:
                raise _fault(f"key {key!r} is given twice; remove one", key_node)
            own[key] = self.of(value_node)
        return {**(merged or {}), **own}

    def _merged(self, node: yaml.Node) -> dict[str, Any]:
        """The values that `<<:` adds, of one map or of several; earlier maps take precedence."""
        maps = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[str, Any] = {}
        for each in maps:
            if not isinstance(each, yaml.MappingNode):
                raise _fault("`<<:` takes an alias of a map, or a list of such aliases", each)
            merged = {**self.of(each), **merged}
        return merged


def _scalar(node: yaml.ScalarNode) -> str | int | float | bool | None:
    text, kind = node.value, node.tag.removeprefix(TAG)
    if found := CONTROL.search(text):
        raise _fault(f"text with a line break or control character ({found[0]!r}); remove it", node)
    try:
        match kind:
            case "str":
                return text
            case "null":
                return None
            case "bool":
                return WORDS[text.lower()]
            case "float":
                plain = text.replace("_", "").lower()
                return float(plain.replace(".", "") if plain.endswith(("inf", "nan")) else plain)
            case "int":
                return _whole(text.replace("_", ""))
    except OverflowError:
        raise _fault(f"{_shorten(text)} is too large for an integer; at most 2^63 - 1", node) from None
    except (KeyError, ValueError):
        raise _fault(f"{_shorten(text)} is not a YAML {kind}; put text in quotes", node) from None
    if kind == "timestamp":
        raise _fault(f"{_shorten(text)} is a date in YAML; put it in quotes: '{text}'", node)
    if kind in ("merge", "value"):
        raise _fault(f"{_shorten(text)} has a special meaning in YAML; put text in quotes", node)
    raise _fault(f"the tag {_shorten(node.tag)} is not supported; leave it out", node)


def _whole(text: str) -> int:
    digits = text.lstrip("+-")
    base = {"0b": 2, "0o": 8, "0x": 16}.get(digits[:2], 10)
    if len(digits.lstrip("0")) > 2 + 64:
        raise OverflowError
    value = int(digits if base == 10 else digits[2:], base)
    if value >= 2**63:
        raise OverflowError
    return -value if text.startswith("-") else value


def _shorten(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}...")


def parse(text: str) -> Any:
    """The value of a YAML text; None if it holds none.

    Raises yaml.YAMLError; where the place is known a MarkedYAMLError, with `problem` and `problem_mark`.
    """
    if found := BREAKS.search(text):
        mark = yaml.Mark("", found.start(), text.count("\n", 0, found.start()), 0, None, None)
        raise yaml.MarkedYAMLError(problem=f"the character {found[0]!r} is not allowed", problem_mark=mark)
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if loader.yaml_version not in (None, (1, 2)):
            version = ".".join(map(str, loader.yaml_version))
            raise yaml.MarkedYAMLError(problem=f"%YAML {version}: files are read as YAML 1.2; remove this line")
        return None if node is None else _Values().of(node)
    finally:
        loader.dispose()


def read_yaml(path: Path) -> dict[str, Any]:
    """The map in a YAML file; {} if the file is empty. Values: dicts, lists, str, bools, None and numbers below 2^63.

    Raises InputError: one line with file and, where there is one, line.
    """
    try:
        # Before the file is opened: opening a pipe waits for a writer.
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            raise InputError(f"{path}: is a folder; a YAML file is needed")
        if not stat.S_ISREG(found.st_mode):
            raise InputError(f"{path}: is not a regular file; a YAML file is needed")
        if found.st_size > MOST_BYTES:
            raise InputError(f"{path}: {found.st_size:,} bytes; at most {MOST_BYTES:,} are read")
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    try:
        text = content.decode("utf-8")
        value = parse(text)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}, line {line}: not UTF-8 text; save the file as UTF-8") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        words = f"the character {chr(error.character)!r} is not allowed"
        raise InputError(f"{path}, line {line}: not readable as YAML: {words}") from None
    except yaml.MarkedYAMLError as error:
        where = f"{path}, line {error.problem_mark.line + 1}" if error.problem_mark else f"{path}"
        raise InputError(f"{where}: not readable as YAML: {reason(error)}") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected a map of keys and values, got {type(value).__name__}")
    return value


def reason(error: yaml.MarkedYAMLError) -> str:
    """What is wrong, without the place."""
    words = str(error.problem)
    if words.startswith("found character '\\t'"):
        return "a tab; indent with spaces"
    if words == "second occurrence":
        return str(error.context).split(";")[0]
    return f"{error.context}, {words}" if words.startswith("but ") else words
