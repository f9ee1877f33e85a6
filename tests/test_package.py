"""What `import dkd` offers, and that it costs nothing until it is used."""

import ast
import doctest
import subprocess
import sys
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
