"""Which images each step sees, against the lists that the benchmark's authors ship."""

import hashlib
import json

import pytest

from dkd import scenario
from dkd.data import index, tasks
from dkd.data.index import Index, Row
from dkd.errors import InputError

TINY = Index(
    "tiny",
    ("background", "a", "b", "c"),
    (
        Row("t1", "", "", "train", (1,)),
        Row("t2", "", "", "train", (1, 2)),
        Row("t3", "", "", "train", (3,)),
        Row("t4", "", "", "train", ()),
        Row("v1", "", "", "val", (1, 3)),
        Row("v2", "", "", "val", (2,)),
        Row("v3", "", "", "val", (3,)),
    ),
    {},
    {},
)


def lists(setting, order=(1, 2, 3), sizes=(1, 1, 1), index=TINY, seed=0):
    steps = tasks.split(index, setting=setting, order=order, sizes=sizes, seed=seed)["steps"]
    return [[step[name] for step in steps] for name in ("train", "val", "test")]


def test_overlap_takes_every_image_with_a_class_of_the_step():
    train, val, test = lists("overlap")
    assert train == [["t1", "t2"], ["t2"], ["t3"]]
    assert val == [["v1"], ["v2"], ["v1", "v3"]]
    assert test == [["v1"], ["v1", "v2"], ["v1", "v2", "v3"]]


def test_disjoint_leaves_out_images_with_a_later_class():
    assert lists("disjoint")[0] == [["t1"], ["t2"], ["t3"]]
    assert lists("disjoint")[1:] == lists("overlap")[1:]


def test_sequential_takes_the_images_of_disjoint_and_shows_earlier_labels():
    assert lists("sequential") == lists("disjoint")
    for setting in tasks.SETTINGS:
        assert tasks.visible_labels(setting, (3, 1, 2), (1, 2)) == ((3, 1, 2) if setting == "sequential" else (1, 2))
        assert tasks.visible_labels(setting, (3,), (1,)) == (3,)


def test_partitioned_gives_every_image_to_one_step():
    many = [Row(f"p{i:03}", "", "", "train", (1, 2, 3)[: 1 + i % 3]) for i in range(300)]
    index = TINY._replace(rows=(*TINY.rows, *many))
    steps = lists("partitioned", index=index)[0]
    given = sorted(id for step in steps for id in step)
    assert given == sorted(row.id for row in index.rows if row.split == "train" and row.classes)
    assert lists("partitioned", index=index)[1:] == lists("overlap", index=index)[1:]
    # Of a hundred images with all three classes about a third go to each.
    shares = [sum(f"p{i:03}" in step for i in range(2, 300, 3)) for step in steps]
    assert sum(shares) == 100 and min(shares) > 20
    # Steps of the same classes get the same images, whatever comes later and in whatever order.
    assert lists("partitioned", sizes=(1, 2), index=index)[0] == [steps[0], sorted(steps[1] + steps[2])]
    assert lists("partitioned", order=(3, 2, 1), index=index)[0] == steps[::-1]
    assert lists("partitioned", index=index, seed=1)[0] != steps


def test_the_base_alone_is_the_base_of_every_scenario():
    index = TINY._replace(rows=(*TINY.rows, *(Row(f"u{i}", "", "", "train", (i % 3 + 1,)) for i in range(6))))
    for setting in tasks.SETTINGS:
        alone = lists(setting, order=(1,), sizes=(1,), index=index)
        assert [x[:1] for x in lists(setting, index=index)] == alone


def test_a_test_split_is_used_where_there_is_one():
    index = TINY._replace(rows=(*TINY.rows, Row("x1", "", "", "test", (1, 2, 3))))
    assert lists("overlap", index=index)[2] == [["x1"]] * 3
    steps = tasks.test_only(TINY, (3, 1), (1, 1))["steps"]
    assert [(step["train"], step["val"], step["test"]) for step in steps] == [
        ([], [], ["v1", "v3"]),
        ([], [], ["v1", "v3"]),
    ]


def test_what_cannot_be_split_is_refused():
    with pytest.raises(InputError, match="unknown setting 'both'; known: overlap, disjoint, sequential, partitioned"):
        lists("both")
    empty = TINY._replace(rows=tuple(row for row in TINY.rows if row.id != "t3"))
    with pytest.raises(InputError, match=r"tiny, overlap, step 2 \(c\): no train image"):
        lists("overlap", index=empty)


