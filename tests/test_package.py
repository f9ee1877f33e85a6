"""What `import dkd` offers, and that it costs nothing until it is used."""

import ast
import doctest
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dkd
from dkd.data import shapes
from tests.dkd.use.conftest import save

ROOT = Path(__file__).parents[1]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The files that docs/python.md names."""
    save(tmp_path / "checkpoint", (3, 1, 6), (2, 1))
    pixels = np.random.default_rng(3).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    pixels[0, 0], pixels[0, 1] = 0, 255
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    shapes.draw(tmp_path / "data", seed=0, size=32, train=2, val=8, objects=(3, 5))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_page_on_python_is_true(place):
    failed, tried = doctest.testfile(str(ROOT / "docs" / "python.md"), module_relative=False)
    assert tried > 15 and not failed
    assert (place / "overlay.png").stat().st_size


def test_names_and_types_agree():
    stub = ast.parse((ROOT / "src" / "dkd" / "__init__.pyi").read_text())
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    typed = {alias.asname: node.module for node in imports for alias in node.names}
    assert sorted(typed) == dkd.__all__ and set(dkd.__all__) <= set(dir(dkd))
    assert {name: getattr(dkd, name).__module__ for name in dkd.__all__} == typed
    assert (ROOT / "src" / "dkd" / "py.typed").is_file()
    with pytest.raises(AttributeError, match="module 'dkd' has no attribute 'pretrain'"):
        _ = dkd.pretrain


def test_the_import_is_light_until_something_is_used():
    """No torch and no pydantic; modules below keep their names."""
    code = (
        "import sys, dkd\n"
        "assert not {'torch', 'numpy', 'pydantic', 'typer', 'dkd.api'} & sys.modules.keys()\n"
        "from dkd import errors, metrics\n"
        "assert dkd.errors is errors and 'dkd.api' not in sys.modules\n"
        "assert dkd.InputError is errors.InputError and callable(dkd.evaluate)\n"
        "import dkd.evaluation\n"
        "assert dkd.load.__module__ == 'dkd.api'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(ROOT / "src")}, cwd=ROOT)


@pytest.mark.slow
def test_the_wheel_is_whole_and_works_in_an_empty_environment(tmp_path):
    """Without the checkout: only the packages that dkd needs are those of this environment."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", tmp_path, source], check=True)
    [wheel] = tmp_path.glob("dkd-*.whl")
    held = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("dkd/")}
    ours = [path for path in (source / "src" / "dkd").rglob("*") if path.is_file()]
    assert held == {path.relative_to(source / "src").as_posix() for path in ours}
    assert {"dkd/py.typed", "dkd/presets/shapes.yaml", "dkd/report/assets/page.css"} <= held

    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "empty"], check=True)
    python = tmp_path / "empty" / "bin" / "python"
    subprocess.run([*pip, "--python", python, "install", "--no-deps", wheel], check=True)
    [packages] = (tmp_path / "empty").glob("lib/python*/site-packages")
    (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")

    shapes.draw(tmp_path / "data", seed=0, size=32, train=2, val=2, objects=(3, 5))
    save(tmp_path / "checkpoint", (1, 2, 3, 4), (4,))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    how = {"cwd": tmp_path, "env": environment, "stdout": subprocess.PIPE, "text": True}

    def call(*words):
        return subprocess.run([tmp_path / "empty" / "bin" / "dkd", *words], check=True, **how).stdout

    assert "predict" in call("--help")
    call("predict", "checkpoint", "data/images", "--out", "labelled", "--device", "cpu")
    assert len(list((tmp_path / "labelled" / "masks").iterdir())) == 4
    call("index", "data", "--out", "index.csv", "--name", "shapes")
    call("split", "index.csv", "--scenario", "4-1", "--out", "tasks.json")
    files = ["--data", "data", "--index", "index.csv", "--tasks", "tasks.json"]
    call("evaluate", "checkpoint", *files, "--preset", "shapes", "--device", "cpu", "--out", "results")
    assert call("report", "results", "--tasks", "tasks.json", "--out", "report").startswith("run ")
    assert (tmp_path / "report" / "index.html").stat().st_size > 10_000
    code = "import dkd, dkd.api; print(dkd.__file__, dkd.load)"
    assert str(packages) in subprocess.run([python, "-c", code], check=True, **how).stdout
