"""Four optimizer steps of the full ResNet-101 network through the training loop, against the release's numbers."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from dkd.methods import dkd, joint
from dkd.model.segmenter import Segmenter, upsample
from dkd.training.log import Progress
from dkd.training.loop import Training, iterate
from dkd.training.optim import build_optimizer
from dkd.training.recipe import Recipe
from dkd.training.resume import State
from dkd.training.trackers import Curves
from tests import plain

SPEC = {
    "backbone": "resnet101.tv_in1k",
    "pretrained": False,
    "output_stride": 16,
    "norm_momentum": 0.01,
    "aspp_channels": 256,
    "aspp_dilations": (6, 12, 18),
    "dropout": 0.0,
}


def released_name(name: str) -> str:
    """Name of one of our tensors in the released checkpoints."""
    name = re.sub(r"^last_conv\.", "aspp.last_conv.", name)
    name = re.sub(r"^auxiliary\.", "cls.0.", name)
    return re.sub(r"^heads\.(\d+)\.", lambda m: f"cls.{int(m[1]) + 1}.", name)


def fill(model: Segmenter, seed: int):
    """Weights as the reference numbers were made from."""
    draw = np.random.RandomState(seed)
    tensors = {released_name(name): value for name, value in model.state_dict().items()}
    for name in sorted(tensors):
        value, shape = tensors[name], tuple(tensors[name].shape)
        if name.endswith("num_batches_tracked"):
            value.fill_(100)
            continue
        if name.endswith("running_var"):
            drawn = 0.5 + draw.rand(*shape)
        elif name.endswith("running_mean"):
            drawn = draw.randn(*shape) * 0.1
        elif len(shape) == 4:
            fan_in = np.prod(shape[1:])
            drawn = draw.randn(*shape) * (0.03 if name.startswith("cls.") else np.sqrt(1 / fan_in))
        elif name.startswith("cls"):
            drawn = draw.randn(*shape) * 0.1
        elif name.endswith("weight"):
            drawn = 0.5 + 0.5 * draw.rand(*shape)
        else:
            drawn = draw.randn(*shape) * 0.05
        value.copy_(torch.from_numpy(np.asarray(drawn, dtype=np.float32)))


def batches(case: dict):
    draw = np.random.RandomState(case["seed"] + 100)
    low, high = sum(case["classes"][:-1]) + 1, sum(case["classes"])
    for _ in range(4):
        images = torch.from_numpy(draw.randn(2, 3, 65, 97).astype(np.float32))
        cells = draw.randint(0, high - low + 3, (2, 5, 7))
        cells = np.where(cells == 0, 0, np.where(cells == high - low + 2, 255, cells + low - 1))
        labels = cells.repeat(13, 1).repeat(14, 2)[:, :65, :97].astype(np.uint8)
        yield images, torch.from_numpy(labels)


def plain_joint(student, teacher, target):
    terms = {
        "mbce": plain.mbce(plain.upsample(student.scores, student.size), target),
        "ac": plain.auxiliary(plain.upsample(student.auxiliary, student.size)),
    }
    return terms["mbce"] + terms["ac"], terms


def four_steps(case: dict, form, dtype=torch.float32, fused=True):
    """Student, optimizer, history of the loop with the objective `form`, and the tensors' norms after each step."""
    later = case["incremental"]
    recipe = Recipe(
        epochs=4,
        batch=2,
        crop=0,
        scale=(1, 1),
        ratio=(1, 1),
        flip=0,
        lr=case["lr"],
        head_lr=10.0,
        momentum=0.9,
        nesterov=True,
        weight_decay=1e-4,
        power=0.9,
        warmup=0.0,
        pos_weight=case["pos_weight"],
        void="negative",
        precision="fp32",
        seed=0,
        loss_options=plain.OPTIONS if later else {},
        head_init="auxiliary",
        replay=None,
        rates={},
        train_norms=False,
        frozen=None,
    )
    student = Segmenter(SPEC, case["classes"][:-1] if later else case["classes"])
    fill(student, case["seed"])
    teacher = None
    if later:
        teacher = Segmenter(SPEC, student.sizes).eval().requires_grad_(False)
        teacher.load_state_dict(student.state_dict())
        student.add_head(case["classes"][-1], "auxiliary")
    student = student.to(dtype)
    optimizer, schedule = build_optimizer(student, recipe, iterations=4)
    for group in optimizer.param_groups:
        group["fused"] = fused
    norms = []
    optimizer.register_step_post_hook(
        lambda *_: norms.append({name: value.double().norm().item() for name, value in student.state_dict().items()})
    )
    step, first = len(case["classes"]) - 1, sum(case["classes"][:-1]) + 1
    method, state = SimpleNamespace(loss=form), State(student, optimizer, schedule)
    training = Training(Accelerator(cpu=True), method, teacher, recipe, step, 4, first, {}, recipe.loss_options)
    loader = [(images.to(dtype), labels) for images, labels in batches(case)]
    iterate(training, state, loader, None, Progress(step, 4, 4, 2, main=False, curves=Curves([])))
    return student, optimizer, state.history, norms


