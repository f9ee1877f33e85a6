import ast
import shutil
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from dkd.errors import InputError
from pipeline import ROOT, code_digest
from pipeline import plan as plans

SYNTAX = '''
@d
async def f(a, /, b: int = 1, *args, c, d=None, **kw) -> "x":
    """doc"""
    async with a as b, c: pass
    async for i in x: await y
    return f"{a!r:>{b}} {c=} {'x'}" f"tail" "more" rf"\\\\d{a}"
class A(B, metaclass=M):
    x: int
    y: int = 1
    def g(self): ...
match v:
    case {"a": [1, *rest], **kw} if kw: pass
    case A(x=1) | None | -1: pass
    case _: pass
try: pass
except* (A, B) as e: raise X from e
else: pass
finally: del a[1:2, ::3]
z = [*a, {**b}, lambda *, k=1: (yield k), {i: j for i in a if i}, (n := 1), u"u", b"b", 1j, ..., 1e-3, 10**20, True]
a.b[c] += not d if e else f < g <= h is not i
global q
with (open(a) as f, open(b) as g): assert a, "m"
for x in y: break
else: continue
'''


def meaning(source):
    return code_digest._meaning(ast.parse(source))


@pytest.fixture
def checkout(tmp_path):
    """Write modules into a checkout of their own; returns the closure of an entry in it."""

    def write(modules, *entries):
        for name, source in {"src/dkd/__init__.py": "", "pipeline/__init__.py": "", **modules}.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(source)
        return code_digest.Code(tmp_path).closure(entries)

    return write


def test_syntax_means_the_same_to_every_python():
    # The value was the same under Python 3.11, 3.12 and 3.13 when this was written.
    assert code_digest.digest(meaning(SYNTAX))[:16] == "b46eb54ff0e75849"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x = 1", "x = 1  # why"),
        ("x = (1,\n  2)", "x = 1, 2"),
        ("def f():\n  'says'\n  return 1", "def f():\n\n  return 1"),
        ("'says'\nx = 1", "'says more'\nx = 1"),
        ("class A:\n  x: int\n  'of x'", "class A:\n  x: int"),
        ("class A: pass", "class A:\n  'says'"),
        ("x = 'a'", 'x = "a"'),
        ("x = 'ab'", "x = 'a' 'b'"),
        ("x = u'a'", "x = 'a'"),
    ],
)
def test_comments_docstrings_and_layout_mean_nothing(one, other):
    assert meaning(one) == meaning(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("raise InputError('a')", "raise InputError(f'b {c}', d)"),
        ("raise InputError('a') from None", "raise InputError() from None"),
        ("return_ = InputError('a')", "return_ = InputError(message=b)"),
        ("raise errors.InputError('a')", "raise errors.InputError('b')"),
        ("log.info('a')", "log.info('b %s', c)"),
        ("log.debug('a')", "log.debug('b')"),
        ("log.warning('a')", "log.warning('b')"),
        ("log.error('a')", "log.error('b', exc_info=c)"),
        ("log.exception('a')", "log.exception('b')"),
    ],
)
def test_words_of_errors_and_of_logs_mean_nothing(one, other):
    assert meaning(one) == meaning(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("raise InputError('a')", "raise ValueError('a')"),
        ("raise InputError('a')", "raise"),
        ("raise InputError('a')", "pass"),
        ("raise InputError('a') from None", "raise InputError('a') from b"),
        ("raise InputError('a')", "InputError('a')"),
        ("if a > 1: raise InputError('a')", "if a > 2: raise InputError('a')"),
        ("raise ValueError('a')", "raise ValueError('b')"),
        ("log.info('a')", "log.warning('a')"),
        ("log.info('a')", "pass"),
        ("log.log(1, 'a')", "log.log(1, 'b')"),
        ("log(a)", "log(b)"),
        ("math.log(a)", "math.log(b)"),
        ("x.log.info(a)", "x.log.info(b)"),
        ("other.info(a)", "other.info(b)"),
        ("class InputError(A): x = 1", "class InputError(A): x = 2"),
    ],
)
def test_which_error_is_raised_and_when_means_something(one, other):
    assert meaning(one) != meaning(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x = 1", "x = 2"),
        ("x = 1", "x = 1.0"),
        ("x = 1", "x = True"),
        ("x = 'a'", "x = b'a'"),
        ("x = a - b", "x = a + b"),
        ("x = f(a)", "x = f(a, b=None)"),
        ("def f(*, a, b=1): ...", "def f(*, a=1, b): ..."),
        ("x = {**a, 'b': 1}", "x = {'b': 1, **a}"),
        ("def f(): return", "def f(): return None"),
        ("x = ['', a]", "x = [a]"),
        ("if a: x = 1", "if a: pass\nelse: x = 1"),
        ("x = f'{a}'", "x = f'{a!r}'"),
    ],
)
def test_other_edits_mean_something(one, other):
    assert meaning(one) != meaning(other)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import dkd.b", {"dkd.b"}),
        ("import dkd.sub.c as c", {"dkd.sub", "dkd.sub.c"}),
        ("import os, dkd.b", {"dkd.b"}),
        ("from dkd import b", {"dkd.b"}),
        ("from dkd import b as x, sub", {"dkd.b", "dkd.sub"}),
        ("from dkd.b import NAME", {"dkd.b"}),
        ("from dkd.b import *", {"dkd.b"}),
        ("from dkd.sub import c", {"dkd.sub", "dkd.sub.c"}),
        ("from dkd.sub.c import f", {"dkd.sub", "dkd.sub.c"}),
        ("from dkd.sub import BOUND", {"dkd.sub"}),
        ("from . import b", {"dkd.b"}),
        ("from .sub import c", {"dkd.sub", "dkd.sub.c"}),
        ("from .b import NAME", {"dkd.b"}),
        ("def f():\n  from dkd import b", {"dkd.b"}),
        ("if x:\n  import dkd.b\nelse:\n  from . import sub", {"dkd.b", "dkd.sub"}),
        ("from dkd.up import b", {"dkd.up", "dkd.b"}),
        ("from dkd.sub.deep import c", {"dkd.sub", "dkd.sub.deep", "dkd.sub.c"}),
        ("from dkd.loose import e", {"dkd.loose", "dkd.loose.e"}),
        ("import pipeline.stages.x", {"pipeline", "pipeline.stages", "pipeline.stages.x"}),
        ("import dkdother, numpy.linalg\nfrom dk import d", set()),
        ("import_module('dkd.b')", set()),
    ],
)
def test_closure_follows_every_form_of_import(checkout, source, expected):
    modules = {
        "src/dkd/a.py": source,
        "src/dkd/b.py": "NAME = 1",
        "src/dkd/unused.py": "",
        "src/dkd/up.py": "from dkd import b",
        "src/dkd/sub/__init__.py": "BOUND = 1",
        "src/dkd/sub/c.py": "def f(): ...",
        "src/dkd/sub/deep/__init__.py": "from .. import c",
        "src/dkd/loose/e.py": "",
        "pipeline/stages/__init__.py": "",
        "pipeline/stages/x.py": "",
    }
    assert set(checkout(modules, "dkd.a")) == {"dkd", "dkd.a"} | expected


