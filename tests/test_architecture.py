"""What is kept apart stays apart. (The import order is checked by `lint-imports`.)"""

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


def test_the_workflow_knows_no_tensors():
    names = [name for name in modules() if name.startswith("pipeline") and ".stages." not in name]
    code = "import sys\nfor x in ('torch', 'timm', 'torchvision', 'accelerate'): sys.modules[x] = None\nimport "
    path = f"{ROOT}:{ROOT / 'src'}"
    subprocess.run([sys.executable, "-c", code + ", ".join(names)], check=True, env={"PYTHONPATH": path}, cwd=ROOT)


def test_the_science_needs_neither_the_workflow_nor_the_command_line():
    """`import dkd.training.loop` works where pydantic, typer, snakemake and dvc are not installed."""
    code = "import sys\nfor x in ('pydantic', 'typer', 'snakemake', 'dvc'): sys.modules[x] = None\nimport "
    names = "dkd.training.loop, dkd.evaluation, dkd.report.tables, dkd.data.shapes"
    subprocess.run([sys.executable, "-c", code + names], check=True, env={"PYTHONPATH": str(ROOT / "src")}, cwd=ROOT)