@pytest.mark.shared
@pytest.mark.slow
def test_four_steps_of_an_increment_are_those_of_the_release(golden):
    case = golden("trajectories.json")["inc_15-1"]
    student, optimizer, history, norms = four_steps(case, dkd.loss)
    for found, known in zip(history, case["iterations"], strict=True):
        assert terms(found) == pytest.approx(terms(known), rel=1e-5)
    groups_are_those_of_the_release(optimizer, history, case)

    student.eval()
    with torch.no_grad():
        output = student(next(batches(case))[0])
    logits = upsample(torch.cat([output.auxiliary, *output.logits], dim=1), output.size).double()
    assert logits.mean().item() == pytest.approx(case["final_logits"]["mean"], rel=1e-4)
    assert logits.std().item() == pytest.approx(case["final_logits"]["std"], rel=1e-5)
    ours = {released_name(key): norm for key, norm in norms[-1].items()}
    assert {key: ours[key] for key in case["final_norms"]} == pytest.approx(case["final_norms"], rel=1e-5)


# At the base, batch norm over the two values of the pooled branch blows rounding up a thousandfold per step. The
# release's numbers are float32 and hold it; in double precision it stays small on any processor, and what is between
# the two is the release's own (up to 0.4%). A wrong momentum, rate of the heads, weight of positives or rule for void
# is further away than the bounds of the second iteration; a wrong decay is seen in the groups. The weights of the first
# convolution feel it most (0.7%).
@pytest.mark.shared
@pytest.mark.slow
def test_four_steps_of_the_base_are_those_of_the_release(golden):
    case = golden("trajectories.json")["base_15"]
    (_, optimizer, history, norms), (*_, expected, theirs) = (
        four_steps(case, form, torch.float64, fused) for form, fused in ((joint.loss, True), (plain_joint, False))
    )
    for found, known, plain_form, bound in zip(
        history, case["iterations"], expected, (1e-5, 1e-3, 1e-2, 1e-2), strict=True
    ):
        assert found == pytest.approx(plain_form, rel=1e-5)
        assert terms(found) == pytest.approx(terms(known), rel=bound)
    groups_are_those_of_the_release(optimizer, history, case)
    # Three steps: the fourth blows what is left of float64 up, too, in the weights.
    for found, plain_form in zip(norms[:3], theirs[:3], strict=True):
        assert found == pytest.approx(plain_form, rel=1e-5)
    ours, known = {released_name(key): norm for key, norm in norms[-1].items()}, dict(case["final_norms"])
    assert ours.pop("backbone.conv1.weight") == pytest.approx(known.pop("backbone.conv1.weight"), rel=1e-2)
    assert {key: ours[key] for key in known} == pytest.approx(known, rel=1e-3)


def terms(record: dict) -> dict:
    return {key: value for key, value in record.items() if key in ("total", "mbce", "kd", "dkd_pos", "dkd_neg", "ac")}


def groups_are_those_of_the_release(optimizer, history, case: dict):
    known = case["iterations"]
    assert [record["lr"] for record in history] == pytest.approx([record["lr"][0] for record in known], rel=1e-9)
    groups = optimizer.param_groups
    assert [group["lr"] for group in groups] == [0.0] * len(known[0]["lr"])
    assert [group["initial_lr"] for group in groups] == pytest.approx(known[0]["lr"], rel=1e-9)
