"""Terms, labels and starts of the peer methods against numbers of their released implementations."""

import math
from importlib import import_module
from types import SimpleNamespace

import pytest
import torch

from dkd import losses
from dkd.evaluation import decide
from dkd.losses import Target
from dkd.model import starts
from dkd.model.segmenter import Output
from dkd.terms import maps, prototypes, softmax, unknown

NAMES = ("lwf", "lwf_mc", "ilt", "mib", "plop", "rcil_terms", "ssul", "star", "joint_unknown")
METHODS = {name: import_module(f"dkd.methods.{name}") for name in NAMES}
OLD, NEW = 5, 2
CLASSES = OLD + NEW


@pytest.fixture
def given(golden):
    """Inputs by name, cases by name."""
    content = golden("methods.json")
    arrays = {name: torch.tensor(values, dtype=torch.float64) for name, values in content["inputs"].items()}
    for name in ("labels", "labels2", "labels_stray"):
        arrays[name] = arrays[name].to(torch.uint8)
    cases = {case["name"]: SimpleNamespace(**case) for case in content["cases"]}
    return arrays, cases


def leaf(x):
    return x.clone().requires_grad_()


def size(labels):
    return tuple(labels.shape[-2:])


def factors(case, levels):
    options = case.options
    first, last = options.get("factors") or (options.get("factor", 0.01), options.get("last_factor", 0.0005))
    growth = math.sqrt(CLASSES / NEW) if options.get("schedule", True) else 1
    return [growth * first] * (levels - 1) + [growth * last]


def levels(arrays, case):
    """Leaves of the student, teacher's maps; the last level is the logits, folded for the student."""
    leaves = [leaf(arrays[name]) for name in case.inputs["student"]]
    theirs = [arrays[name] for name in case.inputs["teacher"]]
    return leaves, [*leaves[:-1], maps.fold(leaves[-1], OLD)], theirs


# What each case gives: outputs by their names in the file, and the leaves of its gradients by theirs.


def cross_entropy(arrays, case):
    x, labels = leaf(arrays["student"]), arrays[case.inputs["labels"]]
    weight = arrays["labels2"] != 0 if "mask" in case.inputs else None
    old = case.options.get("old_channels", 1)
    loss = softmax.cross_entropy(x, labels, old=old, weight=weight)
    if "reduction" in case.options:
        loss = loss * labels.numel() / (labels != 255).sum()
    found = {"loss": loss}
    if "per_pixel" in case.outputs:
        found["per_pixel"] = per_pixel(lambda at: softmax.cross_entropy(x, labels, old=old, weight=at), labels)
    return found, {"logits": x}


def distillation(arrays, case, old=None):
    x, y, labels = leaf(arrays["student"]), arrays["teacher"], arrays["labels"]
    masks = {None: None, "labels < old_channels": labels < OLD, "labels >= old_channels": labels >= OLD}
    options = {"alpha": case.options["alpha"], "weight": masks[case.options["mask"]]}
    loss = softmax.distillation(x[:, :old], y, size(labels), **options)
    found = {"loss": loss * labels.numel() if case.options["reduction"] == "sum" else loss}
    if "per_pixel" in case.outputs:
        found["per_pixel"] = per_pixel(
            lambda at: softmax.distillation(x[:, :old], y, size(labels), **{**options, "weight": at}), labels
        )
    return found, {"logits": x}


def per_pixel(loss, labels):
    """Each pixel's loss, by a weight that leaves only that pixel."""
    one = torch.eye(labels.numel(), dtype=torch.float64).view(-1, *labels.shape)
    return torch.stack([loss(at).detach() for at in one]).view(labels.shape) * labels.numel()


def lwf(arrays, case):
    return distillation(arrays, case, OLD)


def output(logits, labels, **maps):
    """What a network with a softmax gives, as a method's loss sees it."""
    empty = {"features": None, "auxiliary": None, "weights": ()}
    return Output(**{**empty, **maps}, logits=(logits[:, 1:],), background=logits[:, :1], size=size(labels))


def target(labels):
    return Target(labels, OLD, 2.0, "negative", None)


def lwf_mc(arrays, case):
    x, labels = leaf(arrays["student"]), arrays["labels"]
    pair = output(x, labels), output(arrays["teacher"], labels)
    total, terms = METHODS["lwf_mc"].loss(*pair, target(labels), kd=10.0)
    return {"bce": terms["bce"], "distillation": terms["kd"] / OLD, "total": total}, {"logits": x}


def feature(arrays, case):
    x = leaf(arrays["feature_student_0"])
    return {"loss": maps.feature(x, arrays["feature_teacher_0"])}, {"student": x}


