"""Predictions and counts; what cannot be evaluated is refused; data without a background is evaluated without it."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dkd import bilinear, checkpoint, evaluation
from dkd.data import catalog, index, shapes, tasks
from dkd.errors import InputError
from dkd.model.segmenter import Segmenter
from tests import plain
from tests.dkd.command import run
from tests.dkd.conftest import RUNTIME, SCORING, SPEC, prepare

QUICK = ["--set", "evaluate.crop=32", "--device", "cpu"]


def untrained(folder, names, sizes):
    """A checkpoint that knows the first classes of `names`."""
    folder.mkdir()
    torch.manual_seed(0)
    learned = checkpoint.Step("x", tuple(range(1, sum(sizes) + 1)), tuple(sizes), tuple(names), "dkd", 0, SPEC)
    checkpoint.save(Segmenter(SPEC, sizes), learned, {}, folder)
    return folder


@pytest.fixture
def network(tmp_path):
    """It knows disc, square, triangle and cross of six shapes."""
    return untrained(tmp_path / "network", shapes.SHAPES, [4])


def refused(monkeypatch, out, *words) -> str:
    with pytest.raises(AssertionError) as caught:
        run(monkeypatch, "evaluate", *words, "--out", out, *QUICK)
    line = str(caught.value)
    assert line.startswith("dkd: ") and "\n" not in line and not out.exists()
    return line


def test_labels_of_another_data_set_are_refused(network, pictures, tmp_path, monkeypatch):
    (pictures / "classes.txt").write_text("nothing\ncomet\nrobot\nc\nd\ne\nf\n")
    said = "label 1 is 'comet', but 'disc' in"
    line = refused(monkeypatch, tmp_path / "out", network, "--data", pictures)
    assert f"{pictures / 'classes.txt'}: {said} {network}; evaluate it on" in line and "--index" in line
    run(monkeypatch, "index", pictures, "--out", tmp_path / "index.csv")
    line = refused(monkeypatch, tmp_path / "out", network, "--data", pictures, "--index", tmp_path / "index.csv")
    assert f"{tmp_path / 'index.json'}: {said}" in line


@pytest.mark.parametrize("more", [0, 2])
def test_fewer_or_further_names_do_no_harm(pictures, tmp_path, monkeypatch, capsys, more):
    """Masks that say nothing of the last classes, or of classes that were added since."""
    for path in (pictures / "masks").iterdir():
        mask = np.array(Image.open(path))
        Image.fromarray(np.where(mask > 4, 0, mask).astype(np.uint8)).save(path)
    (pictures / "classes.txt").write_text("none\n" + "\n".join(shapes.SHAPES[1 : 5 + more]))
    network = untrained(tmp_path / "network", shapes.SHAPES[:6], [4])
    run(monkeypatch, "evaluate", network, "--data", pictures, "--out", tmp_path / "out", *QUICK)
    assert capsys.readouterr().out.startswith("paper: all ")


@pytest.mark.parametrize("shown", [0, 6, 255])
def test_no_image_with_a_learned_class_is_one_line(network, pictures, tmp_path, monkeypatch, shown):
    """Test pictures of background, of a class not learned yet, or of void."""
    for path in (pictures / "masks").glob("val_*"):
        Image.fromarray(np.full((32, 32), shown, dtype=np.uint8)).save(path)
    line = refused(monkeypatch, tmp_path / "out", network, "--data", pictures, "--set", "evaluate.absent=zero")
    assert line.startswith(f"dkd: {pictures}: no val image shows a class that {network} has learned")


def test_the_workflow_gets_the_same_line(network, pictures, tmp_path):
    files = prepare(pictures, tmp_path, sizes=(4, 2))
    tasks.write(tasks.test_only(index.read(files.index)._replace(rows=()), (1, 2, 3, 4), (4,)), files.tasks)
    with pytest.raises(InputError, match=r"no val image shows a class that .* so there is nothing to evaluate"):
        evaluation.evaluate(network, 0, SCORING, files, RUNTIME, tmp_path)
    assert not (tmp_path / "metrics.json").exists()


def test_a_central_square_of_void_is_one_line(network, pictures, tmp_path, monkeypatch):
    """The paper's central square holds no label, the picture does."""
    for path in (pictures / "masks").glob("val_*"):
        wide = np.full((32, 96), 255, dtype=np.uint8)
        wide[:, :9] = 1
        Image.fromarray(wide).save(path)
        Image.new("RGB", (96, 32)).save(pictures / "images" / path.name)
    line = refused(monkeypatch, tmp_path / "out", network, "--data", pictures)
    assert line.startswith(f"dkd: {pictures}: the protocol paper finds no labelled pixel") and "=full_image" in line
    whole = ["--set", "evaluate.protocol=full_image", *QUICK]
    run(monkeypatch, "evaluate", network, "--data", pictures, "--out", tmp_path / "out", *whole)


