"""The loop over real files with a tiny network: same seed, same bits; what each method touches; what is refused."""

import csv
import json
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from hypothesis import given as drawn_from
from hypothesis import settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from tensorboard.backend.event_processing import event_accumulator

from dkd import bilinear, checkpoint, devices, evaluate
from dkd.errors import InputError
from dkd.methods import dkd, finetune, joint, kd
from dkd.model.segmenter import Segmenter
from dkd.training import loop as train
from tests import plain
from tests.dkd.conftest import LATER, RECIPE, RUNTIME, SPEC, prepare, train_base, train_step

WEIGHTS = {finetune: {}, kd: {"kd": 5.0}}


def fit_base(prepared, out, **changes):
    cost = train_base(prepared, out, **changes)
    return SimpleNamespace(folder=out, tensors=load_file(out / "model.safetensors"), cost=cost)


def fit_step(prepared, out, previous, method, step=1, recipe=LATER, **changes):
    options = WEIGHTS.get(method, recipe.loss_options)
    train_step(prepared, out, previous, method, step, recipe._replace(loss_options=options), **changes)
    return load_file(out / "model.safetensors")


@pytest.fixture(scope="module")
def base(prepared, tmp_path_factory):
    return fit_base(prepared, tmp_path_factory.mktemp("base") / "s0")


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_same_seed_same_bits(prepared, base, tmp_path):
    assert same(base.tensors, fit_base(prepared, tmp_path / "again").tensors)
    assert same(base.tensors, fit_base(prepared, tmp_path / "workers", workers=2).tensors)
    assert same(base.tensors, fit_base(prepared, tmp_path / "cached", workers=2, image_cache=1).tensors)
    assert not same(base.tensors, fit_base(prepared, tmp_path / "other", recipe=RECIPE._replace(seed=1)).tensors)


def test_the_base_is_written_whole(base):
    with (base.folder / "train.csv").open() as file:
        history = list(csv.DictReader(file))
    assert [row["epoch"] for row in history] == ["1", "2"]
    assert all(float(row["total"]) == pytest.approx(float(row["mbce"]) + float(row["ac"]), rel=1e-5) for row in history)
    learned = json.loads((base.folder / "step.json").read_text())
    assert learned["order"] == [1, 2, 3, 4] and learned["sizes"] == [4] and learned["class_names"][5] == "ring"
    # 22 of the 24 pictures show a class of the base; two do not fill a batch of four.
    assert base.cost["iterations"] == 2 * 5 and base.cost["images"] == 40


def test_curves_for_tensorboard_are_the_records(prepared, base, tmp_path, monkeypatch):
    found = fit_base(prepared, tmp_path / "s0", tensorboard_dir=tmp_path / "board")
    assert same(found.tensors, base.tensors)
    events = event_accumulator.EventAccumulator(str(tmp_path / "board")).Reload()
    with (tmp_path / "s0" / "train.csv").open() as file:
        history = list(csv.DictReader(file))
    assert set(events.Tags()["scalars"]) == history[0].keys() - {"epoch"}
    for name in events.Tags()["scalars"]:
        for event, row in zip(events.Scalars(name), history, strict=True):
            assert event.step == int(row["epoch"]) and event.value == pytest.approx(float(row[name]), rel=1e-6)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(InputError, match=r"TensorBoard is not installed: pip install 'dkd\[tensorboard\]'"):
        fit_base(prepared, tmp_path / "missing", tensorboard_dir=tmp_path / "board")


def test_a_checkpoint_comes_back_as_it_was(base):
    model, step = checkpoint.load(base.folder)
    assert same(dict(model.state_dict()), base.tensors) and not model.training
    assert checkpoint.names(step) == ["background", "disc", "square", "triangle", "cross"]


