"""Training of a step on real files with a tiny network: same seed, same bits; what each method changes; refusals."""

import csv
import json
from statistics import fmean
from types import ModuleType

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from PIL import Image

from dkd import checkpoint, evaluation
from dkd.errors import InputError
from dkd.methods import dkd, finetune, joint, kd
from dkd.model.segmenter import Segmenter
from dkd.training.log import Progress
from dkd.training.loop import Training, iterate
from dkd.training.optim import build_optimizer
from dkd.training.resume import State
from dkd.training.trackers import Curves
from tests.dkd.conftest import LATER, RECIPE, RUNTIME, SCORING, SPEC, prepare, train_step
from tests.dkd.training.conftest import base_of, same, weights_of


def test_same_seed_same_bits(prepared, base, tmp_path):
    assert same(base.tensors, base_of(prepared, tmp_path / "again").tensors)
    assert same(base.tensors, base_of(prepared, tmp_path / "cached", workers=2, image_cache=1).tensors)
    assert not same(base.tensors, base_of(prepared, tmp_path / "other", recipe=RECIPE._replace(seed=1)).tensors)


def test_the_base_is_complete(base):
    with (base.folder / "train.csv").open() as file:
        history = list(csv.DictReader(file))
    assert [row["epoch"] for row in history] == ["1", "2"]
    assert all(float(row["total"]) == pytest.approx(float(row["mbce"]) + float(row["ac"]), rel=1e-5) for row in history)
    with (base.folder / "loss.csv").open() as file:
        curve = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    assert [each["iteration"] for each in curve] == list(range(1, 11))
    assert [each["epoch"] for each in curve] == pytest.approx([k / 5 for k in range(1, 11)])
    means = [fmean(each["total"] for each in part) for part in (curve[:5], curve[5:])]
    assert means == pytest.approx([float(row["total"]) for row in history], rel=1e-5)
    # 22 of the 24 images show a class of the base; two do not fill a batch of four.
    assert base.cost["iterations"] == 2 * 5 and base.cost["images"] == 40
    model, step = checkpoint.load(base.folder, "cpu")
    assert same(dict(model.state_dict()), base.tensors) and not model.training
    assert checkpoint.names(step) == ["background", "disc", "square", "triangle", "cross"]
    assert (step.order, step.sizes, step.method) == ((1, 2, 3, 4), (4,), "joint") and step.class_names[5] == "ring"
    # Crops of 32 x 32 show half of an image or more.
    assert step.side == 45


@pytest.mark.parametrize("method", [finetune, kd, dkd])
def test_what_a_step_changes(prepared, base, tmp_path, method):
    after = weights_of(prepared, tmp_path / "step1", base.folder, method)
    assert after["heads.1.weight"].shape[0] == 1
    changed = {name for name in base.tensors if not torch.equal(after[name], base.tensors[name])}
    model, _ = checkpoint.load(tmp_path / "step1", "cpu")
    parts = [name for name, module in model.named_modules() if isinstance(module, torch.nn.BatchNorm2d)]
    norms = {f"{part}.{name}" for part in parts for name in model.get_submodule(part).state_dict()}
    assert norms and not norms & changed, "batch norms stay as the base left them"
    assert {name.split(".")[0] for name in changed} >= {"backbone", "aspp", "last_conv"}
    # Without distillation, no gradient reaches old classifiers.
    assert ("heads.0.weight" in changed) == (method is not finetune)
    assert ("auxiliary.weight" in changed) == (method is dkd)


def test_a_batch_is_the_sum_of_its_micro_batches(prepared, base, tmp_path):
    """Batch norms are frozen after the base: accumulation changes rounding and nothing else."""
    whole = weights_of(prepared, tmp_path / "whole", base.folder, dkd)
    parts = weights_of(prepared, tmp_path / "parts", base.folder, dkd, micro_batch=2)
    assert all(torch.allclose(whole[name], parts[name], rtol=1e-4, atol=1e-5) for name in whole)


def test_a_second_step_continues_from_the_first(prepared, base, tmp_path):
    train_step(prepared, tmp_path / "one", base.folder, dkd)
    train_step(prepared, tmp_path / "two", tmp_path / "one", dkd, step=2)
    model, step = checkpoint.load(tmp_path / "two", "cpu")
    assert model.sizes == (4, 1, 1) and step.order == (1, 2, 3, 4, 5, 6) and step.method == "dkd"
    with pytest.raises(InputError, match=r"s0: has learned \(1, 2, 3, 4\) in steps of \(4,\); the tasks file has"):
        train_step(prepared, tmp_path / "wrong", base.folder, dkd, step=2)


@pytest.mark.parametrize("missing", ["TEACHER", "loss"])
def test_an_incomplete_method_is_one_line(missing, prepared, base, tmp_path):
    mine = ModuleType("dkd.methods.mine")
    parts = {"TEACHER": False, "loss": None}
    vars(mine).update({name: part for name, part in parts.items() if name != missing})
    with pytest.raises(InputError, match=rf"^dkd\.methods\.mine: {missing} is missing; "):
        train_step(prepared, tmp_path / "out", base.folder, mine)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch": 64}, "step 0: 22 training images are fewer than a batch of 64; lower train.batch"),
        ({"batch": 1}, "training batch norms needs 2 images at a time; raise train.batch"),
        ({"precision": "fp16"}, "train.precision: fp16 needs a CUDA device"),
    ],
)
def test_a_recipe_that_cannot_be_followed_is_one_line(changes, words, prepared, tmp_path):
    with pytest.raises(InputError, match=words):
        base_of(prepared, tmp_path / "out", recipe=RECIPE._replace(**changes))