def objective(arrays, case):
    x, y, labels = leaf(arrays["grid_student"]), arrays["grid_teacher"], arrays["labels"]
    leaves, weights, body = {"grid_logits": x}, {"kd": case.options["kd"]}, [{}, {}]
    if "feature" in case.options:
        leaves["body"], weights["feature"] = leaf(arrays["feature_student_0"]), case.options["feature"]
        body = [{"backbone": leaves["body"]}, {"backbone": arrays["feature_teacher_0"]}]
    method = METHODS[case.name.partition("/")[0]]
    total, terms = method.loss(output(x, labels, **body[0]), output(y, labels, **body[1]), target(labels), **weights)
    return {**terms, "total": total}, leaves


def start(arrays, case):
    steps = [[arrays[name].clone() for name in pair] for pair in case.inputs["weight_and_bias_per_step"]]
    (weight, bias), last = steps[0], steps[-1]
    if case.name.startswith("rcil"):
        last[0] = starts.from_background_row(weight[0], len(last[1]))
    else:
        *last[:], bias[0] = starts.from_background(weight[0], bias[0], len(last[1]))
    return {name: [step[i] for step in steps] for i, name in enumerate(("weights", "biases"))}, {}


def entropy(arrays, case):
    unsure, _ = softmax.uncertainty(arrays["teacher"], (6, 7), CLASSES)
    return {"per_pixel": unsure * math.log(CLASSES)}, {}


def thresholds(arrays, case):
    pairs = [[arrays[name] for name in batch] for batch in case.inputs["batches"]]
    counts = sum(softmax.histogram(*pair, CLASSES) for pair in pairs)
    batches = [(output(teacher, labels), target(labels)) for teacher, labels in pairs]
    as_released, exact = (
        METHODS["plop"].prepare(batches, CLASSES - 1, median=median, pod=0.01, pod_logits=0.0005)["thresholds"]
        for median in ("indices", "counts")
    )
    return {
        "histograms_first_14_bins": counts[:, :14],
        "thresholds": as_released,
        "thresholds_with_right_running_sum": exact,
        "max_entropy": math.log(CLASSES),
    }, {}


def pseudo(arrays, case):
    x, labels = leaf(arrays["student"]), arrays[case.inputs["labels"]]
    limits = torch.tensor(case.options["thresholds"], dtype=torch.float64)
    filled, share = softmax.pseudo_labels(arrays["teacher"], labels, limits)
    unsure, best = softmax.uncertainty(arrays["teacher"], size(labels), CLASSES)
    factor = share.clamp(min=case.options["min_factor"])
    found = {
        "labels": filled,
        "factor": factor,
        "confident": (unsure < limits[best.long()]).sum((1, 2)),
        "ce": softmax.cross_entropy(x, filled, old=1, weight=factor[:, None, None]),
    }
    return found, {"logits": x}


def local_pod(arrays, case):
    return {"embedding": maps.strips(arrays["feature_student_2"], case.options["scales"])}, {}


def pod(arrays, case):
    leaves, ours, theirs = levels(arrays, case)
    return {"loss": maps.pod(ours, theirs, factors(case, len(ours)), case.options["scales"])}, leaves


def spatial(arrays, case):
    leaves, ours, theirs = levels(arrays, case)
    return {"loss": maps.spatial(ours, theirs, factors(case, len(ours)))}, leaves


def channel(arrays, case):
    leaves, ours, theirs = levels(arrays, case)
    return {"loss": maps.channel(ours[:-1], theirs[:-1], factors(case, len(ours) - 1))}, leaves[:-1]


def plop(arrays, case):
    leaves, _, theirs = levels(arrays, case)
    labels, limits = arrays["labels"], torch.tensor(case.options["thresholds"])
    pair = [output(x, labels, stages=(*stages,), features=last) for *stages, last, x in (leaves, theirs)]
    options = {"pod": 0.01, "pod_logits": 0.0005, "median": "indices"}
    total, terms = METHODS["plop"].loss(*pair, target(labels), **options, thresholds=limits)
    filled, share = softmax.pseudo_labels(theirs[-1], labels, limits)
    return {**terms, "labels": filled, "factor": share, "total": total}, leaves


def rcil(arrays, case):
    leaves, _, theirs = levels(arrays, case)
    labels = arrays["labels"]
    pair = [output(x, labels, activated=(*stages,), features=last) for *stages, last, x in (leaves, theirs)]
    options = {"kd": case.options["kd"], "pooled": 0.01, "pooled_last": 0.0005}
    total, terms = METHODS["rcil_terms"].loss(*pair, target(labels), **options)
    return {**terms, "total": total}, leaves


def merge(arrays, case):
    fields = {"kernel": "kernel", "scale": "gamma", "shift": "beta", "mean": "mean", "var": "var", "bias": "bias"}
    branches = [
        starts.Branch(**{ours: arrays.get(f"merge_{theirs}{i}") for ours, theirs in fields.items()}) for i in range(2)
    ]
    kernel, bias = starts.merge(branches, case.options["eps"])
    return {"kernel": kernel, "bias": bias}, {}