@pytest.mark.parametrize("method", [finetune, kd, dkd])
def test_what_a_step_touches(prepared, base, tmp_path, method):
    after = fit_step(prepared, tmp_path / "step1", base.folder, method)
    assert after["heads.1.weight"].shape[0] == 1
    changed = {name for name in base.tensors if not torch.equal(after[name], base.tensors[name])}
    kept = set(base.tensors) - changed
    model, _ = checkpoint.load(tmp_path / "step1")
    parts = [name for name, module in model.named_modules() if isinstance(module, torch.nn.BatchNorm2d)]
    norms = {f"{part}.{name}" for part in parts for name in model.get_submodule(part).state_dict()}
    assert norms and norms <= kept, "batch norms stay as the base left them"
    assert {name.split(".")[0] for name in changed} >= {"backbone", "aspp", "last_conv"}
    assert ("heads.0.weight" in changed) == (method is not finetune), (
        "without distillation nothing reaches old classifiers"
    )
    assert ("auxiliary.weight" in changed) == (method is dkd)


def test_new_classifiers_start_from_the_auxiliary_one():
    model = Segmenter(SPEC, [2])
    model.add_head(3, from_auxiliary=True)
    assert torch.equal(model.heads[1].weight, model.auxiliary.weight.expand(3, -1, -1, -1))
    assert torch.equal(model.heads[1].bias, model.auxiliary.bias.expand(3))
    model.add_head(1, from_auxiliary=False)
    assert not torch.equal(model.heads[2].weight, model.auxiliary.weight) and model.sizes == (2, 3, 1)


def test_the_auxiliary_classifier_sends_nothing_back():
    model = Segmenter(SPEC, [2]).eval()
    model(torch.randn(2, 3, 32, 32)).auxiliary.sum().backward()
    assert model.auxiliary.weight.grad is not None
    assert all(p.grad is None for name, p in model.named_parameters() if not name.startswith("auxiliary"))


def test_a_whole_batch_is_its_micro_batches(prepared, base, tmp_path):
    """Batch norms are frozen after the base: accumulation changes rounding and nothing else."""
    whole = fit_step(prepared, tmp_path / "whole", base.folder, dkd)
    parts = fit_step(prepared, tmp_path / "parts", base.folder, dkd, micro_batch=2)
    assert all(torch.allclose(whole[name], parts[name], rtol=1e-4, atol=1e-5) for name in whole)
    assert [train.micro_batch(*x) for x in [(32, 1, None), (32, 2, 5), (24, 1, 7), (6, 3, 1)]] == [32, 4, 6, 1]
    with pytest.raises(InputError, match="not a multiple of 3 processes"):
        train.micro_batch(32, 3, None)


def test_every_picture_once_per_epoch_whatever_the_processes():
    recipe = RECIPE._replace(batch=4, epochs=2)
    one = [x for batch in train.Batches(11, recipe, 4, 0, 1, 0) for x in batch]
    assert len(one) == 16 and all(len({p for e, p in one if e == epoch}) == 8 for epoch in (0, 1))
    ranks = [list(train.Batches(11, recipe, 1, rank, 2, 0)) for rank in (0, 1)]
    together = [x for i in range(0, len(ranks[0]), 2) for rank in ranks for part in rank[i : i + 2] for x in part]
    assert together == one and len(ranks[0]) == len(train.Batches(11, recipe, 1, 0, 2, 0))


def test_a_second_step_goes_on_from_the_first(prepared, base, tmp_path):
    fit_step(prepared, tmp_path / "one", base.folder, dkd)
    fit_step(prepared, tmp_path / "two", tmp_path / "one", dkd, step=2)
    model, step = checkpoint.load(tmp_path / "two")
    assert model.sizes == (4, 1, 1) and step.order == (1, 2, 3, 4, 5, 6) and step.method == "dkd"
    with pytest.raises(InputError, match="has learned"):
        fit_step(prepared, tmp_path / "wrong", base.folder, dkd, step=2)


@pytest.mark.parametrize("missing", ["TEACHER", "loss"])
def test_a_method_without_what_it_needs_is_one_line(missing, prepared, base, tmp_path):
    mine = ModuleType("dkd.methods.mine")
    parts = {"TEACHER": False, "loss": None}
    vars(mine).update({name: part for name, part in parts.items() if name != missing})
    with pytest.raises(InputError, match=rf"^dkd\.methods\.mine: {missing} is missing; "):
        fit_step(prepared, tmp_path / "out", base.folder, mine)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch": 64}, "step 0: 22 training pictures are fewer than a batch of 64; lower train.batch"),
        ({"precision": "fp16"}, "train.precision: fp16 needs a CUDA device"),
    ],
)
def test_a_recipe_that_cannot_be_followed_is_one_line(changes, words, prepared, tmp_path):
    with pytest.raises(InputError, match=words):
        fit_base(prepared, tmp_path / "out", recipe=RECIPE._replace(**changes))


