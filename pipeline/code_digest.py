"""The digest of the code that a result follows from.

It covers the syntax tree of every module that the entry modules import, directly or not, from `dkd` and `pipeline`.
Comments, docstrings, layout, and the words of errors (`raise InputError(...)`) and of logs (`log.info(...)`) are no
part of it. Other libraries are not read (their versions are recorded in provenance), nor are files that code opens.
Knows nothing of nodes, rules or params.
"""

import ast
import hashlib
import json
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from dkd.errors import InputError
from pipeline import ROOT

SOURCES = {"dkd": Path("src"), "pipeline": Path()}
LOG_CALLS = ("debug", "info", "warning", "error", "exception")


def digest(content: Any) -> str:
    """sha256 of the canonical JSON of `content`."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Code:
    """The modules of one checkout as they lie on disk now; each is read once per instance."""

    def __init__(self, root: Path = ROOT):
        self.root = root
        self._modules: dict[str, _Module] = {}

    def closure(self, entries: Iterable[str]) -> dict[str, str]:
        """Module -> digest of its meaning, for `entries` and all that they import.

        Raises InputError where a module does not parse or an import within `dkd` and `pipeline` leads nowhere.
        """
        found: dict[str, str] = {}
        todo = [part for entry in entries for part in _with_parents(entry)]
        while todo:
            name = todo.pop()
            if name not in found:
                module = self._module(name)
                found[name] = module.digest
                todo += self._imports(module)
        return dict(sorted(found.items()))

    def definitions(self, modules: Iterable[str]) -> dict[str, dict[str, str]]:
        """Module -> names that it defines at its top level -> the first digits of the digest of what each means."""
        return {name: _definitions(self._module(name).tree) for name in modules}

    def _path(self, name: str) -> Path | None:
        top, *_ = parts = name.split(".")
        stem = self.root / SOURCES[top] / Path(*parts)
        if (stem / "__init__.py").is_file() or stem.is_dir():
            return stem / "__init__.py"
        return file if (file := stem.with_name(f"{stem.name}.py")).is_file() else None

    def _module(self, name: str) -> "_Module":
        if name not in self._modules:
            path = self._path(name)
            if path is None:
                raise InputError(f"module {name} does not exist in this checkout")
            # A folder without __init__.py is a package all the same, one that says nothing.
            source = path.read_bytes() if path.is_file() else b""
            try:
                tree, meaning = _parsed(source)
            except (SyntaxError, ValueError) as error:
                raise InputError(f"{path}, line {getattr(error, 'lineno', '?')}: {error.args[0]}") from None
            self._modules[name] = _Module(name, path, tree, meaning)
        return self._modules[name]

    def _imports(self, module: "_Module") -> Iterator[str]:
        for node in _import_statements(module.tree):
            where = f"{module.path}, line {node.lineno}"
            if isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name.split(".")[0] in SOURCES:
                        yield from self._existing(alias.name, where)
            else:
                base = _absolute(node, module, where)
                if base.split(".")[0] in SOURCES:
                    yield from self._existing(base, where)
                    yield from self._members(base, [alias.name for alias in node.names], where)

    def _existing(self, name: str, where: str) -> list[str]:
        if self._path(name) is None:
            raise InputError(f"{where}: imports {name}, which does not exist in this checkout")
        return _with_parents(name)

    def _members(self, base: str, names: list[str], where: str) -> Iterator[str]:
        """Of the names imported from `base`, those that are modules; the others must be bound in `base`."""
        for name in names:
            if self._path(f"{base}.{name}"):
                yield f"{base}.{name}"
            elif name != "*" and not {name, "*", "__getattr__"} & _bound(self._module(base).tree):
                raise InputError(f"{where}: imports {name} from {base}, which has no such name")


class _Module(NamedTuple):
    name: str
    path: Path
    tree: ast.Module
    digest: str


@cache
def _parsed(source: bytes) -> tuple[ast.Module, str]:
    tree = ast.parse(source)
    return tree, hashlib.sha256(_meaning(tree).encode()).hexdigest()


@cache
def _import_statements(tree: ast.Module) -> list[ast.Import | ast.ImportFrom]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]


@cache
def _definitions(tree: ast.Module) -> dict[str, str]:
    meanings: dict[str, list[str]] = {}
    for node in tree.body:
        if not _is_idle(node):
            meanings.setdefault(_title(node), []).append(_meaning(node))
    return {title: digest(words)[:8] for title, words in meanings.items()}


def _title(node: ast.stmt) -> str:
    """What people call a statement at the top level of a module."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return node.name
    if isinstance(node, ast.Import | ast.ImportFrom):
        return "(imports)"
    if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        return ", ".join(ast.unparse(target) for target in getattr(node, "targets", None) or [node.target])
    return "(statements)"


def _with_parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts) + 1)]


def _absolute(node: ast.ImportFrom, module: _Module, where: str) -> str:
    if not node.level:
        return node.module or ""
    package = module.name.split(".")
    climb = node.level - (module.path.name == "__init__.py")
    if climb >= len(package):
        raise InputError(f"{where}: relative import leads out of {package[0]}")
    return ".".join([*package[: len(package) - climb], *([node.module] if node.module else [])])


@cache
def _bound(tree: ast.Module) -> set[str]:
    """The names that a module could have: bound anywhere in it; with "*" or "__getattr__" it could have any."""
    bound = {"__doc__", "__file__", "__name__", "__path__", "__spec__"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            bound |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
    return bound


def _meaning(node: Any) -> str:
    """A syntax tree in words that stay the same from one Python version to the next (those of ast.dump do not)."""
    if isinstance(node, list):
        return f"[{','.join(_meaning(child) for child in node if not _is_idle(child))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = []
    ignored = {"kind", "type_params", *(("args", "keywords") if _is_message(node) else ())}
    for name, value in sorted(ast.iter_fields(node)):
        if value is None or name in ignored:
            continue
        if isinstance(node, ast.JoinedStr):
            # Python 3.12 ends nested format specifications with an empty string, others do not.
            value = [part for part in value if not (isinstance(part, ast.Constant) and part.value == "")]
        words = _meaning(value)
        if words != "[]":
            fields.append(f"{name}={words}")
    return f"{type(node).__name__}({','.join(fields)})"


def _is_message(node: ast.AST) -> bool:
    """Whether a node is a call whose arguments are words for people: `InputError(...)` or `log.info(...)`."""
    match node:
        case ast.Call(func=ast.Name("InputError") | ast.Attribute(attr="InputError")):
            return True
        case ast.Call(func=ast.Attribute(value=ast.Name("log"), attr=name)):
            return name in LOG_CALLS
    return False


def _is_idle(node: Any) -> bool:
    """Whether a statement does nothing: `pass`, or a bare string such as a docstring."""
    bare = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    return bare or isinstance(node, ast.Pass)