def with_unknown(logits):
    """What a network with an unknown class gives."""
    split = {"unknown": logits[:, :1], "background": logits[:, 1:2], "logits": (logits[:, 2:],)}
    return Output(features=logits, auxiliary=None, weights=(), size=(6, 7), **split)


def ssul(arrays, case, monkeypatch):
    """With the case's saliency maps, where the methods take all background as salient."""
    relabel = unknown.relabel
    monkeypatch.setattr(unknown, "relabel", lambda labels, _: relabel(labels, arrays["saliency"] == 1))
    x, labels = leaf(arrays["ssul_student"]), unknown.relabel(arrays["labels"], True)
    given = with_unknown(x), with_unknown(arrays["ssul_teacher"]), target(arrays["labels"])
    if "threshold" in case.options:
        labels = unknown.pseudo_labels(labels, arrays["ssul_teacher"], case.options["threshold"])
        total, _ = METHODS["ssul"].loss(*given, threshold=case.options["threshold"])
    else:
        total, _ = METHODS["joint_unknown"].loss(*given)
    return {"labels": labels, "loss": total}, {"logits": x}


def ssul_prediction(arrays, case):
    return {"labels": decide(with_unknown(arrays["ssul_student"]))}, {}


def star_terms(student, teacher, labels, prototypes_, **options):
    """The terms of `star` where no features are drawn and no background counts."""
    still = torch.zeros_like(prototypes_)
    kept = {"units": prototypes_, "noise": still, "means": still[:, 0], "deviations": still[:, 0]}
    kept |= {"cells": still[:, 0], "background": still[0, 0]}
    none = {"missing": torch.zeros(len(still), dtype=torch.int64), "ratio": torch.tensor(0.0)}
    options = {"pkd": 5.0, "contrast": 0.05, "pos_weight": 4.0, **options}
    return METHODS["star"].loss(student, teacher, target(labels), **options, **none, **kept)[1]


def star_output(features, logits, split):
    """What a network with sigmoids gives, whose last classes are new."""
    width, new = features.shape[1], logits.shape[1] - split
    maps_ = {"features": features, "logits": (logits[:, :split], logits[:, split:])}
    rows = {"weights": (torch.zeros(new, width),), "biases": (torch.zeros(new),)}
    return Output(**maps_, **rows, auxiliary=None, size=(6, 7))


def star_mbce(arrays, case):
    x, labels, weight = leaf(arrays["student"][:, OLD:]), arrays["labels"], case.options["pos_weight"]
    old = arrays["student"][:, 1:OLD]
    pair = [star_output(old, each, OLD - 1) for each in (torch.cat((old, x), 1), torch.cat((old, old[:, :NEW]), 1))]
    units = torch.eye(OLD - 1, dtype=torch.float64)
    found = {"loss": star_terms(*pair, labels, units, pos_weight=weight)["mbce"]}
    targets = [Target(labels, OLD + k, weight, "negative", None) for k in range(NEW)]
    found["per_class"] = [losses.mbce(x[:, k : k + 1], each) for k, each in enumerate(targets)]
    return found, {"logits": x}


def region(arrays, case=None):
    ids = prototypes.previous(arrays["star_teacher"], (6, 7), 0.5)
    return {"prediction": ids, "region": (arrays["labels"] == 0) & (ids > 0)}, {}


def star_feature(arrays, name):
    """A term of `star` on features."""
    x, old = leaf(arrays["feature_student_2"]), arrays["star_teacher"]
    logits = torch.zeros(len(x), OLD - 1 + NEW, *x.shape[-2:], dtype=x.dtype)
    pair = star_output(x, logits, OLD - 1), star_output(arrays["feature_teacher_2"], old, old.shape[1])
    return star_terms(*pair, arrays["labels"], arrays["star_prototypes"])[name], x


def pkd(arrays, case):
    loss, x = star_feature(arrays, "pkd")
    return {"loss": loss}, {"student": x}


def contrast(arrays, case):
    loss, x = star_feature(arrays, "contrast")
    return {"loss": loss}, {"features": x}


def replayed(arrays, case):
    leaves = {
        "logits": leaf(arrays["student"][:, OLD:]),
        "fake": leaf(arrays["star_fake_logits"]),
        "background": leaf(arrays["star_extra_logits"]),
    }
    fake, again = (leaves[name][0, :, :, 0].T for name in ("fake", "background"))
    own = losses.mbce(leaves["logits"], Target(arrays["labels"], OLD, 4.0, "negative", None))
    loss = prototypes.replayed(own, fake, again, cells=case.options["grid_cells"], ratio=case.options["extra_bg_ratio"])
    return {"loss": loss}, leaves


