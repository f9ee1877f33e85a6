"""Several runs at once, several GPUs, experiments, and users with few rights."""

import json
import os
import re
import shutil
import subprocess

import pytest

from .conftest import EVERYTHING, PARAMS, SUMMARY, bases, panels, results, steps

SNAKEMAKE = (".venv/bin/snakemake", "--cores", "2")
DVC = (".venv/bin/dvc", "repro")


@pytest.mark.slow
@pytest.mark.parametrize("other", [SNAKEMAKE, DVC], ids=["snakemake", "dvc"])
def test_two_runs_at_once_share_the_work(begun, other):
    with begun.start(*SNAKEMAKE) as one, begun.start(*other) as two:
        for run in (two, one):
            output = run.communicate()[0]
            assert run.returncode == 0, output
    assert begun.ran() == sorted(EVERYTHING)
    begun.agrees()


@pytest.mark.slow
def test_runs_of_different_params_leave_each_other_their_nodes(finished):
    """The second run begins while the first, of other params, is at work; and ends before it."""
    finished.params(increment={"lr": 0.002})
    with finished.start(*SNAKEMAKE, slow=steps(0)[0], seconds=12) as one:
        finished.params(increment={"lr": 0.003})
        finished.snakemake()
        assert one.poll() is None
        finished.params(base={"lr": 0.02})
        finished.pipeline("prune")
        finished.pipeline("gc", "--max-size", "0")
        output = one.communicate()[0]
        assert one.returncode == 0, output
    later = steps(0) + steps(0, under="results") + steps(0, under="panels") + SUMMARY
    assert finished.ran() == sorted([*later, *later])
    finished.params(increment={"lr": 0.002})
    finished.snakemake()
    assert finished.ran() == []


@pytest.mark.slow
def test_each_training_sees_one_gpu_of_its_own(begun):
    begun.params(runs=[{**PARAMS["runs"][0], "seed": [0, 1, 2]}])
    gpus = {"CUDA_VISIBLE_DEVICES": "0,GPU-1"}
    # Two runs at once: only the locks keep their trainings apart. The stand-in fails where two meet on a GPU.
    with begun.start(*SNAKEMAKE[:2], "8", **gpus) as one, begun.start(*SNAKEMAKE[:2], "8", **gpus) as two:
        outputs = [run.communicate()[0] for run in (one, two)]
        assert (one.returncode, two.returncode) == (0, 0), outputs
    assert all(re.search(rf"\b{name}=\D*\b2\b", outputs[0]) for name in ("gpu", "gpu_evaluate"))
    seen = begun.trace.with_name(f"{begun.trace.name}.devices").read_text().split()
    assert set(seen) == {"0", "GPU-1"} and len(seen) == 9
    trained = set(bases(0, 1, 2) + steps(0, 1, 2))
    assert sorted(place for place in begun.ran() if place in trained) == sorted(trained)


@pytest.mark.slow
def test_experiments_run_in_place_in_queues_and_elsewhere(finished):
    """`dvc exp run -S` and `--temp` from a shell that knows of no environment; `--queue`, whose worker needs one."""
    plain = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
    active = {"PATH": f"{finished.path}/.venv/bin:{plain['PATH']}"}
    assert "Ran experiment" in finished.dvc("exp", "run", "--temp", "-S", "report.decimals=3", **plain)
    assert finished.ran() == SUMMARY
    output = finished.dvc("exp", "run", "-n", "faster", "-S", "increment.lr=0.002", **plain)
    assert "faster" in output
    assert finished.ran() == sorted(steps(0) + steps(0, under="results") + steps(0, under="panels") + SUMMARY)
    for name, decimals in (("two", 2), ("four", 4)):
        finished.dvc("exp", "run", "--queue", "-n", name, "-S", f"report.decimals={decimals}", **active)
    finished.dvc("exp", "run", "--run-all", **active)
    assert finished.ran() == sorted([*SUMMARY, *SUMMARY])
    [_, commit] = json.loads(finished.dvc("exp", "show", "--json"))
    found = {each["name"]: each["revs"][0]["data"] for each in commit["experiments"] if each["name"]}
    assert {"faster", "two", "four"} < found.keys()
    assert found["faster"]["params"]["params.yaml"]["data"]["increment"] == {"lr": 0.002}
    assert found["four"]["metrics"]["metrics/groups.json"]["data"]["group"]["decimals"] == 4


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
    finished.dvc("repro")
    assert len(finished.ran()) == 11
    finished.agrees()
    finished.commit("own pictures")
    finished.dvc("remote", "add", "-d", "store", str(tmp_path / "store"))
    finished.dvc("push")
    clone = type(finished)(tmp_path / "clone")
    finished.git("clone", "-q", str(finished.path), str(clone.path))
    (clone.path / ".venv").symlink_to((finished.path / ".venv").readlink())
    shutil.copy(finished.path / ".dvc" / "config", clone.path / ".dvc" / "config")
    clone.dvc("pull")
    assert (clone.path / "data" / "raw" / "own" / "masks" / "a").read_text() == "a"
    clone.agrees()
    lay_pictures(finished.path / "data" / "raw" / "own", "b")
    finished.dvc("repro")
    assert len(finished.ran()) == 11
    finished.agrees()


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
    for words, tool in (("b", "dvc"), ("c", "snakemake")):
        lay_pictures(root, words)
        finished.tool(tool)
        assert len(finished.ran()) == 11
        finished.agrees()


# The superuser without its privileges is like any user before a read-only file.
UNPRIVILEGED = ("setpriv", "--bounding-set", "-all", "--inh-caps", "-all")


@pytest.mark.slow
@pytest.mark.parametrize("links", ["hardlink", "symlink"])
def test_a_user_without_rights_gets_along_with_read_only_files(begun, links):
    """DVC's links are read-only; to the superuser that would mean nothing."""
    if os.geteuid() == 0:
        begun.prefix = UNPRIVILEGED
        if shutil.which(UNPRIVILEGED[0]) is None or subprocess.run([*UNPRIVILEGED, "true"]).returncode:
            pytest.skip("the tests run as superuser, and setpriv cannot take its privileges away here")
    begun.dvc("config", "cache.type", links)
    begun.dvc("repro")
    assert begun.ran() == sorted(EVERYTHING)
    [base] = begun.path.glob("checkpoints/base/shapes/overlap/4/s0-*")
    model = base / "model.safetensors"
    assert model.is_symlink() == (links == "symlink")
    begun.call("test", "!", "-w", str(model))
    begun.agrees()
    begun.params(base={"lr": 0.02})
    begun.snakemake()
    retrained = sorted(bases(0) + steps(0) + results(0) + panels(0) + SUMMARY)
    assert begun.ran() == retrained
    begun.params()
    begun.dvc("repro")
    assert begun.ran() == []
    model.unlink()
    model.write_bytes(b"x")
    begun.snakemake()
    assert begun.ran() == retrained
    begun.agrees()
    assert "folders deleted" in begun.pipeline("gc", "--max-size", "0")
    assert not list(begun.path.glob(".dkd/attic/*/*")) and not list(begun.path.glob(".dkd/damaged/*/*"))
    begun.agrees()
