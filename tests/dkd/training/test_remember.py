"""Training of the methods that keep something of earlier steps or freeze parts, on real files with a tiny network."""

import csv
import json
from types import SimpleNamespace

import pytest
import torch

from dkd import checkpoint, evaluation
from dkd.errors import InputError
from dkd.methods import dkd, joint_unknown, ssul, star
from dkd.training import networks
from tests.dkd.conftest import RECIPE, RUNTIME, SCORING, SPEC, train_step
from tests.dkd.training.conftest import Stopped, base_of, disturb, recipe_of, same, tensors


@pytest.fixture(scope="module")
def unknown_base(prepared, tmp_path_factory):
    """A base with an unknown class."""
    return base_of(prepared, tmp_path_factory.mktemp("unknown") / "s0", method=joint_unknown)


def names(history):
    return [name for name in history[0] if name not in ("epoch", "lr", "total")]


def history_of(folder):
    with (folder / "train.csv").open() as file:
        return list(csv.DictReader(file))


def scores_of(folder, prepared, tmp_path):
    evaluation.evaluate(folder, 2, SCORING, prepared, RUNTIME, tmp_path)
    return json.loads((tmp_path / "metrics.json").read_text())["protocols"]["paper"]


def test_the_base_remembers_its_classes(base):
    kept = checkpoint.kept(base.folder)
    assert kept["units"].shape == kept["noise"].shape == (4, 8) and kept["cells"].shape == (4,)
    assert torch.allclose(kept["units"].norm(dim=1), torch.ones(4, dtype=torch.float64))
    # 20 of the 22 images are seen, with 2 x 2 cells each; void and background are none of the classes.
    assert 0 < kept["cells"].sum() <= 20 * 4 - kept["background"]


def test_two_steps_of_star(prepared, base, tmp_path):
    previous = base.folder
    for step in (1, 2):
        out = tmp_path / f"step{step}"
        train_step(prepared, out, previous, star, step, recipe_of(star))
        history = history_of(out)
        assert names(history) == ["mbce", "pkd", "contrast"]
        assert all(float(row["contrast"]) > 0 for row in history)
        before, after, kept = tensors(previous), tensors(out), checkpoint.kept(out)
        changed = {name for name in before if not torch.equal(before[name], after[name])}
        assert {name.split(".")[0] for name in changed} == {"backbone", "aspp", "last_conv", "heads"}
        assert not [name for name in changed if "running" in name or "num_batches" in name]
        assert all(len(kept[name]) == 4 + step for name in kept if name != "background")
        assert same({k: v[: 3 + step] for k, v in kept.items() if k in ("units", "noise")}, _old(previous))
        previous = out
    assert len(scores_of(previous, prepared, tmp_path)["per_class"]) == 7


def _old(folder):
    return {name: value for name, value in checkpoint.kept(folder).items() if name in ("units", "noise")}


def test_a_checkpoint_without_prototypes_is_one_line(prepared, base, tmp_path):
    train_step(prepared, tmp_path / "one", base.folder, dkd, 1, recipe_of(dkd))
    with pytest.raises(InputError, match=r"^the previous checkpoint keeps no prototypes; train its step again"):
        train_step(prepared, tmp_path / "two", tmp_path / "one", star, 2, recipe_of(star))


def test_two_steps_of_ssul_train_new_and_unknown_alone(prepared, unknown_base, tmp_path):
    previous = unknown_base.folder
    for step in (1, 2):
        out = tmp_path / f"step{step}"
        train_step(prepared, out, previous, ssul, step, recipe_of(ssul))
        before, after = tensors(previous), tensors(out)
        changed = {name for name in before if not torch.equal(before[name], after[name])}
        assert changed == {"unknown.weight", "unknown.bias"} and names(history_of(out)) == ["bce"]
        assert float(history_of(out)[0]["lr"]) > 0
        previous = out
    model, learned = checkpoint.load(previous, "cpu")
    assert model.sizes == (4, 1, 1) and learned.model["head"] == model.head == "unknown"
    assert 0 < scores_of(previous, prepared, tmp_path)["all"] <= 100


def test_the_base_of_ssul_is_its_own(prepared, base, unknown_base, tmp_path):
    assert unknown_base.tensors["heads.0.weight"].shape[0] == 4 and "background.weight" in unknown_base.tensors
    with pytest.raises(InputError, match="trained with sigmoids, those of ssul are with sigmoids and an unknown class"):
        train_step(prepared, tmp_path / "out", base.folder, ssul, 1, recipe_of(ssul))


@pytest.mark.parametrize("method", [star, ssul])
def test_a_step_resumes_bit_for_bit(prepared, base, unknown_base, tmp_path, method):
    """The features that star draws are the same ones, and what it keeps as well."""

    def die(total):
        raise Stopped

    folder, recipe = (base if method is star else unknown_base).folder, recipe_of(method, epochs=4)
    train_step(prepared, tmp_path / "whole", folder, method, 1, recipe)
    given = {"work": tmp_path / "state", "save_minutes": 1e-9}
    with pytest.raises(Stopped):
        train_step(prepared, tmp_path / "out", folder, disturb(method, 7, die), 1, recipe, **given)
    cost = train_step(prepared, tmp_path / "out", folder, method, 1, recipe, **given)
    assert cost["resumed_at"] == 6
    for name in ("model.safetensors", "train.csv", "loss.csv"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_an_unknown_class_leaves_room_for_253_classes():
    task = SimpleNamespace(sizes=(200, 54))
    with pytest.raises(InputError, match="254 classes, but with an unknown class there are at most 253"):
        networks.build_networks(joint_unknown, RECIPE, SPEC, task, torch.device("cpu"))
