"""What the benchmarks compare, at small size: both sides do the same."""

import json
import math

import numpy as np
import pytest
import torch
import yaml

from benchmarks import drift, evaluate, loader, losses, measure, study, train_step
from dkd.config import read
from dkd.data import index
from dkd.model.segmenter import Segmenter
from pipeline import plan as plans
from pipeline import store
from tests.dkd.conftest import SPEC


@pytest.mark.parametrize("case", [(4, 2, 2, 64), (995, 5, 1, 64)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_losses_are_those_of_the_plain_form(case, dtype):
    variants, exact = losses.build(*case, dtype), losses.build(*case, dtype, torch.float64)
    limit = 2e-5 if dtype == torch.float32 else 1e-2
    assert all(losses.off(variants, exact, name) < limit for name in variants)


def test_bytes_that_a_loss_must_move():
    """Features, 6 + 1 logits and 6 weights of the student twice; features, 4 logits and weights; labels."""
    pixels = 2 * 32 * 32
    student = losses.WIDTH * pixels + 7 * pixels + 6 * losses.WIDTH
    teacher = losses.WIDTH * pixels + 4 * pixels + 4 * losses.WIDTH
    assert losses.moved(4, 2, 2, torch.float32) == 4 * (2 * student + teacher) + 2 * 512 * 512


def test_samples_are_the_same_by_each_way(tmp_path):
    rows = loader.draw(tmp_path)[:2]
    ways = loader.build(tmp_path, rows)
    for i in range(2):
        (image, labels), *others = (way(i) for way in ways.values())
        for pixels, ids in others:
            assert (pixels - image).abs().max() < 0.02 and torch.equal(ids, labels.to(torch.uint8))


@pytest.mark.parametrize("shown", [2, 5])
def test_counts_are_those_of_the_plain_decision(shown):
    variants = evaluate.build(5, shown)
    assert np.array_equal(variants["plain"](), variants["dkd"]())


@pytest.mark.slow
def test_peak_memory_is_that_of_one_variant():
    assert 3 < measure.peak(half_and_whole, "half", 8) < 7


def half_and_whole(size: int) -> measure.Variants:
    """What takes `size` MB, and half of that."""
    return {name: lambda n=n: torch.ones(n << 18) for name, n in {"whole": size, "half": size // 2}.items()}


@pytest.mark.slow
@pytest.mark.parametrize("kind", [(False, False), (True, False, True), (True, True, True)])
def test_a_step_runs_in_each_kind(kind):
    step = train_step.build((4, 2), 2, 64, *kind)
    step()


def test_answers_are_shares_of_the_pixels_of_a_class():
    counts = np.array([[9, 1, 0, 0], [1, 2, 0, 1], [0, 4, 4, 0], [5, 0, 1, 4]])
    base = {"background": 12.5, "base class": 75.0, "new class": 12.5}
    new = {"background": 50.0, "base class": 10.0, "new class": 40.0}
    expected = {f"{name}: {key}": value for name, part in (("base", base), ("new", new)) for key, value in part.items()}
    assert study.answers(counts, 2) == pytest.approx(expected)


@pytest.mark.parametrize(("after", "needed"), [([1.0, 3.0], 6), ([2.0, 2.0], 2), ([0.0, 8.0], 65), ([1.0], None)])
def test_pairs_that_would_show_two_points(after, needed):
    """(2.8 s / 2)^2 + 1.9 for differences with a standard deviation of s."""
    pairs = [({"all": 0.0}, {"all": value}) for value in after]
    assert study.Condition({}, 0.0, pairs).needed() == needed


def test_a_study_pairs_methods_by_seed_and_not_by_rate(tmp_path, monkeypatch):
    item = {"dataset": "shapes", "scenario": "4-2", "seed": [0, 1]}
    runs = [
        {**item, "method": method, "sweep": {"data.shapes.objects": [[1, 1], [1, 2]], "increment.lr": [rate]}}
        for method, rate in (("kd", 0.002), ("dkd", 0.001))
    ]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"runs": runs}))
    plan = plans.build(read.load(tmp_path / "params.yaml"), fresh=False)
    (summary,) = plan.of("summary")
    for node in plan.of("evaluate"):
        run = next(key for key, source in summary.inputs.items() if source.path == node.folder)
        kind, step = 10 * ("_dkd_" in run) + ("objects-1-2" in run) + 2 * ("_s1_" in run), int(run[-1])
        names = ["background", *"abcdef"[: 4 + 2 * step]]
        means = dict.fromkeys(("all", "base", "new", "harmonic", "pixel_accuracy"), 50.0 + kind * step)
        values = {**means, "foreground": means, "per_class": dict.fromkeys(names, 60.0 - kind * step)}
        (tmp_path / node.folder).mkdir(parents=True)
        content = {"step": step, "protocols": {"paper": values, "full_image": values}}
        (tmp_path / node.folder / "metrics.json").write_text(json.dumps(content))
        counts = np.eye(len(names), dtype=np.int64)
        np.savez(tmp_path / node.folder / "confusion.npz", paper=counts, full_image=counts)
    for node in plan.of("split"):
        steps = [
            {"step": step, "classes": classes, "train": ["x", "y"], "val": ["y"], "test": ["y"]}
            for step, classes in enumerate(([1, 2, 3, 4], [5, 6]))
        ]
        content = {"dataset": "shapes", "scenario": "4-2", "setting": "overlap", "order": [1, 2, 3, 4, 5, 6]}
        (tmp_path / node.folder).mkdir(parents=True)
        (tmp_path / node.folder / "tasks.json").write_text(json.dumps({**content, "steps": steps}))
    for node in plan.of("index"):
        rows = (index.Row("x", "x.png", "x.png", "train", (1, 5)), index.Row("y", "y.png", "y.png", "train", (2, 3, 6)))
        (tmp_path / node.folder).mkdir(parents=True)
        index.write(index.Index("shapes", tuple("_abcdef"), rows, {}, {}), tmp_path / node.folder / "index.csv")
    (few, more), failed = study.conditions(tmp_path)
    assert not failed
    assert (few.words["data.shapes.objects"], more.words["data.shapes.objects"]) == ("[1, 1]", "[1, 2]")
    assert few.share == more.share == 0.375
    assert few.differences("all") == more.differences("all") == [10.0, 10.0]
    assert few.differences("forgetting") == [10.0, 10.0]
    assert few.own("all") == ["51.0 ± 1.4", "61.0 ± 1.4"] and few.own("new: new class") == ["100.0 ± 0.0"] * 2
    exploded = next(node for node in plan.of("increment") if "dkd-s1" in node.folder)
    (tmp_path / store.FAILED).mkdir(parents=True)
    (tmp_path / store.FAILED / exploded.key).write_text("the loss has exploded")
    for node in plan.of("evaluate"):
        if exploded.folder in [source.path for source in node.inputs.values()]:
            (tmp_path / node.folder / "metrics.json").unlink()
    (less, whole), failed = study.conditions(tmp_path)
    assert [len(each.pairs) for each in (less, whole)] in ([1, 2], [2, 1])
    assert [*failed.values()] == ["the loss has exploded"] and "_dkd_s1" in next(iter(failed))
    for run in runs:
        run["sweep"]["increment.lr"].append(0.003)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"runs": runs}))
    with pytest.raises(SystemExit, match="a second run of kd in one condition"):
        study.conditions(tmp_path)


def test_drift_of_a_bias_is_that_of_the_logit_alone():
    """The logit of one of two classes moves by 1; the auxiliary classifier answers -3 everywhere."""
    torch.manual_seed(0)
    before = Segmenter(SPEC, [2]).eval()
    torch.nn.init.zeros_(before.auxiliary.weight)
    torch.nn.init.constant_(before.auxiliary.bias, -3.0)
    torch.nn.init.zeros_(before.heads[0].weight)
    after = Segmenter(SPEC, [2, 1]).eval()
    after.load_state_dict(before.state_dict(), strict=False)
    with torch.no_grad():
        after.heads[0].bias[1] += 1
    images = [(np.full((32, 32, 3), 80 * k, np.uint8), np.full((32, 32), k)) for k in range(4)]
    found = drift.measure(before, after, iter(images), iter(images), old=[1, 2], new=[3])
    p, q = (network.heads[0].bias[1].double().sigmoid().item() for network in (before, after))
    divergence = p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
    expected = dict.fromkeys(("training", "test", "test: earlier"), 1000 * divergence)
    assert found == pytest.approx({**expected, "none": -3.0, "z+": 0, "z-": 0, "logit": 0.5}, rel=1e-5)
