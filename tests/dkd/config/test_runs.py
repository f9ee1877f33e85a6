"""Products of lists, class orders, names of runs, and runs that are the same."""

import os

import pytest

from dkd.report.method_labels import method_labels

from .conftest import RUN


def test_a_list_makes_the_product(load):
    item = {**RUN, "method": ["kd", "dkd"], "seed": [0, 1], "scenario": ["4-1", [3, 3]]}
    runs = load({"runs": [item]}).runs
    assert len(runs) == 8 and len({run.name for run in runs}) == 8
    assert {run.sizes for run in runs} == {(4, 1, 1), (3, 3)}


def test_orders_by_word_and_from_files(tmp_path, load):
    (tmp_path / "mine.txt").write_text("star\nring\ncross\ntriangle\nsquare\ndisc\n")
    (tmp_path / "labels.txt").write_text("6, 5, 4, 3, 2, 1\n")
    (tmp_path / "bom.txt").write_text("\ufeff6\r\n5\r\n4\r\n3\r\n2\r\n1\r\n")
    words = ["default", "reversed", "seed:3", "seed:4", "mine.txt", "labels.txt", "bom.txt"]
    runs = load({"runs": [{**RUN, "order": [*words[:4], [2, 1, 3, 4, 5, 6]]}]}).runs
    assert [run.name.rpartition("_s0")[2] for run in runs] == ["_default", "_reversed", "_seed3", "_seed4", "_o5"]
    orders = [load({"runs": [{**RUN, "order": word}]}).runs[0].order for word in words]
    assert [run.order for run in runs[:4]] == orders[:4]
    assert orders[0] == (1, 2, 3, 4, 5, 6) and orders[1] == orders[4] == orders[5] == orders[6] == (6, 5, 4, 3, 2, 1)
    assert sorted(orders[3]) == [1, 2, 3, 4, 5, 6] and len(set(orders)) == 4
    assert orders[2] == (6, 5, 4, 2, 3, 1), "a random order is the same on every machine"


def test_orders_by_label_and_by_name(load):
    orders = [[6, 5, 4, 3, 2, 1], ["star", "ring", "cross", "triangle", "square", "disc"]]
    one, two = (load({"runs": [{**RUN, "order": order}]}).runs[0] for order in orders)
    assert one == two and one.order == (6, 5, 4, 3, 2, 1)
    both = load({"runs": [{**RUN, "order": [orders[0], [1, 2, 3, 4, 6, 5]]}]}).runs
    assert [run.name for run in both] == ["shapes_4-1_overlap_dkd_s0_o1", "shapes_4-1_overlap_dkd_s0_o2"]


def test_a_long_name_made_of_parts_is_shortened(tmp_path, load):
    root = tmp_path / "data" / "raw" / "many"
    root.mkdir(parents=True)
    (root / "classes.txt").write_text("\n".join(f"class{label}" for label in range(101)) + "\n")

    def names(sizes):
        return [run.name for run in load({"runs": [{**item, "scenario": sizes, "seed": [0, 1]}]}).runs]

    item = {"dataset": "many", "method": "dkd-m", "order": ["default", "reversed"]}
    assert names([60, *[2] * 19, 1, 1])[0] == f"many_60{'+2' * 19}+1+1_overlap_dkd-m_s0_default"
    long = names([2, 2, *[1] * 96])
    assert len(set(long)) == 4 and all(len(name) == 120 for name in long)
    assert long[0].startswith("many_2+2+1+1") and long[0].endswith("+1_overlap_dkd-m_s0_default")
    assert names([2, 2, *[1] * 96]) == long and not set(names([1, 3, *[1] * 96])) & set(long)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"scenario": "4-3"}, ": scenario '4-3' does not fit 6 classes"),
        ({"scenario": "many"}, ": scenario 'many': write A-B"),
        ({"scenario": [4, 1]}, ": scenario [4, 1] adds up to 5 classes, but there are 6 to learn"),
        ({"scenario": [4, 1, 1, 0]}, ": scenario [4, 1, 1, 0]: every step learns at least one class; remove the zero"),
        ({"scenario": []}, ".scenario: empty list"),
        ({"seed": []}, ".seed: empty list"),
        ({"order": 3}, ": order: expected a list of labels or class names, got 3"),
        ({"order": [1, 2, 2]}, ": class order must name classes by their labels, 1..6, each at most once"),
        ({"order": [1, 2, 3]}, ": scenario '4-1' does not fit 3 classes"),
        ({"order": ["disk", "star"]}, ": order: unknown class 'disk'; did you mean 'disc'?"),
        ({"order": "none"}, ": order 'none': expected default, reversed, seed:N or a readable file (No such file or "),
        (
            {"order": "pipe.txt"},
            ": order 'pipe.txt': expected default, reversed, seed:N or a readable file (not a file:",
        ),
        ({"order": "/dev/zero"}, "a readable file (not a file: /dev/zero)"),
        ({"order": "folder.txt"}, "a readable file (not a file: "),
        ({"order": f"{'n' * 300}.txt"}, "a readable file (File name too long: "),
        ({"order": "large.txt"}, ": order: unknown class '99999"),
        ({"order": f"seed:{'9' * 5000}"}, "...: expected seed:N with N below 2^31"),
        ({"method": ["kd", "dkd"], "name": "x"}, ".name: 'x' would name 2 runs; leave it out where keys have lists"),
    ],
)
def test_an_item_that_makes_no_run_is_refused(tmp_path, load, refused, keys, words):
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "folder.txt").mkdir()
    (tmp_path / "large.txt").write_text(f"{'9' * 5000}, 1\n")
    line = refused(load, {"runs": [{**RUN, **keys}]})
    assert line.startswith(f"{tmp_path / 'params.yaml'}: runs[0]") and words in line


