"""The documentation names only what exists, and the presets hold the values that it gives."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

from dkd import cli
from dkd.config import read
from pipeline import __main__ as workflow

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "data/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
COMMANDS = {"dkd": get_command(cli.app), "python -m pipeline": get_command(workflow.app)}
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


@each_page
def test_links_lead_to_files(page):
    links = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text())
    missing = [link for link in links if not link.startswith("http") and not (page.parent / link).exists()]
    assert not missing


@each_page
def test_files_and_tests_exist(page):
    pattern = r"\b((?:src|pipeline|tests|docs|benchmarks)/[\w./-]*\w)(?:::(\w+))?"
    for path, test in re.findall(pattern, page.read_text()):
        # docs/how-to/add-a-method.md has the reader write this file.
        assert (ROOT / path).exists() or path == "src/dkd/methods/logit_mse.py", path
        assert not test or f"def {test}(" in (ROOT / path).read_text(), test


@each_page
def test_commands_and_options_exist(page):
    text = page.read_text().replace("\\\n", " ")
    for program, group in COMMANDS.items():
        call = rf"(?:`|\$ |^    )(?:\.venv/bin/)?{program} ([a-z][a-z-]*)\b([^`\n]*)"
        for verb, words in re.findall(call, text, re.M):
            assert verb in group.commands, f"{program} {verb}"
            options = {name for each in group.commands[verb].params for name in each.opts}
            used = set(re.findall(r"(?<!\S)--[a-z-]+", words.split("#")[0]))
            assert used <= options, f"{program} {verb}: {used - options}"


@pytest.mark.parametrize(
    ("name", "batch", "epochs", "lr", "pos_weight", "warmup", "memory"),
    [("voc2012", 32, 60, 0.001, (2, 1), 0, 100), ("ade20k", 24, 100, 0.0025, (35, 35), 0.2, 300)],
)
def test_presets_hold_the_published_recipes(name, batch, epochs, lr, pos_weight, warmup, memory):
    """The values of docs/method.md and docs/protocol.md."""
    sections = read.recipe(name, [])
    train, base, increment, methods = (sections[key] for key in ("train", "base", "increment", "methods"))
    assert (train.batch, train.crop, train.scale, train.flip) == (batch, 512, (0.5, 2), 0.5)
    assert (train.momentum, train.nesterov, train.power, train.warmup) == (0.9, True, 0.9, warmup)
    assert (train.void, train.precision) == ("negative", "fp16")
    assert (base.lr, increment.lr) == (lr, pytest.approx(lr / 10))
    assert (base.pos_weight, increment.pos_weight) == pos_weight
    assert all((phase.epochs, phase.head_lr, phase.weight_decay) == (epochs, 10, 1e-4) for phase in (base, increment))
    assert (methods.dkd.kd, methods.dkd.dkd, methods.dkd.ac, methods.dkd.start) == (5, 5, 1, "auxiliary")
    replay = getattr(methods, "dkd-m")
    assert (replay.memory, replay.confidence, replay.replay) == (memory, 0.9, "current")