def test_closure_ends_where_imports_go_round(checkout):
    modules = {"src/dkd/a.py": "from dkd import b", "src/dkd/b.py": "from dkd import a"}
    assert set(checkout(modules, "dkd.a")) == {"dkd", "dkd.a", "dkd.b"}


def test_an_edit_shows_in_its_module_alone(checkout):
    before = checkout({"src/dkd/a.py": "from dkd import b", "src/dkd/b.py": "x = 1"}, "dkd.a")
    after = checkout({"src/dkd/a.py": "# says\nfrom dkd import b", "src/dkd/b.py": "x = 2"}, "dkd.a")
    assert {name for name in before if before[name] != after[name]} == {"dkd.b"}


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import dkd.gone", "line 1: imports dkd.gone, which does not exist"),
        ("x = 1\nfrom dkd.gone import x", "line 2: imports dkd.gone"),
        ("from ... import b", "leads out of dkd"),
        ("x = (", "line 1"),
    ],
)
def test_what_cannot_be_followed_is_named(checkout, source, words):
    with pytest.raises(InputError, match=words):
        checkout({"src/dkd/a.py": source, "src/dkd/b.py": ""}, "dkd.a")


def test_a_missing_entry_is_named(checkout):
    with pytest.raises(InputError, match=r"module dkd\.gone does not exist"):
        checkout({}, "dkd.gone")


FORMS = (
    "import {name}",
    "import os, {name} as other",
    "from {package} import {last}",
    "def f():\n    from {package} import {last} as other",
    "try:\n    import {name}\nexcept ImportError:\n    pass",
    "class K:\n    def g(self):\n        from {name} import VALUE",
    "if True:\n    from {name} import *",
)
NAMES = ("dkd.a", "dkd.b", "dkd.p", "dkd.p.a", "dkd.p.b", "dkd.q.a", "pipeline.a", "pipeline.p.b")


