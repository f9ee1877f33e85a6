"""Looking changes nothing, whatever is missing, damaged or left over; and needs no right to write."""

import hashlib
import json
import shutil

import pytest

from .conftest import NOTHING, results, steps

LOOKING = [
    *(["-n"], ["-n", "evaluate_all"], ["-n", "-F"], ["--lint"]),
    *(["--dag"], ["--rulegraph"], ["--filegraph"], ["--summary"], ["--detailed-summary"]),
    *(["--list-rules"], ["--list-target-rules"], ["--list-untracked"], ["--list-changes", "params"], ["--unlock"]),
]
OWN = {".snakemake", "__pycache__"}


def listing(root):
    """Size, time and content of every file under a folder, but for what Snakemake and Python keep for themselves."""
    found = {}
    for path in root.rglob("*"):
        if not OWN.intersection(path.relative_to(root).parts):
            state = path.lstat()
            content = path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest()
            found[path.relative_to(root)] = (state.st_size, state.st_mtime_ns, content) if content else None
    return found


def cut(path):
    path.unlink()
    path.write_bytes(b"x")


@pytest.fixture
def battered(finished):
    """One index missing, one checkpoint cut short, and one node that no run asks for."""
    shutil.rmtree(finished.folder("data/index/shapes"))
    cut(finished.folder(steps(0)[0]) / "model.safetensors")
    spare = finished.folder(results(0)[1])
    shutil.copytree(spare, spare.with_name(f"dkd-s0-{'0' * 12}"))
    return finished


@pytest.mark.slow
@pytest.mark.parametrize("writable", [True, False], ids=["writable", "read-only"])
def test_looking_changes_nothing(battered, writable, unprivileged, tmp_path):
    commands = LOOKING
    if not writable:
        commands = LOOKING[:2] + LOOKING[3:5] + LOOKING[7:8] + LOOKING[9:10]
        battered.prefix = unprivileged
        battered.call("chmod", "-R", "a-w", ".")
        battered.call("test", "!", "-w", "Snakefile")
    before = listing(battered.path)
    for command in commands:
        assert "Traceback" not in battered.snakemake(*command)
    battered.snakemake("--report", str(tmp_path / "report.html"))
    assert (tmp_path / "report.html").exists()
    lines = battered.pipeline("status").splitlines()
    assert sum(line.startswith("missing  data/index/shapes-") for line in lines) == 1
    assert sum(line.startswith(f"damaged  {steps(0)[0]}-") for line in lines) == 1
    assert json.loads(battered.pipeline("status", "--json"))
    after = listing(battered.path)
    battered.call("chmod", "-R", "u+w", ".")
    assert {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)} == set()
    assert battered.ran() == []


@pytest.mark.slow
def test_results_that_were_pulled_alone_are_kept(finished, tmp_path):
    finished.dvc("remote", "add", "-d", "store", str(tmp_path / "store"))
    finished.dvc("push", "evaluate")
    finished.commit("remote")
    clone = finished.clone(tmp_path / "clone")
    clone.dvc("pull", "evaluate")
    before = listing(clone.path / "results")
    assert len(before) > 9
    for arguments in (["-n", "evaluate_all"], ["-n"], ["evaluate_all"]):
        output = clone.snakemake(*arguments)
        if "evaluate_all" in arguments:
            assert NOTHING in output
    assert listing(clone.path / "results") == before
    assert clone.ran() == []


@pytest.mark.slow
def test_snakemakes_own_report_is_one_file_that_needs_no_network(finished):
    finished.snakemake("--report", "report.html")
    text = (finished.path / "report.html").read_text()
    assert all(
        f'"{category}"' in text for category in ("tables of all runs", "page of all results", "sample predictions")
    )
    assert "steps.csv" in text and "sheet.png" in text
    assert 'src="http' not in text and 'href="http' not in text


def test_snakemake_finds_nothing_to_lint(begun):
    assert "good condition" in begun.snakemake("--lint")
