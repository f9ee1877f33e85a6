"""Reads the options and the head of every method from its file in src/dkd/methods, without importing it.

Does not know what an option does.
"""

import ast
import re
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, create_model

from dkd.config.base import Count, Fraction, Positive, Section, reason
from dkd.errors import InputError
from dkd.methods import BASES, REPLAY, method_name, module_name

FOLDER = Path(__file__).parents[1] / "methods"
BOUNDS = {"memory": Count, "confidence": Fraction, "lr_factor": Positive}
"""Types of options that are not the loss's; other numbers only have to be at least 0."""
PLAIN = {"OPTIONS": "{...}", "HEAD": '"..."'}
WORDS = {"OPTIONS": "a dict of plain values", "HEAD": "a word in quotes"}
"""How the two are written, for errors."""


@cache
def options() -> dict[str, dict[str, Any]]:
    """`OPTIONS` of every method by the method's name: {"kd": {"kd": 5.0, ...}, ...}.

    A tuple of strings is a choice whose first entry is the default; numbers are defaults and may not be negative.
    Raises InputError where a file cannot be understood.
    """
    return {method_name(path.stem): _read(path) for path in sorted(FOLDER.glob("[a-z]*.py"))}


@cache
def head(method: str) -> str:
    """`HEAD` of a method, `sigmoid` without it. Raises InputError where the file cannot be understood."""
    path = FOLDER / f"{module_name(method).rpartition('.')[2]}.py"
    found = _literal(path, "HEAD", "sigmoid")
    if found not in list(BASES):
        raise InputError(f"{path}: HEAD: expected {' or '.join(BASES)}, got {found!r}")
    return found


def section() -> type[Section]:
    """The section `methods` of params.yaml: a section of options per method.

    Empty where a file cannot be understood, so that a command which needs no options still works; `options` raises
    the error.
    """
    try:
        sections = {name: _section(name, values) for name, values in options().items()}
    except InputError:
        sections = {}
    return create_model("Methods", __base__=Section, **{name: (cls, cls()) for name, cls in sections.items()})


def _read(path: Path) -> dict[str, Any]:
    if not re.fullmatch("[a-z][A-Za-z0-9_]{0,59}", path.stem):
        raise InputError(f"{path}: the name of a method's file has at most 60 letters, digits and _; rename the file")
    found = _literal(path, "OPTIONS", {})
    if not isinstance(found, dict):
        raise InputError(f"{path}: OPTIONS: expected a dict of names and plain values, got {found!r}")
    for key, value in found.items():
        if not isinstance(key, str) or not key.isidentifier() or key.startswith("_") or hasattr(Section, key):
            raise InputError(f"{path}: OPTIONS: {key!r} cannot be the name of an option; choose another name")
        words = isinstance(value, tuple) and value and all(isinstance(word, str) for word in value)
        if not words and type(value) not in (bool, int, float, str):
            raise InputError(f"{path}: OPTIONS.{key}: expected a number, a string or a tuple of strings, got {value!r}")
    missing = [key for key in REPLAY if key not in found]
    if 0 < len(missing) < len(REPLAY):
        raise InputError(f"{path}: OPTIONS.{missing[0]}: missing; {', '.join(REPLAY)} go together")
    try:
        _section(path.stem, found)(**{key: _type_and_default(key, value)[1] for key, value in found.items()})
    except ValidationError as error:
        fault = error.errors()[0]
        raise InputError(f"{path}: OPTIONS.{fault['loc'][0]}: {reason(fault)}, got {fault['input']!r}") from None
    return found


def _literal(path: Path, name: str, value: Any) -> Any:
    """The value of the assignment to `name` in a file; `value` where there is none."""
    try:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            match node:
                case (
                    ast.Assign(targets=[ast.Name(found)], value=given)
                    | ast.AnnAssign(target=ast.Name(found), value=ast.expr() as given)
                ) if found == name:
                    value = ast.literal_eval(given)
                case _ if _binds(node, name):
                    raise ValueError(f"line {node.lineno} is not a plain `{name} = {PLAIN[name]}`")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except SyntaxError as error:
        where = f"{path}, line {error.lineno}" if error.lineno else f"{path}"
        raise InputError(f"{where}: not readable as Python: {error.msg}") from None
    except (ValueError, TypeError, RecursionError) as error:
        fault = re.sub(r": <ast.*", "", str(error))
        raise InputError(f"{path}: {name} cannot be read ({fault}); write {WORDS[name]}") from None
    return value


def _binds(node: ast.AST, name: str) -> bool:
    """Whether a statement binds a name anywhere in it."""
    return any(
        (isinstance(each, ast.Name) and each.id == name and isinstance(each.ctx, ast.Store))
        or (isinstance(each, ast.alias) and (each.asname or each.name) == name)
        for each in ast.walk(node)
    )


def _type_and_default(key: str, value: Any) -> tuple[Any, Any]:
    if key in BOUNDS:
        return BOUNDS[key], value
    if isinstance(value, tuple):
        return Literal[value], value[0]
    return Annotated[type(value), Field(ge=0)] if type(value) in (int, float) else type(value), value


def _section(name: str, values: dict[str, Any]) -> type[Section]:
    fields = {key: _type_and_default(key, value) for key, value in values.items()}
    return create_model(name, __base__=Section, **fields)
