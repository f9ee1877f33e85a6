"""Exemplars: which are chosen, what their labels say, and that none comes from elsewhere."""

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
from dkd.training import exemplars as memory
from dkd.training import loop as train
from dkd.training.exemplars import Exemplar, Selection
from tests.dkd.conftest import LATER, RECIPE, RUNTIME, prepare, train_base, train_step


def candidates(*classes):
    return [Exemplar(f"p{i:03}", 0, shown) for i, shown in enumerate(classes)]


def test_classes_are_balanced_as_far_as_candidates_go():
    many = candidates(*[(1,)] * 50, *[(2,)] * 50, *[(3,)] * 2)
    chosen = memory.choose(many, [1, 2, 3], 20, seed=0)
    counts = [sum(label in each.classes for each in chosen) for label in (1, 2, 3)]
    assert len(chosen) == 20 and counts == [9, 9, 2]
    assert memory.choose(many, [1, 2, 3], 20, seed=0) == chosen != memory.choose(many, [1, 2, 3], 20, seed=1)
    assert memory.choose(reversed(many), [1, 2, 3], 20, seed=0) == chosen, "the order of candidates is of no account"


@given(
    st.lists(st.sets(st.integers(1, 5)).map(lambda x: tuple(sorted(x))), max_size=30),
    st.integers(1, 40),
    st.integers(0, 3),
)
def test_choosing_ends_and_takes_what_there_is(shown, size, seed):
    given = candidates(*shown)
    chosen = memory.choose(given, [1, 2, 3], size, seed)
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
    return memory.build(folder, step, selection, before, prepared, RUNTIME, out)


def read(prepared, folder, step):
    return memory.read(folder, tasks.read(prepared.tasks), step)


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
    assert {each.id for each in second} <= allowed, "pictures of step 0 that were not kept are gone"
    build(prepared, tmp_path / "again", folder / "step1", 2, before=folder / "memory1", size=100)
    assert (tmp_path / "again" / "memory.json").read_bytes() == (tmp_path / "memory2" / "memory.json").read_bytes()


def test_completed_masks_hold_own_labels_and_confident_answers(learned):
    prepared, folder = learned
    answered = 0
    for exemplar in read(prepared, folder / "memory1", 1):
        truth = np.array(Image.open(prepared.data / "masks" / f"{exemplar.id}.png"))
        mask = np.array(Image.open(folder / "memory1" / "masks" / f"{exemplar.id}.png"))
        own = np.isin(truth, (1, 2, 3))
        # The base answers with the classes that its own labels speak of: there is nothing to complete.
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
        answered += np.isin(mask[~known], list(others)).sum()
    assert answered > 0


@pytest.mark.parametrize("replay", ["current", "stored", "pseudo"])
def test_what_the_labels_of_replayed_pictures_speak_of(learned, replay):
    prepared, folder = learned
    task = train._task(prepared, 1)
    again = train._replayed(folder / "memory1", replay, prepared, task)
    ids = {"current": (4, 5), "stored": (1, 2, 3), "pseudo": (1, 2, 3)}[replay]
    assert len(again) == 8 and {picture.visible for picture in again} == {ids}
    assert all(set(np.unique(picture.table).tolist()) == {0, *ids, 255} for picture in again)
    samples = train.Samples(task.pictures + again, RECIPE, 1, 0)
    *_, last = samples[0, len(samples.pictures) - 1], samples[0, len(samples.pictures) - 1]
    if replay == "current":
        assert samples.first == 4 and len(last) == 2
    else:
        assert samples.first == 1 and last[2].tolist() == [True] * 3 + [False] * 2
        assert samples[0, 0][2].tolist() == [False] * 3 + [True] * 2


def test_another_word_for_replay_is_refused(learned):
    prepared, folder = learned
    with pytest.raises(InputError, match=r"^replay: expected current, stored or pseudo, got 'now'"):
        train._replayed(folder / "memory1", "now", prepared, train._task(prepared, 1))


@pytest.mark.parametrize("replay", ["current", "stored", "pseudo"])
def test_every_policy_trains(learned, tmp_path, replay):
    prepared, folder = learned
    options = {"previous": folder / "base", "memory": folder / "memory1", "replay": replay}
    fit(prepared, tmp_path / "a", **options)
    fit(prepared, tmp_path / "b", **options, workers=2)
    assert (tmp_path / "a" / "model.safetensors").read_bytes() == (tmp_path / "b" / "model.safetensors").read_bytes()
    assert json.loads((tmp_path / "a" / "step.json").read_text())["method"] == "dkd-m"


