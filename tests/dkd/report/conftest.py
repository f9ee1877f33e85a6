"""Results of two runs: a real training with its sample predictions, and made-up metrics of two seeds."""

import json

import numpy as np
import pytest

from dkd.data.shapes import SHAPES
from dkd.methods import dkd
from dkd.report import page, tables
from dkd.use import samples
from tests.dkd.conftest import LATER, RUNTIME, train_base, train_step

RUN = {"dataset": "shapes", "setting": "overlap", "method": "dkd", "sizes": [4, 2], "protocol": "paper"}
RUN |= {"order": [1, 2, 3, 4, 5, 6], "steps": [0, 1]}


def results(folder, step, seed, names):
    """A finished evaluation: IoU of class k is 40 + 3k + seed, less 10 at step 1."""
    folder.mkdir()
    per_class = {name: 40.0 + 3 * k + seed - 10 * step for k, name in enumerate(names)}
    means = {"all": 50.0 + seed, "base": 60.0, "new": 20.0 if step else None, "harmonic": None, "pixel_accuracy": 90.0}
    values = {**means, "foreground": dict(means), "per_class": per_class}
    (folder / "metrics.json").write_text(json.dumps({"step": step, "protocols": {"paper": values}}))
    counts = np.random.default_rng(seed).integers(0, 99, (len(names), len(names)))
    np.savez_compressed(folder / "confusion.npz", names=np.array(names), paper=counts)
    record = {"key": f"{step}{seed}".ljust(12, "0"), "seconds": 2.0, "started": "2030-01-01T00:00:00+00:00"}
    record |= {"finished": "2030-01-01T00:00:02+00:00", "params": {"crop": 64}, "inputs": {}, "runtime": {}}
    record |= {"git": {"commit": "abc123", "dirty": True}, "versions": {"torch": "2.9"}, "platform": "x"}
    record |= {"cost": {"device": "cpu", "images": 8, "peak_memory_bytes": 2**30}}
    record |= {"machine": {"node": "node7", "gpu": "2", "slurm_job": "12"}}
    (folder / "provenance.json").write_text(json.dumps(record))
    return folder


@pytest.fixture(scope="session")
def inputs(prepared, tmp_path_factory):
    """Runs and inputs of a page; not to be changed."""
    top = tmp_path_factory.mktemp("results")
    trained, shown = [top / "base", top / "step"], [top / "base-samples", top / "step-samples"]
    train_base(prepared, trained[0])
    train_step(prepared, trained[1], trained[0], dkd, recipe=LATER._replace(lr=0.01, head_init="auxiliary"))
    for step, previous in enumerate((None, trained[0])):
        shown[step].mkdir()
        samples.write(trained[step], previous, step, prepared, RUNTIME, shown[step])
    runs = [{**RUN, "name": f"shapes_4-2_overlap_dkd_s{seed}", "seed": seed} for seed in (0, 1)]
    found, metrics = {}, {}
    for run in runs:
        for step in run["steps"]:
            key = f"{run['name']}/{step}"
            found[key] = results(top / f"{run['seed']}-{step}", step, run["seed"], SHAPES[: 5 + 2 * step])
            found |= {f"{key}/checkpoint": trained[step], f"{key}/panels": shown[step]}
            metrics.setdefault(run["name"], []).append(found[key] / "metrics.json")
    found["summary"] = top / "summary"
    found["summary"].mkdir()
    tables.write(runs, metrics, 1, found["summary"])
    return runs, found


@pytest.fixture(scope="session")
def written(inputs, tmp_path_factory):
    """The folder of the page of all these results."""
    out = tmp_path_factory.mktemp("page")
    page.write(*inputs, 2, {}, out)
    return out
