"""The import order of docs/architecture.md holds, and what is kept apart stays apart."""

import ast
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def modules() -> dict[str, Path]:
    found = {}
    for base, top in ((ROOT / "src", "dkd"), (ROOT, "pipeline")):
        for path in sorted((base / top).rglob("*.py")):
            parts = path.relative_to(base).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(path: Path, known: dict[str, Path]) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            members = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = members & known.keys()
            names |= modules or {node.module}
    return names & known.keys()


def test_imports_follow_the_documented_order():
    text = (ROOT / "docs" / "architecture.md").read_text()
    lines = re.search(r"```imports\n(.*?)```", text, re.DOTALL)[1].splitlines()
    level = {name: number for number, line in enumerate(lines) for name in line.split()}
    known = modules()
    assert level.keys() == known.keys(), "every module has its place in the list, and nothing else"
    for name, path in known.items():
        wrong = {other for other in imported(path, known) if level[other] >= level[name]}
        assert not wrong, f"{name} imports {wrong}, which stand below or beside it"


def test_the_science_does_not_know_the_schema():
    known = modules()
    for name, path in known.items():
        if name.startswith("dkd.") and name not in ("dkd.cli", "dkd.config"):
            assert not imported(path, known) & {"dkd.config", "dkd.cli"}, name


def test_the_workflow_knows_no_tensors():
    names = [name for name in modules() if name.startswith("pipeline") and ".stages." not in name]
    code = "import sys\nfor x in ('torch', 'timm', 'torchvision', 'accelerate'): sys.modules[x] = None\nimport "
    path = f"{ROOT}:{ROOT / 'src'}"
    subprocess.run([sys.executable, "-c", code + ", ".join(names)], check=True, env={"PYTHONPATH": path}, cwd=ROOT)