def test_cityscapes_from_its_files_to_its_metrics(tmp_path, monkeypatch, capsys):
    """Train ids 0..18 become labels 1..19; class 0 is in no mean, and classes to come are not judged."""
    root, draw = tmp_path / "cityscapes", np.random.default_rng(0)
    for split, city in (("train", "ulm"), ("train", "aachen"), ("val", "munster")):
        stem = f"{split}/{city}/{city}_000000_000019"
        values = np.kron(draw.permutation([*range(19), 255]).reshape(4, 5), np.ones((8, 8))).astype(np.uint8)
        for name, picture in (
            (f"leftImg8bit/{stem}_leftImg8bit.png", Image.new("RGB", (40, 32), "teal")),
            (f"gtFine/{stem}_gtFine_labelTrainIds.png", Image.fromarray(values)),
        ):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            picture.save(root / name)
    files = tmp_path / "index.csv", tmp_path / "tasks.json"
    run(monkeypatch, "index", root, "--format", "cityscapes", "--out", files[0])
    run(monkeypatch, "split", files[0], "--scenario", "10-9", "--out", files[1])
    assert "road            " in capsys.readouterr().out
    steps = tasks.read(files[1])["steps"]
    assert [step["classes"] for step in steps] == [[*range(1, 11)], [*range(11, 20)]]
    assert all(len(step["train"]) == 2 and step["test"] == ["munster_000000_000019"] for step in steps)
    names = catalog.FIXED["cityscapes"]
    network = untrained(tmp_path / "base", names, [10])
    words = ["--data", root, "--index", files[0], "--tasks", files[1], "--preset", "cityscapes"]
    run(monkeypatch, "evaluate", network, *words, "--out", tmp_path / "a", *QUICK)
    run(monkeypatch, "evaluate", network, *words[:2], *words[-2:], "--out", tmp_path / "b", *QUICK)
    first, second = capsys.readouterr().out.splitlines()
    assert first == second and first.startswith("full_image: all ")
    found = json.loads((tmp_path / "a" / "metrics.json").read_text())["protocols"]["full_image"]
    assert list(found["per_class"]) == list(names[:11]) and found["all"] == found["foreground"]["all"]
    with np.load(tmp_path / "a" / "confusion.npz") as counts:
        assert counts["full_image"].sum(1).tolist() == [0] + [64] * 10, "void and classes to come are not counted"


def counts_of(inputs, folder, out, batch=16, **changes):
    evaluation.evaluate(folder, 0, SCORING._replace(**changes), inputs, RUNTIME._replace(evaluate_batch=batch), out)
    with np.load(out / "confusion.npz") as counts:
        return counts["paper"], counts["full_image"]


def test_every_pixel_counts_once(network, prepared, tmp_path):
    cut, whole = counts_of(prepared, network, tmp_path, crop=24)
    images = len(tasks.read(prepared.tasks)["steps"][0]["test"])
    assert whole.sum() == images * 32 * 32 and cut.sum() == images * 24 * 24
    content = json.loads((tmp_path / "metrics.json").read_text())
    assert content["step"] == 0 and set(content["protocols"]) == {"paper", "full_image"}
    # At the size of the images the two protocols see the same.
    assert all(np.array_equal(found, whole) for found in counts_of(prepared, network, tmp_path, batch=3))


def test_classes_not_learned_yet_are_background_or_void(network, prepared, tmp_path):
    whole, _ = counts_of(prepared, network, tmp_path)
    known, _ = counts_of(prepared, network, tmp_path, unseen="ignore")
    assert np.array_equal(whole[1:], known[1:]) and whole[0].sum() > known[0].sum()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**31),
    st.integers(1, 9),
    st.tuples(st.integers(1, 5), st.integers(1, 5)),
    st.sampled_from([1e-7, 1.0, 8.0, 60.0]),
    st.integers(1, 40),
)
def test_predictions_are_arg_max_of_sigmoids_and_a_threshold(seed, classes, size, spread, cut):
    """The first of equal sigmoids wins, saturated ones too, and background where none exceeds 0.5."""
    torch.manual_seed(seed)
    logits = torch.randn(2, classes, *size) * spread
    logits[torch.rand(logits.shape) < 0.2] = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bilinear, "CPU_ELEMENTS", 2 * size[0] * size[1] * cut)
        assert torch.equal(evaluation.predict_labels(logits, size), plain.predict_labels(logits))


def test_predictions_from_upsampled_logits():
    """Resizing differs in the order of two additions at most, and only where two scores are all but equal."""
    for classes, grid, size in ((20, (32, 32), (512, 512)), (150, (9, 13), (130, 201)), (254, (2, 3), (17, 30))):
        torch.manual_seed(classes)
        logits = torch.randn(2, classes, *grid) * 12 - 6
        found, full = evaluation.predict_labels(logits, size), plain.upsample(logits, size)
        expected = plain.predict_labels(full)
        assert (found != expected).sum() <= 1e-5 * found.numel()
        assert torch.equal(evaluation.predict_labels(full, size), expected)
    assert evaluation.predict_labels(torch.full((1, 3, 1, 1), -1.0), (2, 2)).eq(0).all()
    assert evaluation.predict_labels(torch.full((1, 254, 1, 1), 40.0), (2, 2)).eq(1).all()