CONTENT = tasks.split(TINY, setting="overlap", order=(1, 2, 3), sizes=(2, 1), seed=None)


def edited(at=None, **values):
    content = json.loads(json.dumps(CONTENT))
    (content if at is None else content["steps"][at]).update(values)
    return content


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([], "expected a map of keys and values, got []"),
        (edited(dataset=3), "dataset: expected a name, got 3"),
        (edited(setting="both"), 'setting: expected one of overlap, disjoint, sequential, partitioned, got "both"'),
        (edited(more=1), "more: unknown key"),
        (edited(steps=[]), "steps: expected a list of steps, got []"),
        (edited(steps=[1, 2]), "steps[0]: expected a map of keys and values, got 1"),
        (edited(order=[1, 2, 300]), "order: expected a list of labels from 1 to 254, got [1, 2, 300]"),
        (edited(order=[1, 3, 2]), "order: [1, 3, 2] are not the classes of the steps, once each"),
        (edited(1, classes=[2]), "order: [1, 2, 3] are not the classes of the steps, once each"),
        (edited(1, classes=[]), "steps[1]: classes: expected a list of labels from 1 to 254, got []"),
        (edited(1, step=2), "steps[1]: step: expected 1, got 2"),
        (edited(1, train="t3"), 'steps[1]: train: expected a list of ids of images, got "t3"'),
        (edited(0, test=["v1", None]), 'steps[0]: test: expected a list of ids of images, got ["v1", null]'),
        (edited(0, train=["t1", "t1"]), "steps[0]: train: lists an image twice"),
        (edited(0, vall=[]), "steps[0]: vall: unknown key"),
    ],
)
def test_an_edited_tasks_file_is_one_line(tmp_path, content, words):
    path = tmp_path / "tasks.json"
    tasks.write(CONTENT, path)
    assert tasks.read(path) == CONTENT
    tasks.write(content, path)
    with pytest.raises(InputError) as caught:
        tasks.read(path)
    said = str(caught.value)
    assert said.startswith(f"{path}: {words}") and said.endswith("; make it with `dkd split`") and "\n" not in said


def test_tasks_of_another_index_are_refused(tmp_path):
    inputs = tasks.Inputs(tmp_path, tmp_path / "index.csv", tmp_path / "tasks.json")
    tasks.write(CONTENT, inputs.tasks)
    rows = tuple(row._replace(image="i", mask="m") for row in TINY.rows)
    index.write(TINY._replace(rows=rows), inputs.index)
    assert tasks.read_both(inputs)[1] == CONTENT
    few = [row._replace(classes=()) for row in rows]
    index.write(TINY._replace(class_names=TINY.class_names[:3], rows=tuple(few)), inputs.index)
    with pytest.raises(InputError, match=r"order: label 3 is not among the 2 classes of .*index\.csv; make the tasks"):
        tasks.read_both(inputs)


@pytest.mark.shared
def test_voc_lists_are_those_of_the_benchmark(golden, shared):
    rows = []
    for split, name in (("train", "voc2012_train_aug"), ("val", "voc2012_val")):
        for line in (shared / "data" / "class_tables" / f"{name}.txt").read_text().splitlines():
            id, *labels = line.split()
            rows.append(Row(id, "", "", split, tuple(map(int, labels))))
    index = Index("voc2012", ("background", *(f"class {k}" for k in range(1, 21))), tuple(rows), {}, {})
    known = golden("splits.json")
    found = {}
    for setting, name in {tuple(key.split("/")[1:3]) for key in known}:
        content = tasks.split(
            index, setting=setting, order=range(1, 21), sizes=scenario.step_sizes(name, 20), seed=None
        )
        for step in content["steps"]:
            for split in ("train", "val", "test"):
                ids = step[split]
                digest = hashlib.sha256("\n".join(ids).encode()).hexdigest()
                found[f"voc2012/{setting}/{name}/{split}/{step['step']}"] = {"images": len(ids), "sha256": digest}
    assert {key: found[key] for key in known} == known
