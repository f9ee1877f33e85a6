"""`dkd index` prints what it saw, and takes what the section `data` says; `dkd split` follows it."""

import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from dkd.data import index, tasks
from tests.dkd.command import CommandError


def test_index_prints_what_it_saw_and_what_may_be_wrong(dkd, pictures, tmp_path, capsys):
    for path in (pictures / "masks").iterdir():
        mask = np.array(Image.open(path))
        Image.fromarray(np.where(mask == 6, 0, mask).astype(np.uint8)).save(path)
    dkd("index", pictures, "--out", tmp_path / "a.csv")
    said = capsys.readouterr()
    assert said.out.startswith("24 train images, 8 val images\nclass ") and "disc" in said.out
    assert "warning: no training image shows star; leave these classes out of `order`" in said.err


def test_data_keys_lead_to_an_index_that_split_follows(dkd, pictures, tmp_path):
    for path in (pictures / "splits").iterdir():
        path.unlink()
    out = tmp_path / "a.csv"
    labels = "data.labels={disc: [1, 2], triangle: 3, cross: 4, void: [5, 6]}"
    dkd("index", pictures, "--split", "0.75", "--seed", "3", "--set", labels, "--out", out)
    stored = json.loads(out.with_suffix(".json").read_text())["stored"]
    assert stored == {"1": 1, "2": 1, "3": 3, "4": 4, "5": 255, "6": 255}
    assert len(index.read(out).of("train")) == 24
    dkd("split", out, "--scenario", "2-1", "--out", tmp_path / "tasks.json")
    assert tasks.read(tmp_path / "tasks.json")["order"] == [1, 3, 4]
    (tmp_path / "order.txt").write_text("disc\ntriangle\n")
    with pytest.raises(CommandError, match=r"--order: leaves out cross, which the index has"):
        dkd("split", out, "--scenario", "1-1", "--order", tmp_path / "order.txt", "--out", tmp_path / "b.json")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--split", "1.5"], "--split: 1.5 is not between 0 and 1"),
        (["--split", "0.5"], "train.txt says which images are for training; remove one of the two"),
        (["--set", "train.batch=3"], "--set: 'train.batch=3' is not a key of the section data"),
        (["--name", ""], '--name: "" is no name; give one of 1 to 200 characters'),
        (["--name", "x" * 201], "is no name; give one of 1 to 200 characters"),
        (["--set", "data.labels={rose: 1}"], "data.labels: unknown class 'rose'"),
        (["--set", "data.labels={disc: 1, ring: [1]}"], "data.labels: value 1 is given to two classes"),
        (["--set", "data.void=[300]"], "data.void.0: input should be less than or equal to 255"),
        (
            ["--set", "data.labels={disc: 1}", "--set", "data.void=1"],
            "data.void: value 1 is given to a class by data.labels",
        ),
        (["--set", "data.labels={disc: 1}"], "is outside the class list"),
    ],
)
def test_what_does_not_fit_is_one_line(dkd, drawn, tmp_path, words, said):
    with pytest.raises(CommandError) as caught:
        dkd("index", drawn, "--out", tmp_path / "a.csv", *words)
    assert said in str(caught.value) and str(caught.value).startswith("dkd: ") and "\n" not in str(caught.value).strip()
    assert not list(tmp_path.glob("a.*"))


def test_folders_and_files_whose_names_are_no_text(dkd, drawn, tmp_path):
    """As old archives have them."""
    root = tmp_path / os.fsdecode(b"fotos\xff")
    shutil.copytree(drawn, root)
    dkd("index", root, "--name", "mine", "--out", root / "a.csv")
    assert index.read(root / "a.csv").dataset == "mine"
    with pytest.raises(CommandError, match=r'--name: "fotos\\udcff" is no name; give one'):
        dkd("index", root, "--out", tmp_path / "b.csv")
    shutil.rmtree(root / "splits")
    for folder in ("images", "masks"):
        (root / folder / "train_00003.png").rename(root / folder / os.fsdecode(b"\xe4.png"))
    with pytest.raises(CommandError, match=r"the name 'images/\\udce4\.png' is not UTF-8 text; rename the file"):
        dkd("index", root, "--name", "mine", "--split", "0.5", "--out", tmp_path / "b.csv")