def test_mixed_precision_trains(prepared, base, tmp_path):
    AcceleratorState._reset_state(reset_partial_state=True)
    after = weights_of(prepared, tmp_path / "bf16", base.folder, dkd, recipe=LATER._replace(precision="bf16"))
    AcceleratorState._reset_state(reset_partial_state=True)
    assert {value.dtype for name, value in after.items() if name.endswith("weight")} == {torch.float32}
    whole = weights_of(prepared, tmp_path / "fp32", base.folder, dkd)
    weight = "heads.0.weight"
    moved = (whole[weight] - base.tensors[weight]).abs().max()
    assert 0 < (after[weight] - whole[weight]).abs().max() < 0.2 * moved


@pytest.mark.parametrize("overflows", [0, 1, 2])
def test_steps_that_overflow_in_fp16_are_skipped(overflows):
    """The first of them meet an optimizer without buffers."""
    found = []
    for fused in (True, False):
        torch.manual_seed(0)
        student, recipe = Segmenter({**SPEC, "dropout": 0.0}, [3]), RECIPE._replace(epochs=1)
        optimizer, schedule = build_optimizer(student, recipe, 5)
        accelerator = Accelerator(cpu=True)
        accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=65536.0)
        if not fused:
            optimizer = torch.optim.SGD(
                [{k: v for k, v in group.items() if k != "fused"} for group in optimizer.param_groups],
                momentum=RECIPE.momentum,
                nesterov=RECIPE.nesterov,
            )
            schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule.lr_lambdas[0])
        left = iter([float("inf")] * overflows)
        student.heads[0].bias.register_hook(lambda gradient, left=left: gradient * next(left, 1.0))
        draw = torch.Generator().manual_seed(3)
        batches = [
            (torch.randn(4, 3, 32, 32, generator=draw), torch.randint(0, 4, (4, 32, 32), generator=draw).byte())
            for _ in range(5)
        ]
        # What unset memory would hold.
        [torch.full((5000,), 7.0) for _ in range(500)].clear()
        training, state = (
            Training(accelerator, joint, None, recipe, 0, 5, 1, {}, {}),
            State(student, optimizer, schedule),
        )
        iterate(training, state, batches, None, Progress(0, 1, 5, 4, main=False, curves=Curves([])))
        total = state.history[-1]["total"]
        found.append((total, *(value.double().norm().item() for value in student.parameters())))
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_a_loss_that_is_not_finite_stops_the_step(prepared, base, tmp_path):
    options = {**LATER.loss_options, "kd": float("nan")}
    with pytest.raises(InputError, match=r"step 1, epoch 1, iteration 1: loss is not finite \(total nan, mbce 0"):
        weights_of(prepared, tmp_path / "nan", base.folder, dkd, recipe=LATER._replace(loss_options=options))
    assert not any((tmp_path / "nan").iterdir())


def test_a_permuted_order_gives_the_metrics_of_relabelled_masks(drawn, tmp_path):
    """Nothing depends on the numbers of classes, only on their order."""
    order = (3, 6, 1, 5, 2, 4)
    relabelled = tmp_path / "relabelled"
    for folder in ("images", "masks", "splits"):
        (relabelled / folder).mkdir(parents=True)
    for path in (*drawn.glob("images/*"), *drawn.glob("splits/*")):
        (relabelled / path.relative_to(drawn)).write_bytes(path.read_bytes())
    table = [0, *(1 + order.index(label) for label in range(1, 7)), *range(7, 256)]
    for path in drawn.glob("masks/*"):
        Image.open(path).point(table).save(relabelled / "masks" / path.name)
    names = (drawn / "classes.txt").read_text().split()
    (relabelled / "classes.txt").write_text("\n".join([names[0], *(names[label] for label in order)]))
    found = []
    for name, root, labels in (("permuted", drawn, order), ("plain", relabelled, tuple(range(1, 7)))):
        out = tmp_path / name
        out.mkdir()
        inputs = prepare(root, out, order=labels)
        trained = base_of(inputs, out / "base")
        evaluation.evaluate(trained.folder, 0, SCORING, inputs, RUNTIME, out)
        found.append((trained.tensors, json.loads((out / "metrics.json").read_text())))
    assert same(found[0][0], found[1][0]) and found[0][1] == found[1][1]
    assert list(found[0][1]["protocols"]["paper"]["per_class"]) == ["background", "triangle", "star", "disc", "ring"]


def test_sequential_labels_train_earlier_classes_too(drawn, base, tmp_path):
    """Without distillation, old classifiers change only where their classes are labelled."""
    changed = {}
    for setting in ("overlap", "sequential"):
        (tmp_path / setting).mkdir()
        inputs = prepare(drawn, tmp_path / setting, sizes=(4, 2), setting=setting)
        after = weights_of(inputs, tmp_path / setting / "step", base.folder, finetune)
        changed[setting] = not torch.equal(after["heads.0.weight"], base.tensors["heads.0.weight"])
    assert changed == {"overlap": False, "sequential": True}


@pytest.mark.parametrize("head_init", ["random", "auxiliary"])
def test_new_classifiers_are_initialised_as_the_recipe_says(prepared, base, tmp_path, head_init):
    recipe = LATER._replace(lr=1e-12, epochs=1, head_init=head_init)
    after = weights_of(prepared, tmp_path / "step", base.folder, dkd, recipe=recipe)
    copied = torch.allclose(after["heads.1.weight"], base.tensors["auxiliary.weight"])
    assert copied == (head_init == "auxiliary")
