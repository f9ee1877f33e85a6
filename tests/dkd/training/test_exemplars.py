"""Exemplars: which are chosen, what their masks hold, and that none comes from elsewhere."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dkd.data import tasks
from dkd.errors import InputError
from dkd.methods import dkd_m
from dkd.training import exemplars
from dkd.training.exemplars import Exemplar, Selection
from tests.dkd.conftest import LATER, RECIPE, RUNTIME, prepare, train_base, train_step


def candidates(*classes):
    return [Exemplar(f"p{i:03}", 0, shown) for i, shown in enumerate(classes)]


def test_classes_are_balanced_as_far_as_candidates_go():
    many = candidates(*[(1,)] * 50, *[(2,)] * 50, *[(3,)] * 2)
    chosen = exemplars.choose(many, [1, 2, 3], 20, seed=0)
    counts = [sum(label in each.classes for each in chosen) for label in (1, 2, 3)]
    assert len(chosen) == 20 and counts == [9, 9, 2]
    assert exemplars.choose(many, [1, 2, 3], 20, seed=0) == chosen != exemplars.choose(many, [1, 2, 3], 20, seed=1)
    assert exemplars.choose(reversed(many), [1, 2, 3], 20, seed=0) == chosen, "the order of candidates does not matter"


@given(
    st.lists(st.sets(st.integers(1, 5)).map(lambda x: tuple(sorted(x))), max_size=30),
    st.integers(1, 40),
    st.integers(0, 3),
)
def test_choosing_ends_and_takes_what_there_is(shown, size, seed):
    given = candidates(*shown)
    chosen = exemplars.choose(given, [1, 2, 3], size, seed)
    usable = [each for each in given if {1, 2, 3} & set(each.classes)]
    assert len(chosen) == min(size, len(usable)) == len({each.id for each in chosen})
    assert set(chosen) <= set(usable)


@pytest.fixture(scope="module")
def learned(drawn, tmp_path_factory):
    """Data of steps of 3, 2 and 1 classes, the base, its memory and the next step."""
    folder = tmp_path_factory.mktemp("memory")
    prepared = prepare(drawn, folder, sizes=(3, 2, 1))
    train_base(prepared, folder / "base", RECIPE._replace(epochs=1))
    build(prepared, folder / "memory1", folder / "base", 1)
    fit(prepared, folder / "step1", folder / "base", folder / "memory1")
    return prepared, folder


def fit(prepared, out, previous, memory, replay="current", **runtime):
    recipe = LATER._replace(epochs=1, lr=0.01, replay=replay)
    train_step(prepared, out, previous, dkd_m, 1, recipe, memory, **runtime)


def build(prepared, out, folder, step, before=None, **changes):
    out.mkdir()
    selection = Selection(size=8, confidence=0.6, seed=0)._replace(**changes)
    return exemplars.build(folder, step, selection, before, prepared, RUNTIME, out)


def read(prepared, folder, step):
    return exemplars.read(folder, tasks.read(prepared.tasks), step)


def test_exemplars_come_from_the_steps_before(learned, tmp_path):
    prepared, folder = learned
    steps = tasks.read(prepared.tasks)["steps"]
    first = read(prepared, folder / "memory1", 1)
    assert len(first) == 8 and {each.step for each in first} == {0}
    assert {each.id for each in first} <= set(steps[0]["train"])
    build(prepared, tmp_path / "memory2", folder / "step1", 2, before=folder / "memory1", size=100)
    second = read(prepared, tmp_path / "memory2", 2)
    assert {each.step for each in second} == {0, 1}
    allowed = {each.id for each in first} | set(steps[1]["train"])
    assert {each.id for each in second} <= allowed, "images of step 0 that were not kept are gone"
    build(prepared, tmp_path / "again", folder / "step1", 2, before=folder / "memory1", size=100)
    assert (tmp_path / "again" / "memory.json").read_bytes() == (tmp_path / "memory2" / "memory.json").read_bytes()


def test_completed_masks_hold_own_labels_and_confident_predictions(learned):
    prepared, folder = learned
    predicted = 0
    for exemplar in read(prepared, folder / "memory1", 1):
        truth = np.array(Image.open(prepared.data / "masks" / f"{exemplar.id}.png"))
        mask = np.array(Image.open(folder / "memory1" / "masks" / f"{exemplar.id}.png"))
        own = np.isin(truth, (1, 2, 3))
        # The base predicts only classes that are labelled: there is nothing to complete.
        assert np.array_equal(mask[own], truth[own]) and (mask[~own] == 0).all()
        assert set(exemplar.classes) == set(np.unique(mask).tolist()) - {0}
    folder2 = folder / "memory2"
    if not folder2.exists():
        build(prepared, folder2, folder / "step1", 2, before=folder / "memory1", size=100, confidence=0.01)
    for exemplar in read(prepared, folder2, 2):
        truth = np.array(Image.open(prepared.data / "masks" / f"{exemplar.id}.png"))
        mask = np.array(Image.open(folder2 / "masks" / f"{exemplar.id}.png"))
        own = (1, 2, 3) if exemplar.step == 0 else (4, 5)
        others = {1, 2, 3, 4, 5} - set(own)
        known = np.isin(truth, own)
        assert np.array_equal(mask[known], truth[known]) and np.isin(mask[~known], [0, *others]).all()
        predicted += np.isin(mask[~known], list(others)).sum()
    assert predicted > 0


@pytest.mark.parametrize("replay", ["current", "stored", "pseudo"])
def test_every_kind_of_replay_trains(learned, tmp_path, replay):
    prepared, folder = learned
    options = {"previous": folder / "base", "memory": folder / "memory1", "replay": replay}
    fit(prepared, tmp_path / "a", **options)
    fit(prepared, tmp_path / "b", **options, workers=2)
    assert (tmp_path / "a" / "model.safetensors").read_bytes() == (tmp_path / "b" / "model.safetensors").read_bytes()
    assert json.loads((tmp_path / "a" / "step.json").read_text())["method"] == "dkd-m"


@pytest.mark.parametrize("step", [-1, 0, 1])
def test_an_image_from_elsewhere_is_refused(learned, tmp_path, step):
    prepared, folder = learned
    steps = tasks.read(prepared.tasks)["steps"]
    later = sorted(set(steps[step or 1]["train"]) - set(steps[0]["train"]))[0]
    for name in ("val_00000", "x", later):
        (tmp_path / "memory.json").write_text(listed(1, {"id": name, "step": step, "classes": [1]}))
        with pytest.raises(InputError, match=f"exemplar '{name}' is no training image of a step before 1"):
            fit(prepared, tmp_path / f"{name}-out", folder / "base", tmp_path)
        with pytest.raises(InputError, match=f"exemplar '{name}' is no training image of a step before 1"):
            build(prepared, tmp_path / f"{name}-kept", folder / "step1", 2, before=tmp_path)


def listed(step, *exemplars):
    return json.dumps({"step": step, "exemplars": exemplars})


GOOD = {"id": "x", "step": 0, "classes": [1]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "No such file or directory; make it with `dkd memory`"),
        ("[]", "not a list of exemplars (TypeError("),
        ("{", "not a list of exemplars (JSONDecodeError("),
        (json.dumps({"exemplars": [GOOD]}), "not a list of exemplars (KeyError('step'))"),
        (listed(1), "exemplars: there are none; make them with `dkd memory`"),
        (listed(2, GOOD), "step: these are the exemplars of step 2; make those of step 1"),
        (listed("1", GOOD), "step: these are the exemplars of step '1'; make those of step 1"),
        (
            listed(1, {**GOOD, "step": "0"}),
            "exemplar 'x': expected a word as id, whole numbers as step and classes, got",
        ),
        (listed(1, {**GOOD, "step": False}), "exemplar 'x': expected a word as id, whole numbers as step"),
        (listed(1, {**GOOD, "id": 3}), "exemplar 3: expected a word as id, whole numbers as step and classes, got"),
        (listed(1, {**GOOD, "id": ["x"]}), "exemplar ['x']: expected a word as id, whole numbers as step"),
        (listed(1, {**GOOD, "classes": "12"}), "exemplar 'x': expected a word as id, whole numbers as step"),
        (listed(1, {**GOOD, "step": 7}), "exemplar 'x' is no training image of a step before 1 (it names step 7)"),
    ],
)
def test_a_malformed_list_is_one_line(prepared, tmp_path, text, said):
    if text is not None:
        (tmp_path / "memory.json").write_text(text)
    with pytest.raises(InputError) as caught:
        read(prepared, tmp_path, 1)
    assert str(caught.value).startswith(f"{tmp_path / 'memory.json'}: {said}") and "\n" not in str(caught.value)


def test_what_does_not_belong_together_is_one_line(learned, tmp_path):
    prepared, folder = learned

    def refused(words, *given, **changes):
        with pytest.raises(InputError, match=words) as caught:
            build(prepared._replace(**changes.pop("files", {})), tmp_path / "kept", *given, **changes)
        assert "\n" not in str(caught.value)
        (tmp_path / "kept").rmdir()

    refused("base: has learned 1 steps; the memory of step 2 needs 2", folder / "base", 2)
    refused(r"tasks\.json: has steps 0\.\.2; step 3 has nothing to replay", folder / "step1", 3)
    refused("step 1 is the first that replays", folder / "base", 1, before=folder / "memory1")
    content = tasks.read(prepared.tasks)
    for name, train_ids, words in (
        ("foreign", ["x"], "foreign.json: image 'x' is not in the train split of"),
        ("none", [], "none.json: none of 0 candidates for step 1 shows a class"),
    ):
        content["steps"][0]["train"] = train_ids
        tasks.write(content, tmp_path / f"{name}.json")
        refused(words, folder / "base", 1, files={"tasks": tmp_path / f"{name}.json"})


def test_too_little_memory_is_one_line(learned, tmp_path, monkeypatch):
    prepared, folder = learned

    def greedy(*given):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(exemplars, "upsample", greedy)
    with pytest.raises(
        InputError, match=r"^out of memory: .*\.png at once, 32 x 32; choose on a CPU, or make it smaller$"
    ):
        build(prepared, tmp_path / "memory", folder / "base", 1)
