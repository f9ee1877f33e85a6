"""The digest of the code that a result follows from.

It covers the syntax tree of every module that the entry modules import, directly or not, from `dkd` and `pipeline`,
without comments, docstrings, layout, and the words of errors (`raise InputError(...)`) and logs (`log.info(...)`).
Other libraries are not read (their versions are recorded in provenance), nor are files that code opens.
"""

import ast
import hashlib
import json
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import resolve_name
from pathlib import Path
from typing import Any

from dkd.errors import InputError

SOURCES = {"dkd": Path("src"), "pipeline": Path()}


def digest(content: Any) -> str:
    """sha256 of the canonical JSON of `content`."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


class Code:
    """The modules of one checkout as they are on disk when they are first read."""

    def __init__(self, root: Path):
        self.root = root
        self._module = cache(self._read)

    def closure(self, entries: Iterable[str]) -> dict[str, str]:
        """Module -> digest of its meaning, for `entries` and what they import. InputError where that can't be read."""
        found: dict[str, str] = {}
        todo = list(entries)
        while todo:
            if (name := todo.pop()) not in found:
                found[name], _ = self._module(name)
                todo += [*self._imports(name), *([name.rpartition(".")[0]] if "." in name else [])]
        return dict(sorted(found.items()))

    def _path(self, name: str) -> Path | None:
        """Where a module lies. A folder without __init__.py is a package all the same, one that says nothing."""
        stem = self.root / SOURCES[name.split(".")[0]] / Path(*name.split("."))
        file = stem.with_name(f"{stem.name}.py")
        return stem / "__init__.py" if stem.is_dir() else file if file.is_file() else None

    def _read(self, name: str) -> tuple[str, list]:
        if (path := self._path(name)) is None:
            raise InputError(f"module {name} does not exist in this checkout")
        try:
            return _parsed(path.read_bytes() if path.is_file() else b"")
        except (SyntaxError, ValueError) as error:
            raise InputError(f"{path}, line {getattr(error, 'lineno', '?')}: {error.args[0]}") from None

    def _imports(self, importer: str) -> Iterator[str]:
        path = self._path(importer)
        package = importer if path.name == "__init__.py" else importer.rpartition(".")[0]
        for node in self._module(importer)[1]:
            where = f"{path}, line {node.lineno}"
            for alias in node.names:
                module, name = alias.name, ""
                if isinstance(node, ast.ImportFrom):
                    try:
                        module, name = resolve_name("." * node.level + (node.module or ""), package), alias.name
                    except ImportError:
                        raise InputError(f"{where}: relative import leads out of {package.split('.')[0]}") from None
                if module.split(".")[0] not in SOURCES:
                    continue
                if self._path(module) is None:
                    raise InputError(f"{where}: imports {module}, which does not exist in this checkout")
                yield module
                if name and self._path(f"{module}.{name}"):
                    yield f"{module}.{name}"


@cache
def _parsed(source: bytes) -> tuple[str, list[ast.Import | ast.ImportFrom]]:
    """The digest of what a module means, and its import statements."""
    tree = ast.parse(source)
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    return hashlib.sha256(_meaning(tree).encode()).hexdigest(), imports


def _meaning(node: Any) -> str:
    """A syntax tree in words that stay the same from one Python version to the next (those of ast.dump do not)."""
    if isinstance(node, list):
        return f"[{','.join(_meaning(child) for child in node if not _is_idle(child))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = []
    ignored = ("kind", "type_params", *(("args", "keywords") if _is_message(node) else ()))
    for name, value in sorted(ast.iter_fields(node)):
        if isinstance(node, ast.JoinedStr):
            # Python 3.12 ends nested format specifications with an empty string, others do not.
            value = [part for part in value if not (isinstance(part, ast.Constant) and part.value == "")]
        if value is not None and name not in ignored and (words := _meaning(value)) != "[]":
            fields.append(f"{name}={words}")
    return f"{type(node).__name__}({','.join(fields)})"


def _is_message(node: ast.AST) -> bool:
    """Whether a node is a call whose arguments are words for people: `InputError(...)` or `log.info(...)`."""
    match node:
        case ast.Call(func=ast.Name("InputError") | ast.Attribute(attr="InputError")):
            return True
        case ast.Call(func=ast.Attribute(value=ast.Name("log"), attr=name)):
            return name in ("debug", "info", "warning", "error", "exception")
    return False


def _is_idle(node: Any) -> bool:
    """Whether a statement does nothing: `pass`, or a bare string such as a docstring."""
    match node:
        case ast.Pass() | ast.Expr(ast.Constant(str())):
            return True
    return False
