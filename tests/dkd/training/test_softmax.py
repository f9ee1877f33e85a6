"""Training of the methods with a softmax on real files with a tiny network."""

import csv
import json
from types import SimpleNamespace

import pytest
import torch
from accelerate.state import AcceleratorState

from dkd import checkpoint, evaluation
from dkd.errors import InputError
from dkd.methods import dkd, ilt, joint_softmax, lwf, lwf_mc, mib, plop, rcil_terms
from dkd.model.segmenter import Segmenter
from dkd.training.networks import set_mode
from tests.dkd.conftest import RUNTIME, SCORING, SPEC, train_step
from tests.dkd.training.conftest import Stopped, disturb, recipe_of, same, tensors

TERMS = {
    lwf: ["ce", "kd"],
    lwf_mc: ["bce", "kd"],
    ilt: ["ce", "kd", "feature"],
    mib: ["ce", "kd"],
    plop: ["ce", "pod"],
    rcil_terms: ["ce", "kd", "spatial", "channel"],
}


def test_the_base_has_a_background(soft_base):
    model, step = checkpoint.load(soft_base.folder, "cpu")
    assert step.model["head"] == "softmax" and step.method == "joint-softmax" and step.sizes == model.sizes == (4,)
    assert soft_base.tensors["heads.0.weight"].shape[0] == 5


@pytest.mark.parametrize("method", TERMS)
def test_two_steps_train_everything_and_are_evaluated(prepared, soft_base, tmp_path, method):
    previous = soft_base.folder
    for step in (1, 2):
        out = tmp_path / f"step{step}"
        train_step(prepared, out, previous, method, step, recipe_of(method))
        with (out / "train.csv").open() as file:
            history = list(csv.DictReader(file))
        assert [name for name in history[0] if name not in ("epoch", "lr", "total")] == TERMS[method]
        before, after = tensors(previous), tensors(out)
        same_ = {name for name in before if torch.equal(before[name], after[name])}
        assert same_ == {"auxiliary.weight", "auxiliary.bias"}
        previous = out
    model, learned = checkpoint.load(previous, "cpu")
    assert model.sizes == learned.sizes == (4, 1, 1) and learned.model["head"] == "softmax"
    evaluation.evaluate(previous, 2, SCORING, prepared, RUNTIME, tmp_path)
    found = json.loads((tmp_path / "metrics.json").read_text())["protocols"]["paper"]
    assert len(found["per_class"]) == 7 and 0 < found["all"] <= 100


def test_norms_may_stay_as_the_base_left_them(prepared, soft_base, tmp_path):
    recipe = recipe_of(mib)._replace(train_norms=False, rates={})
    train_step(prepared, tmp_path / "out", soft_base.folder, mib, 1, recipe)
    after = tensors(tmp_path / "out")
    norms = [name for name in after if name.endswith(("running_mean", "running_var")) or ".bn" in name]
    assert norms and all(torch.equal(after[name], soft_base.tensors[name]) for name in norms)


def test_norms_are_trained_without_dropout():
    model = Segmenter(SPEC, [2])
    set_mode(model, model, False)
    assert all(module.training for module in model.modules())
    model.add_head(1, "random")
    set_mode(model, model, True)
    assert {type(module) for module in model.modules() if not module.training} == {torch.nn.Dropout}
    set_mode(model, model, False)
    assert not any(module.training for module in model.modules())


@pytest.mark.parametrize(("method", "words"), [(mib, "sigmoids, those of mib are with a softmax"), (dkd, "a softmax,")])
def test_a_base_that_does_not_fit_is_one_line(prepared, base, soft_base, tmp_path, method, words):
    folder = base.folder if method is mib else soft_base.folder
    with pytest.raises(InputError, match=f"^{folder}: its classifiers were trained with {words}.* a base or a method"):
        train_step(prepared, tmp_path / "out", folder, method, 1, recipe_of(method))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"HEAD": "both"}, "HEAD: expected sigmoid or softmax or unknown, got 'both'"),
        ({"MAPS": ("aspp",)}, "MAPS: unknown 'aspp'"),
    ],
)
def test_a_method_out_of_contract_is_one_line(prepared, soft_base, tmp_path, changes, words):
    method = SimpleNamespace(**{"__name__": "dkd.methods.mine", "TEACHER": False, "loss": None, **changes})
    with pytest.raises(InputError, match=rf"^dkd\.methods\.mine: {words}"):
        train_step(prepared, tmp_path / "out", soft_base.folder, method, 1)


def test_what_is_prepared_is_kept_when_a_training_resumes(prepared, soft_base, tmp_path):
    """It is made once, with the previous network, and changes no random number of the training."""
    recipe, made = recipe_of(plop, epochs=4), []

    def counted(batches, classes, **options):
        batches = list(batches)
        assert classes == 5 and all(output.channels.shape[1] == 5 for output, _ in batches)
        made.append(sum(len(target.labels) for _, target in batches))
        return plop.prepare(batches, classes, **options)

    def die(total):
        raise Stopped

    train_step(prepared, tmp_path / "whole", soft_base.folder, plop, 1, recipe)
    method = disturb(plop, 7, die)
    method.prepare = counted
    given = {"work": tmp_path / "state", "save_minutes": 1e-9}
    with pytest.raises(Stopped):
        train_step(prepared, tmp_path / "out", soft_base.folder, method, 1, recipe, **given)
    cost = train_step(prepared, tmp_path / "out", soft_base.folder, method, 1, recipe, **given)
    assert cost["resumed_at"] == 6 and made == [cost["iterations"]]
    assert same(tensors(tmp_path / "out"), tensors(tmp_path / "whole"))


def test_a_method_without_teacher_may_have_a_softmax(prepared, soft_base, tmp_path):
    train_step(prepared, tmp_path / "out", soft_base.folder, joint_softmax, 1, recipe_of(joint_softmax))
    assert len(tensors(tmp_path / "out")["heads.1.weight"]) == 1


@pytest.mark.parametrize("method", [lwf, lwf_mc, ilt, mib, plop, rcil_terms])
def test_a_batch_is_the_sum_of_its_micro_batches(prepared, soft_base, tmp_path, method):
    """With frozen norms; those that are trained see the micro-batch."""
    recipe = recipe_of(method)._replace(train_norms=False, lr=1e-6)
    found = []
    for name, most in (("whole", None), ("parts", 2)):
        train_step(prepared, tmp_path / name, soft_base.folder, method, 1, recipe, micro_batch=most)
        with (tmp_path / name / "train.csv").open() as file:
            found.append([[float(value) for value in row.values()] for row in csv.DictReader(file)])
    assert torch.allclose(*(torch.tensor(each, dtype=torch.float64) for each in found), rtol=1e-4)


@pytest.mark.parametrize("method", [mib, plop, rcil_terms])
def test_mixed_precision_trains(prepared, soft_base, tmp_path, method):
    found = []
    for precision in ("fp32", "bf16"):
        AcceleratorState._reset_state(reset_partial_state=True)
        recipe, out = recipe_of(method)._replace(precision=precision), tmp_path / precision
        train_step(prepared, out, soft_base.folder, method, 1, recipe)
        with (out / "train.csv").open() as file:
            found.append([float(row["total"]) for row in csv.DictReader(file)])
        assert {value.dtype for name, value in tensors(out).items() if name.endswith("weight")} == {torch.float32}
    AcceleratorState._reset_state(reset_partial_state=True)
    assert found[0] != found[1] and found[1] == pytest.approx(found[0], rel=0.1)
