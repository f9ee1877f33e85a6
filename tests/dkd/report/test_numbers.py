"""The files of numbers hold what the results say."""

import csv
from types import SimpleNamespace

import numpy as np
import pytest

from dkd.data.shapes import SHAPES
from dkd.report import numbers


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_forgetting_of_each_class(written):
    lost = rows(written / "forgetting.csv")
    assert {row["class"] for row in lost} == set(SHAPES[1:5])
    assert {float(row["forgetting"]) for row in lost} == {10.0} and {row["learned"] for row in lost} == {"0"}


def test_confusion_and_its_shares(inputs, written):
    counts = np.load(inputs[1]["shapes_4-2_overlap_dkd_s1/1"] / "confusion.npz")["paper"]
    wanted = {"run": "shapes_4-2_overlap_dkd_s1", "step": "1", "truth": "disc", "prediction": "star"}
    [row] = [row for row in rows(written / "confusion.csv") if wanted.items() <= row.items()]
    assert int(row["pixels"]) == counts[1, 6]
    assert float(row["share"]) == pytest.approx(counts[1, 6] / counts[1].sum(), abs=1e-6)


def test_losses_without_the_entropy_of_soft_targets(inputs, written):
    [first, *_] = trained = rows(inputs[1]["shapes_4-2_overlap_dkd_s0/1/checkpoint"] / "train.csv")
    step = [row for row in rows(written / "training.csv") if row["step"] == "1"]
    found = {(row["epoch"], row["term"]): float(row["value"]) for row in step if row["term"] != "total"}
    assert len(found) == 6 * len(trained), "five terms and the learning rate"
    curve = rows(inputs[1]["shapes_4-2_overlap_dkd_s0/1/checkpoint"] / "loss.csv")
    totals = {row["epoch"]: row["value"] for row in step if row["term"] == "total"}
    assert totals == {row["epoch"]: row["total"] for row in curve} and len(totals) > len(trained)
    assert found["1", "mbce"] == float(first["mbce"])
    assert found["1", "kd"] == float(first["kd_kl"]) < float(first["kd"])


def test_drift_and_cost(written):
    drift = rows(written / "drift.csv")
    assert {(row["step"], row["pictures"]) for row in drift} == {("1", "8")}
    assert {row["class"] for row in drift} == set(SHAPES[1:5]) and all(float(row["logit"]) > 0 for row in drift)
    cost = rows(written / "cost.csv")[0]
    assert (cost["work"], cost["images_per_second"], cost["peak_memory_gib"]) == ("evaluate", "4.0", "1.0")
    assert cost["machine"] == "node7, GPU 2"


def test_terms_of_any_method_are_shown():
    record = {"epoch": 1.0, "lr": 0.1, "total": 3.0, "pod": 1.0, "kd": 1.0, "kd_kl": 0.5, "ce": 1.0, "contrast": 1.0}
    step = SimpleNamespace(training=[record])
    found = numbers.terms([SimpleNamespace(steps=[step])])
    assert list(found.items()) == [("ce", "CE"), ("kd", "KD"), ("contrast", "contrast"), ("pod", "pod")]