def test_mixed_precision_trains(prepared, base, tmp_path):
    AcceleratorState._reset_state(reset_partial_state=True)
    after = fit_step(prepared, tmp_path / "bf16", base.folder, dkd, recipe=LATER._replace(precision="bf16"))
    AcceleratorState._reset_state(reset_partial_state=True)
    assert {value.dtype for name, value in after.items() if name.endswith("weight")} == {torch.float32}
    whole = fit_step(prepared, tmp_path / "fp32", base.folder, dkd)
    weight = "heads.0.weight"
    moved = (whole[weight] - base.tensors[weight]).abs().max()
    assert 0 < (after[weight] - whole[weight]).abs().max() < 0.2 * moved


@pytest.mark.parametrize("overflows", [0, 1, 2])
def test_steps_that_overflow_in_fp16_are_left_out(overflows):
    """The first of them find the optimiser without buffers."""
    found = []
    for fused in (True, False):
        torch.manual_seed(0)
        student = Segmenter({**SPEC, "dropout": 0.0}, [3])
        optimizer, schedule = train.optimise(student, RECIPE._replace(epochs=1), 5)
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
        recipe = RECIPE._replace(epochs=1)
        history = train.loop(accelerator, joint, student, None, optimizer, schedule, batches, recipe, 5, 0, 1)
        found.append((history[-1]["total"], *(value.double().norm().item() for value in student.parameters())))
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_a_loss_that_is_not_finite_stops_the_step(prepared, base, tmp_path):
    options = {"kd": float("nan"), "dkd": 5.0, "ac": 1.0}
    with pytest.raises(InputError, match=r"step 1, epoch 1, iteration 1: loss is not finite \(total nan, mbce 0"):
        fit_step(prepared, tmp_path / "nan", base.folder, dkd, recipe=LATER._replace(loss_options=options))
    assert not any((tmp_path / "nan").iterdir())


def test_a_permuted_order_gives_the_metrics_of_relabelled_masks(drawn, tmp_path):
    """Classes are who they are by the order, not by their number."""
    from PIL import Image

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
        (tmp_path / name).mkdir()
        prepared = prepare(root, tmp_path / name, order=labels)
        trained = fit_base(prepared, tmp_path / name / "base")
        judge(prepared, trained.folder, 0, tmp_path / name)
        found.append((trained.tensors, json.loads((tmp_path / name / "metrics.json").read_text())))
    assert same(found[0][0], found[1][0]) and found[0][1] == found[1][1]
    assert list(found[0][1]["protocols"]["paper"]["per_class"]) == ["background", "triangle", "star", "disc", "ring"]


SCORING = evaluate.Scoring(base=4, crop=32, unseen="background", count_background=True, absent="leave_out")


def judge(prepared, folder, step, out, batch=16, **changes):
    runtime = RUNTIME._replace(evaluate_batch=batch)
    return evaluate.evaluate(folder, step, SCORING._replace(**changes), prepared, runtime, out)


def test_evaluation_counts_every_pixel_once(prepared, base, tmp_path):
    import numpy as np

    from dkd.data import tasks

    judge(prepared, base.folder, 0, tmp_path, crop=24)
    counts = np.load(tmp_path / "confusion.npz")
    pictures = len(tasks.read(prepared.tasks)["steps"][0]["test"])
    assert counts["full_image"].sum() == pictures * 32 * 32 and counts["paper"].sum() == pictures * 24 * 24
    content = json.loads((tmp_path / "metrics.json").read_text())
    assert content["step"] == 0 and set(content["protocols"]) == {"paper", "full_image"}
    judge(prepared, base.folder, 0, tmp_path, batch=3)
    again = np.load(tmp_path / "confusion.npz")
    assert np.array_equal(again["full_image"], counts["full_image"]) and np.array_equal(
        again["paper"], counts["full_image"]
    )