def test_stored_labels_are_those_that_the_step_of_the_picture_saw(drawn, tmp_path):
    """In `sequential`, labels of earlier steps are visible; so they are where a picture of step 1 is replayed."""
    prepared = prepare(drawn, tmp_path, sizes=(3, 2, 1), setting="sequential")
    steps = tasks.read(prepared.tasks)["steps"]
    kept = [{"id": steps[step]["train"][0], "step": step, "classes": [4]} for step in (0, 1)]
    (tmp_path / "memory.json").write_text(json.dumps({"step": 2, "exemplars": kept}))
    zero, one = train._replayed(tmp_path, "stored", prepared, train._task(prepared, 2))
    assert (zero.visible, one.visible) == ((1, 2, 3), (1, 2, 3, 4, 5))
    [own] = {picture.visible for picture in train._task(prepared, 1).pictures}
    assert one.visible == own and np.unique(one.table).tolist() == [0, 1, 2, 3, 4, 5, 255]


@pytest.mark.parametrize("step", [-1, 0, 1])
def test_a_picture_from_elsewhere_is_refused(learned, tmp_path, step):
    prepared, folder = learned
    steps = tasks.read(prepared.tasks)["steps"]
    later = sorted(set(steps[step or 1]["train"]) - set(steps[0]["train"]))[0]
    for name in ("val_00000", "x", later):
        (tmp_path / "memory.json").write_text(listed(1, {"id": name, "step": step, "classes": [1]}))
        with pytest.raises(InputError, match=f"exemplar '{name}' is no training picture of a step before 1"):
            fit(prepared, tmp_path / f"{name}-out", folder / "base", tmp_path)
        with pytest.raises(InputError, match=f"exemplar '{name}' is no training picture of a step before 1"):
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
        (listed(1, {**GOOD, "step": 7}), "exemplar 'x' is no training picture of a step before 1 (it names step 7)"),
    ],
)
def test_a_faulty_list_is_one_line(prepared, tmp_path, text, said):
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
        ("foreign", ["x"], "foreign.json: picture 'x' is not in the train split of"),
        ("none", [], "none.json: none of 0 candidates for step 1 shows a class"),
    ):
        content["steps"][0]["train"] = train_ids
        tasks.write(content, tmp_path / f"{name}.json")
        refused(words, folder / "base", 1, files={"tasks": tmp_path / f"{name}.json"})


def test_too_little_memory_is_one_line(learned, tmp_path, monkeypatch):
    prepared, folder = learned

    def greedy(*given):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(memory, "upsample", greedy)
    with pytest.raises(
        InputError, match=r"^out of memory: .*\.png at once, 32 x 32; choose on a CPU, or make it smaller$"
    ):
        build(prepared, tmp_path / "memory", folder / "base", 1)


def test_a_class_is_judged_where_labels_speak_of_it():
    from dkd import losses

    torch.manual_seed(0)
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(0, 4, (2, 4, 5), dtype=torch.uint8)
    visible = torch.tensor([[True, False, True], [False, False, True]])
    whole = losses.mbce(x, losses.Target(labels, 1, 2.0, visible=visible))
    parts = [
        losses.mbce(x[:1, :1], losses.Target(labels[:1], 1, 2.0)) / 2,
        losses.mbce(x[:, 2:], losses.Target(labels, 3, 2.0)),
    ]
    assert torch.allclose(whole, sum(parts))
    (gradient,) = torch.autograd.grad(whole, x)
    assert (gradient[:, 1] == 0).all() and (gradient[1, 0] == 0).all() and (gradient[0, 0] != 0).all()
    same = losses.mbce(x, losses.Target(labels, 1, 2.0, visible=torch.ones(2, 3, dtype=torch.bool)))
    assert torch.allclose(same, losses.mbce(x, losses.Target(labels, 1, 2.0)))


@pytest.mark.parametrize("void", ["negative", "ignore"])
def test_parts_of_a_batch_give_what_the_whole_gives(void):
    from dkd import losses

    torch.manual_seed(0)
    x = torch.randn(4, 3, 4, 5, dtype=torch.float64)
    labels = torch.randint(0, 4, (4, 4, 5), dtype=torch.uint8)
    labels[0, :3] = labels[1:3, 0] = 255
    visible = torch.tensor([[True, True, False], [False, False, True], [True, False, True], [False, False, True]])
    whole = losses.mbce(x, losses.Target(labels, 1, 2.0, void, visible))
    for size in (1, 2):
        parts = [
            losses.mbce(x[i : i + size], losses.Target(labels[i : i + size], 1, 2.0, void, visible[i : i + size]))
            for i in range(0, 4, size)
        ]
        assert torch.allclose(whole, torch.stack(parts).mean())
