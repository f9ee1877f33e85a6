"""Experiments, raw data of one's own, and users with few rights."""

import json

import pytest

from .conftest import FROM_BASE, LATER, NOTHING, SUMMARY, bases


@pytest.mark.slow
def test_experiments_run_in_place_in_a_queue_and_elsewhere(finished):
    """`dvc exp run -S` and `--temp` from a shell that knows of no environment; `--queue`, whose worker needs one."""
    plain = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
    active = {"PATH": f"{finished.path}/.venv/bin:{plain['PATH']}"}
    assert "Ran experiment" in finished.dvc("exp", "run", "--temp", "-S", "report.decimals=3", **plain)
    assert finished.ran() == SUMMARY
    output = finished.dvc("exp", "run", "-n", "faster", "-S", "increment.lr=0.002", **plain)
    assert "faster" in output
    assert finished.ran() == sorted(LATER)
    finished.dvc("exp", "run", "--queue", "-n", "four", "-S", "report.decimals=4", **active)
    finished.dvc("exp", "run", "--run-all", **active)
    assert finished.ran() == SUMMARY
    [_, commit] = json.loads(finished.dvc("exp", "show", "--json"))
    found = {each["name"]: each["revs"][0]["data"] for each in commit["experiments"] if each["name"]}
    assert {"faster", "four"} < found.keys()
    assert found["faster"]["params"]["params.yaml"]["data"]["increment"] == {"lr": 0.002}
    assert found["four"]["metrics"]["metrics/headline.json"]["data"]["group"]["decimals"] == 4
    compared = json.loads(finished.pipeline("compare", "faster", "four", "--json"))
    assert compared["params"] == {"report.decimals": [1, 4]}
    assert compared["groups"]["group"]["all"]["difference"]["n"] == 1
    assert finished.pipeline("compare", "lost", expect=1).startswith("dkd: lost: neither a revision of git nor ")


def lay_pictures(root, words="a"):
    for part in ("images", "masks", "splits"):
        (root / part).mkdir(parents=True, exist_ok=True)
        (root / part / "a").write_text(words)
    (root / "classes.txt").write_text("background\na\nb\nc\n")


OWN = [{"dataset": "own", "scenario": "2-1", "method": "dkd"}]


@pytest.mark.slow
def test_raw_data_under_dvc_travels_and_its_changes_are_seen(finished, tmp_path):
    lay_pictures(finished.path / "data" / "raw" / "own")
    finished.params(runs=OWN, data={"root": "data/raw/own"})
    finished.dvc("add", "data/raw/own")
    assert "data/raw/own.dvc" in finished.git("status", "--porcelain", "-uall")
    finished.snakemake()
    assert len(finished.ran()) == 11
    finished.dvc("commit", "--force")
    finished.dvc("remote", "add", "-d", "store", str(tmp_path / "store"))
    finished.dvc("push")
    finished.commit("own pictures")
    clone = finished.clone(tmp_path / "clone")
    clone.dvc("pull")
    assert (clone.path / "data" / "raw" / "own" / "masks" / "a").read_text() == "a"
    assert NOTHING in clone.snakemake()
    assert "up to date" in clone.dvc("repro")
    lay_pictures(clone.path / "data" / "raw" / "own", "b")
    assert "modified:           data/raw" in clone.dvc("status", "data")
    clone.snakemake()
    assert len(clone.ran()) == 11


@pytest.mark.slow
def test_raw_data_outside_is_watched_by_both_tools(finished, tmp_path):
    root = tmp_path / "own"
    lay_pictures(root)
    finished.params(runs=OWN, data={"root": str(root)})
    assert f"dkd: dvc.yaml does not watch the raw data {root}/classes.txt: add `- {root}`" in finished.dvc(
        "repro", expect=1
    )
    assert finished.ran() == []
    stages = finished.path / "dvc.yaml"
    stages.write_text(stages.read_text().replace("      - data/raw\n", f"      - data/raw\n      - {root}\n"))
    finished.dvc("repro")
    assert len(finished.ran()) == 11
    finished.agrees()
    lay_pictures(root, "b")
    assert f"modified:           {root}" in finished.dvc("status", "data")
    finished.snakemake()
    assert len(finished.ran()) == 11


@pytest.mark.slow
@pytest.mark.parametrize("links", ["hardlink", "symlink"])
def test_a_user_without_rights_gets_along_with_read_only_files(finished, unprivileged, links):
    """DVC's links are read-only; to the superuser that would mean nothing."""
    finished.prefix = unprivileged
    finished.dvc("config", "cache.type", links)
    finished.dvc("checkout", "--relink")
    base = finished.folder(bases(0)[0])
    model = base / "model.safetensors"
    assert model.is_symlink() == (links == "symlink")
    finished.call("test", "!", "-w", str(model))
    assert NOTHING in finished.snakemake()
    finished.params(base={"lr": 0.02})
    finished.snakemake()
    assert finished.ran() == sorted(FROM_BASE)
    finished.params()
    finished.snakemake()
    assert finished.ran() == []
    model.unlink()
    model.write_bytes(b"x")
    finished.snakemake(DKD_SALT="x")
    assert finished.ran() == sorted(FROM_BASE)
    assert NOTHING in finished.snakemake()
    assert "folders deleted" in finished.pipeline("gc", "--max-size", "0")
    assert not list(finished.path.glob(".dkd/archive/*/*")) and not list(finished.path.glob(".dkd/quarantine/*/*"))
    finished.dvc("commit", "--force")
    assert "up to date" in finished.dvc("status")
