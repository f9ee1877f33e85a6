"""The documentation names only files, tests, commands and options that exist."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

from dkd import cli
from pipeline import __main__ as workflow

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "data" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
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
        for verb, words in re.findall(rf"(?:`|\$ |^    ){program} ([a-z][a-z-]*)\b([^`\n]*)", text, re.M):
            assert verb in group.commands, f"{program} {verb}"
            options = {name for each in group.commands[verb].params for name in each.opts}
            used = set(re.findall(r"(?<!\S)--[a-z-]+", words.split("#")[0]))
            assert used <= options, f"{program} {verb}: {used - options}"