@settings(max_examples=60, deadline=None)
@given(
    edges=some.lists(some.tuples(some.sampled_from(NAMES), some.sampled_from(NAMES), some.sampled_from(FORMS))),
    entry=some.sampled_from(NAMES),
    edited=some.sampled_from(NAMES),
)
def test_an_edit_changes_the_key_of_what_reaches_it_and_of_nothing_else(tmp_path_factory, edges, entry, edited):
    """Any graph of imports, in any form: reachability by hand is the closure, and the digest follows it."""
    root = tmp_path_factory.mktemp("checkout")
    sources, imports = {name: ["VALUE = 1"] for name in NAMES}, defaultdict(set)
    for source, target, form in edges:
        package, _, last = target.rpartition(".")
        sources[source].append(form.format(name=target, package=package, last=last))
        imports[source].add(target)
    paths = {}
    for name, lines in sources.items():
        stem = root / code_digest.SOURCES[name.split(".")[0]] / name.replace(".", "/")
        paths[name] = stem / "__init__.py" if name == "dkd.p" else stem.with_name(f"{stem.name}.py")
        paths[name].parent.mkdir(parents=True, exist_ok=True)
        paths[name].write_text("\n".join(lines))
    reached, todo = set(), [entry]
    while todo:
        if (name := todo.pop()) and name not in reached:
            reached.add(name)
            todo += [name.rpartition(".")[0], *imports[name]]
    before = code_digest.Code(root).closure([entry])
    assert set(before) == reached
    paths[edited].write_text(f'"Says."\n# more\n{paths[edited].read_text()}\n\n')
    assert code_digest.Code(root).closure([entry]) == before
    paths[edited].write_text(paths[edited].read_text().replace("VALUE = 1", "VALUE = 2"))
    after = code_digest.Code(root).closure([entry])
    assert {name for name in reached if before[name] != after[name]} == {edited} & reached


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    """A copy of the project's code; every kind of node that its plans have, and the modules that each reaches."""
    root = tmp_path_factory.mktemp("project")
    for top in ("src", "pipeline"):
        shutil.copytree(ROOT / top, root / top, ignore=shutil.ignore_patterns("__pycache__"))
    code = code_digest.Code(root)
    methods = [path.stem for path in (root / "src/dkd/methods").glob("[a-z]*.py")]
    kinds = [(path.stem, None) for path in (root / "pipeline/stages").glob("[a-z]*.py") if path.stem != "increment"]
    kinds += [("increment", method) for method in methods]
    reached = {kind: code.closure(plans.entries(kind[0], {"method": kind[1]})) for kind in kinds}
    return root, reached, sorted([*(root / "src/dkd").rglob("*.py"), *(root / "pipeline").rglob("*.py")])


def variants(tree):
    """Places in a syntax tree where one edit makes it mean something else; the words of messages mean nothing."""
    yield tree, "body", [*tree.body, *ast.parse("EDITED = 1").body]
    messages = [node for node in ast.walk(tree) if code_digest._is_message(node)]
    words = {id(each) for node in messages for given in (*node.args, *node.keywords) for each in ast.walk(given)}
    for node in ast.walk(tree):
        if id(node) in words:
            continue
        if isinstance(node, ast.Constant) and type(node.value) in (int, float):
            yield node, "value", node.value + 1
        elif isinstance(node, ast.BinOp):
            yield node, "op", ast.Add() if isinstance(node.op, ast.Mult) else ast.Mult()
        elif isinstance(node, ast.Compare):
            yield node, "ops", [ast.In() if isinstance(node.ops[0], ast.Is) else ast.Is(), *node.ops[1:]]
        elif isinstance(node, ast.Return) and node.value is not None:
            yield node, "value", ast.Tuple([node.value], ast.Load())
        elif isinstance(node, ast.FunctionDef):
            yield node, "body", [*node.body, ast.Raise()]


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(data=some.data())
def test_an_edit_anywhere_in_the_project_changes_the_nodes_that_run_it_and_no_others(project, data):
    root, reached, paths = project
    path = data.draw(some.sampled_from(paths))
    parts = path.relative_to(root).with_suffix("").parts
    parts = parts[1:] if parts[0] == "src" else parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    source = path.read_text()
    tree = ast.parse(source)
    node, field, value = data.draw(some.sampled_from(list(variants(tree))))
    setattr(node, field, value)
    try:
        for text, edited in ((ast.unparse(ast.parse(source)), set()), (ast.unparse(tree), {name})):
            path.write_text(f"# said differently\n{text}")
            code = code_digest.Code(root)
            for (rule, method), before in reached.items():
                after = code.closure(plans.entries(rule, {"method": method}))
                assert {each for each in before if before[each] != after[each]} == edited & before.keys()
    finally:
        path.write_text(source)


def test_code_is_that_of_the_disk_now(checkout, tmp_path):
    modules = {"src/dkd/a.py": "X = 1", "src/dkd/b.py": "X = 1"}
    checkout(modules, "dkd.a")
    code = code_digest.Code(tmp_path)
    before = code.closure(["dkd.a"])
    (tmp_path / "src/dkd/a.py").write_text("X = 2")
    assert code.closure(["dkd.a"]) == before, "one instance reads each module once"
    assert code_digest.Code(tmp_path).closure(["dkd.a"]) != before
