"""Which images a step trains on, with which labels, in which order."""

import json

import numpy as np
import pytest

from dkd.data import tasks
from dkd.errors import InputError
from dkd.training.data import Batches, Samples, micro_batch, read_replayed, read_task
from tests.dkd.conftest import RECIPE, prepare


@pytest.fixture(scope="module")
def replaying(drawn, tmp_path_factory):
    """Inputs of steps of 3, 2 and 1 classes, and a memory of two images for step 1."""
    folder = tmp_path_factory.mktemp("replaying")
    inputs = prepare(drawn, folder, sizes=(3, 2, 1))
    write_memory(folder, 1, [(id, 0) for id in tasks.read(inputs.tasks)["steps"][0]["train"][:2]])
    return inputs, folder


def write_memory(folder, step, kept):
    exemplars = [{"id": id, "step": origin, "classes": [1]} for id, origin in kept]
    (folder / "memory.json").write_text(json.dumps({"step": step, "exemplars": exemplars}))


def test_every_image_once_per_epoch_whatever_the_processes():
    recipe = RECIPE._replace(batch=4, epochs=2)
    one = [x for batch in Batches(11, recipe, 0, 4, 0, 1) for x in batch]
    assert len(one) == 16 and all(len({p for e, p in one if e == epoch}) == 8 for epoch in (0, 1))
    ranks = [list(Batches(11, recipe, 0, 1, rank, 2)) for rank in (0, 1)]
    together = [x for i in range(0, len(ranks[0]), 2) for rank in ranks for part in rank[i : i + 2] for x in part]
    assert together == one and len(ranks[0]) == len(Batches(11, recipe, 0, 1, 0, 2))


def test_micro_batches_divide_the_share_of_a_process():
    assert [micro_batch(*x) for x in [(32, 1, None), (32, 2, 5), (24, 1, 7), (6, 3, 1)]] == [32, 4, 6, 1]
    with pytest.raises(InputError, match="not a multiple of 3 processes"):
        micro_batch(32, 3, None)


@pytest.mark.parametrize(("replay", "ids"), [("current", (4, 5)), ("stored", (1, 2, 3)), ("pseudo", (1, 2, 3))])
def test_which_classes_are_labelled_in_replayed_images(replaying, replay, ids):
    inputs, folder = replaying
    task = read_task(inputs, 1)
    replayed = read_replayed(folder, replay, inputs, task)
    assert len(replayed) == 2 and {sample.visible for sample in replayed} == {ids}
    assert all(set(np.unique(sample.table).tolist()) == {0, *ids, 255} for sample in replayed)
    own, other = Samples(task.samples, RECIPE, 1, 0), Samples(task.samples + replayed, RECIPE, 1, 0)
    assert own.first == 4 and len(own[0, 0]) == 2
    if replay == "current":
        assert other.first == 4 and len(other[0, 0]) == 2
    else:
        for id in (sample.id.removesuffix(" again") for sample in replayed):
            (folder / "masks").mkdir(exist_ok=True)
            (folder / "masks" / f"{id}.png").write_bytes((inputs.data / "masks" / f"{id}.png").read_bytes())
        assert other.first == 1 and other[0, len(task.samples)][2].tolist() == [True] * 3 + [False] * 2
        assert other[0, 0][2].tolist() == [False] * 3 + [True] * 2


def test_an_unknown_kind_of_replay_is_refused(replaying):
    inputs, folder = replaying
    with pytest.raises(InputError, match=r"^replay: expected current, stored or pseudo, got 'now'"):
        read_replayed(folder, "now", inputs, read_task(inputs, 1))


def test_stored_labels_are_those_of_the_step_of_the_image(drawn, tmp_path):
    """In `sequential`, labels of earlier steps are visible; so they are where an image of step 1 is replayed."""
    inputs = prepare(drawn, tmp_path, sizes=(3, 2, 1), setting="sequential")
    steps = tasks.read(inputs.tasks)["steps"]
    write_memory(tmp_path, 2, [(steps[step]["train"][0], step) for step in (0, 1)])
    zero, one = read_replayed(tmp_path, "stored", inputs, read_task(inputs, 2))
    assert (zero.visible, one.visible) == ((1, 2, 3), (1, 2, 3, 4, 5))
    [own] = {sample.visible for sample in read_task(inputs, 1).samples}
    assert one.visible == own and np.unique(one.table).tolist() == [0, 1, 2, 3, 4, 5, 255]