def test_classes_not_learned_yet_are_background_or_void(prepared, base, tmp_path):
    import numpy as np

    judge(prepared, base.folder, 0, tmp_path)
    whole = np.load(tmp_path / "confusion.npz")["paper"]
    judge(prepared, base.folder, 0, tmp_path, unseen="ignore")
    known = np.load(tmp_path / "confusion.npz")["paper"]
    assert np.array_equal(whole[1:], known[1:]) and whole[0].sum() > known[0].sum()


def test_warm_up_rises_before_the_decay():
    recipe = RECIPE._replace(warmup=0.2, lr=0.01)
    optimizer, schedule = train.optimise(Segmenter(SPEC, [2]), recipe, 10)
    rates = []
    for _ in range(10):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    expected = [0.001, 0.5005, *((1 - i / 8) ** 0.9 for i in range(8))]
    assert rates == pytest.approx([0.01 * factor for factor in expected])


def test_sequential_labels_teach_earlier_classes_too(drawn, base, tmp_path):
    """Without distillation, old classifiers change only where labels speak of their classes."""
    changed = {}
    for setting in ("overlap", "sequential"):
        (tmp_path / setting).mkdir()
        prepared = prepare(drawn, tmp_path / setting, sizes=(4, 2), setting=setting)
        after = fit_step(prepared, tmp_path / setting / "step", base.folder, finetune)
        changed[setting] = not torch.equal(after["heads.0.weight"], base.tensors["heads.0.weight"])
    assert changed == {"overlap": False, "sequential": True}


def test_a_new_classifier_starts_where_it_is_told(prepared, base, tmp_path):
    still = LATER._replace(lr=1e-12, epochs=1)
    for start in ("random", "auxiliary"):
        after = fit_step(prepared, tmp_path / start, base.folder, dkd, recipe=still._replace(head_init=start))
        copied = torch.allclose(after["heads.1.weight"], base.tensors["auxiliary.weight"])
        assert copied == (start == "auxiliary")


@settings(max_examples=60, deadline=None)
@drawn_from(
    st.integers(0, 2**31),
    st.integers(1, 9),
    st.tuples(st.integers(1, 5), st.integers(1, 5)),
    st.sampled_from([1e-7, 1.0, 8.0, 60.0]),
    st.integers(1, 40),
)
def test_decision_is_sigmoid_arg_max_and_a_threshold(seed, classes, size, spread, cut):
    """The first of equal sigmoids wins, saturated ones too, and background where none exceeds 0.5."""
    torch.manual_seed(seed)
    logits = torch.randn(2, classes, *size) * spread
    logits[torch.rand(logits.shape) < 0.2] = 0
    whole, bilinear.CPU_ELEMENTS = bilinear.CPU_ELEMENTS, 2 * size[0] * size[1] * cut
    try:
        assert torch.equal(evaluate.decide(logits, size), plain.decide(logits))
    finally:
        bilinear.CPU_ELEMENTS = whole


def test_decision_on_upsampled_logits():
    """Resizing differs in the order of two additions at most, and only where two scores are all but equal."""
    for classes, grid, size in ((20, (32, 32), (512, 512)), (150, (9, 13), (130, 201)), (254, (2, 3), (17, 30))):
        torch.manual_seed(classes)
        logits = torch.randn(2, classes, *grid) * 12 - 6
        found, full = evaluate.decide(logits, size), plain.upsample(logits, size)
        expected = plain.decide(full)
        other = (found != expected).nonzero()
        assert len(other) <= 1e-5 * found.numel()
        assert torch.equal(evaluate.decide(full, size), expected)
    assert evaluate.decide(torch.full((1, 3, 1, 1), -1.0), (2, 2)).eq(0).all()
    assert evaluate.decide(torch.full((1, 254, 1, 1), 40.0), (2, 2)).eq(1).all()


@pytest.mark.parametrize("cpu, said", [("AVX2", True), ("AVX512", False)])
def test_says_where_bf16_is_imitated(cpu, said, monkeypatch, caplog):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: cpu)
    for precision in ("bf16", "fp32"):
        AcceleratorState._reset_state(reset_partial_state=True)
        devices.accelerator("cpu", None, precision)
    AcceleratorState._reset_state(reset_partial_state=True)
    assert [record.levelname for record in caplog.records if "bf16" in record.message] == ["WARNING"] * said