def star_prototypes(arrays, case):
    batches = [[arrays[name] for name in pair] for pair in case.inputs["batches_of_features_and_cell_labels"]]
    kept = prototypes.collect(batches, case.options["new_ids"])
    return {
        "prototypes": kept.units,
        "norm_mean_and_sd": torch.stack((kept.means, kept.deviations)),
        "noise": kept.noise,
    }, {}


CASES = {
    "ce": cross_entropy,
    "mib/unbiased_ce": cross_entropy,
    "mib/unbiased_ce_mean": cross_entropy,
    "mib/unbiased_ce_masked": cross_entropy,
    "mib/unbiased_kd": distillation,
    "mib/unbiased_kd_alpha": distillation,
    "mib/unbiased_kd_sum": distillation,
    "mib/unbiased_kd_mask_old": distillation,
    "mib/unbiased_kd_mask_new": distillation,
    "lwf/kd": lwf,
    "lwf/kd_alpha": lwf,
    "lwf/kd_mask_old": lwf,
    "lwf_mc/objective": lwf_mc,
    "ilt/feature": feature,
    "mib/objective": objective,
    "lwf/objective": objective,
    "ilt/objective": objective,
    "mib/init": start,
    "mib/init_later": start,
    "rcil/init": start,
    "plop/entropy": entropy,
    "plop/thresholds": thresholds,
    "plop/pseudo": pseudo,
    "plop/pseudo_right_median": pseudo,
    "plop/pseudo_low_threshold": pseudo,
    "plop/local_pod_2": local_pod,
    "plop/local_pod_3": local_pod,
    "plop/pod_voc": pod,
    "plop/pod_ade": pod,
    "plop/pod_two_scales": pod,
    "plop/objective": plop,
    "rcil/spatial_voc": spatial,
    "rcil/spatial_ade": spatial,
    "rcil/channel_voc": channel,
    "rcil/channel_ade": channel,
    "rcil/objective": rcil,
    "rcil/merge": merge,
    "ssul/labels": ssul,
    "ssul/bce": ssul,
    "ssul/pseudo_0.7": ssul,
    "ssul/pseudo_0.5": ssul,
    "ssul/prediction": ssul_prediction,
    "star/mbce_4": star_mbce,
    "star/mbce_30": star_mbce,
    "star/region": region,
    "star/pkd": pkd,
    "star/contrast": contrast,
    "star/replayed_mbce": replayed,
    "star/prototypes": star_prototypes,
}


def close(found, expected, what):
    if isinstance(expected, list):
        assert len(found) == len(expected), what
        if isinstance(found, torch.Tensor):
            expected = torch.tensor(expected, dtype=torch.float64)
            assert found.shape == expected.shape, what
            assert torch.allclose(found.detach().double(), expected, rtol=1e-6, atol=1e-12), what
        else:
            for pair in zip(found, expected, strict=True):
                close(*pair, what)
    else:
        found = found.item() if isinstance(found, torch.Tensor) else found
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-12), what


@pytest.mark.shared
@pytest.mark.parametrize("name", CASES)
def test_golden(given, name, monkeypatch):
    arrays, cases = given
    case, make = cases[name], CASES[name]
    found, leaves = make(arrays, case, monkeypatch) if make is ssul else make(arrays, case)
    outputs = dict(case.outputs)
    # Parts of a sum over classes that ours form in one piece.
    if name == "star/replayed_mbce":
        for part in ("original", "fake", "background"):
            outputs.pop(part)
    gradients = {key: outputs.pop(key) for key in case.outputs if key.startswith("grad")}
    assert set(outputs) <= set(found)
    for key, expected in outputs.items():
        close(found[key], expected, f"{name}: {key}")
    if not gradients:
        return
    loss = next(found[key] for key in ("total", "loss", "ce") if key in outputs)
    named = leaves if isinstance(leaves, dict) else dict(enumerate(leaves))
    slopes = dict(zip(named, torch.autograd.grad(loss, list(named.values())), strict=True))
    for key, expected in gradients.items():
        if key == "grads":
            close(list(slopes.values()), expected, f"{name}: {key}")
        elif key == "grad_norms":
            close([slope.norm() for slope in slopes.values()], expected, f"{name}: {key}")
        elif key.endswith("_norm"):
            close(slopes[key[5:-5]].norm(), expected, f"{name}: {key}")
        else:
            slope = slopes[key[5:]] if isinstance(leaves, dict) else slopes[len(leaves) - 1]
            close(slope, expected, f"{name}: {key}")


@pytest.mark.shared
def test_no_golden_case_is_left_out(given):
    assert set(CASES) == set(given[1])
