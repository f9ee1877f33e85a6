"""Tables over runs, from metrics written by hand."""

import csv
import json

import pytest

from dkd.report import tables


def metrics_of(step, **per_class):
    values = list(per_class.values())
    base, new = sum(values[:3]) / 3, (sum(values[3:]) / len(values[3:]) if values[3:] else None)
    found = {"all": sum(values) / len(values), "base": base, "new": new, "harmonic": None, "pixel_accuracy": 90.0}
    found["foreground"] = {key: found[key] for key in ("all", "base", "new", "harmonic")}
    return {"step": step, "protocols": {"paper": {**found, "per_class": per_class}}}


@pytest.fixture
def written(tmp_path):
    steps = [metrics_of(0, background=90.0, a=60.0, b=60.0), metrics_of(1, background=90.0, a=30.0, b=60.0, c=20.0)]
    better = [steps[0], metrics_of(1, background=90.0, a=60.0, b=60.0, c=40.0)]
    runs, found = [], {}
    for seed, content in enumerate((steps, better)):
        name = f"x_2-1_overlap_kd_s{seed}"
        run = {"name": name, "dataset": "x", "setting": "overlap", "method": "kd", "seed": seed, "sizes": [2, 1]}
        runs.append({**run, "order": [1, 2, 3], "protocol": "paper"})
        found[name] = []
        for step in content:
            path = tmp_path / f"{name}-{step['step']}.json"
            path.write_text(json.dumps(step))
            found[name].append(path)
    out = tmp_path / "out"
    out.mkdir()
    tables.write(runs, found, 1, out)
    return out


def test_last_step_average_and_forgetting(written):
    final = json.loads((written / "summary.json").read_text())
    first, second = final.values()
    assert set(first) == {"all", "base", "new", "harmonic", "average_over_steps", "forgetting"}
    assert first["all"] == 50 and first["average_over_steps"] == (70 + 50) / 2
    assert first["forgetting"] == 15 and second["forgetting"] == 0


def test_groups_are_over_seeds(written):
    (group,) = json.loads((written / "groups.json").read_text()).values()
    assert group["runs"] == ["x_2-1_overlap_kd_s0", "x_2-1_overlap_kd_s1"]
    assert group["new"] == {"mean": 30, "sd": pytest.approx(14.142, abs=1e-3), "n": 2}
    assert group["harmonic"] == {"mean": None, "sd": None, "n": 0}


def test_the_short_file_has_the_means_that_there_are(written):
    (values,) = json.loads((written / "headline.json").read_text()).values()
    assert values == {"all": 56.25, "base": pytest.approx(65), "new": 30, "forgetting": 7.5}


def test_groups_of_every_step(written):
    with (written / "groups.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == "all"]
    assert [(row["step"], row["mean"], row["n"]) for row in rows] == [("0", "70.0", "2"), ("1", "56.25", "2")]
    assert (written / "differences.csv").read_text().startswith("dataset,scenario,setting,method,than,step,metric,mean")


def test_every_step_has_its_row(written):
    with (written / "steps.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["run"][-2:], row["step"]) for row in rows] == [("s0", "0"), ("s0", "1"), ("s1", "0"), ("s1", "1")]
    assert [row["average_over_steps"] for row in rows[:2]] == ["70.0", "60.0"]
    assert [row["forgetting"] for row in rows] == ["", "15.0", "", "0.0"]
    with (written / "classes.csv").open() as file:
        classes = list(csv.DictReader(file))
    assert len(classes) == 2 * (3 + 4) and classes[4]["class"] == "a" and classes[4]["iou"] == "30.0"


def test_the_table_is_for_people(written):
    lines = (written / "table.txt").read_text().splitlines()
    assert lines[0].split() == ["run", "all", "base", "new", "harmonic", "forgetting"]
    assert lines[1].split() == ["x_2-1_overlap_kd_s0", "50.0", "60.0", "20.0", "-", "15.0"]
    assert len({len(line) for line in lines}) == 1