def test_runs_must_be_distinct(tmp_path, load, refused):
    name, other = "shapes_4-1_overlap_dkd_s0", {**RUN, "set": {"base": {"lr": 1.0}}}
    where = f"{tmp_path / 'params.yaml'}: runs:"
    assert refused(load, {"runs": [RUN, RUN]}) == f"{where} '{name}' and '{name}' are identical; remove one"
    line = f"{where} two different runs have the name '{name}'; give each a `name:`"
    assert refused(load, {"runs": [RUN, other]}) == line


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        ([{**RUN, "method": ["kd", "dkd"], "seed": list(range(6000))}], "12,000 runs, 12,000 of them from runs[0]"),
        ([RUN] * 2001, "2,001 runs, 1 of them from runs[0]"),
        (
            [{"dataset": ["d"] * 99, "scenario": ["4-1"] * 99, "method": ["kd"] * 99, "seed": [1] * 99}],
            "96,059,601 run",
        ),
    ],
)
def test_more_runs_than_fit_into_a_plan_are_refused(load, refused, runs, words):
    line = refused(load, {"runs": runs})
    assert f"params.yaml: runs: {words}" in line and line.endswith("a plan has at most 2,000, so shorten the lists")


def test_a_sweep_makes_the_product_of_its_values(load):
    item = {**RUN, "method": ["kd", "dkd"], "set": {"increment": {"epochs": 2}}}
    item["sweep"] = {"increment.lr": [0.001, 0.002], "methods.dkd.start": ["random", "auxiliary"]}
    runs = load({"runs": [item]}).runs
    assert [run.name.partition("_s0_")[2] for run in runs] == [
        *("lr-0.001", "lr-0.002"),
        *("lr-0.001_start-random", "lr-0.001_start-auxiliary", "lr-0.002_start-random", "lr-0.002_start-auxiliary"),
    ], "options of another method make no runs"
    assert [run.increment.lr for run in runs] == [0.001, 0.002, 0.001, 0.001, 0.002, 0.002]
    assert {run.increment.epochs for run in runs} == {2}
    assert [run.methods.dkd.start for run in runs[2:]] == ["random", "auxiliary"] * 2
    labels = method_labels([run.model_dump(mode="json") for run in runs])
    assert labels[0] == "kd[increment.lr=0.001]" and labels[-1] == "dkd[increment.lr=0.002 start=auxiliary]"


def test_values_of_a_sweep_may_be_lists(load):
    runs = load({"runs": [{**RUN, "sweep": {"data.shapes.objects": [[1, 2], [3, 5]]}}]}).runs
    assert [(run.name.rpartition("_")[2], run.data.shapes.objects) for run in runs] == [
        ("objects-1-2", (1, 2)),
        ("objects-3-5", (3, 5)),
    ]


@pytest.mark.parametrize(
    ("sweep", "words"),
    [
        ([1], "runs[0].sweep: expected a map from keys (increment.lr) to lists of values; got [1]"),
        ({"increment.lr": 0.1}, "runs[0].sweep.increment.lr: expected a list of values; got 0.1"),
        ({"increment.lr": []}, "runs[0].sweep.increment.lr: expected a list of values; got []"),
        ({"increment.rl": [0.1]}, "runs[0].sweep.increment.rl: unknown key; known: "),
        ({"increments.lr": [0.1]}, "runs[0].sweep.increments: unknown key; did you mean 'increment'?"),
        ({"increment": [0.1]}, "runs[0].sweep.increment: expected a map of keys and values, got 0.1"),
        ({"increment.lr": [0.1, "x"]}, "runs[0].sweep.increment.lr:"),
        ({"increment.lr": list(range(1, 60)), "base.lr": list(range(1, 60))}, "runs: 3,481 runs"),
    ],
)
def test_a_faulty_sweep_is_one_line(load, refused, sweep, words):
    assert words in refused(load, {"runs": [{**RUN, "sweep": sweep}]})
