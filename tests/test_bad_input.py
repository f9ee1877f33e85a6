"""Faulty params, images and disks: the run fails with one line, and leaves no incomplete node.

Each case runs the real workflow on real files; nodes that were finished before stay. There are one or two faults for
each stage that detects them: params, method, files, index, split, training. The tests of dkd cover the others.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

ROOT = Path(__file__).parents[1]
CLASSES = ["background", "disc", "square", "triangle", "cross", "ring", "star"]
PARAMS = {
    "runs": [{"dataset": "mine", "scenario": [4, 2], "method": "dkd"}],
    "data": {"root": "pictures"},
    "model": {"backbone": "test_resnet", "pretrained": False, "aspp_channels": 8, "norm_momentum": 0.1},
    "train": {"batch": 4, "crop": 32},
    "base": {"epochs": 1},
    "increment": {"epochs": 1},
    "evaluate": {"crop": 32},
    "runtime": {"device": "cpu"},
}


def params(**changes):
    """A fault in params.yaml: sections merged into those that work."""

    def damage(place: Path):
        laid_over = {key: {**PARAMS.get(key, {}), **value} for key, value in changes.items() if key != "runs"}
        content = {**PARAMS, **changes, **laid_over}
        (place / "params.yaml").write_text(yaml.safe_dump(content))

    return damage


def on_mask(change):
    def damage(place: Path):
        path = place / "pictures" / "masks" / "train_00003.png"
        Image.fromarray(change(np.array(Image.open(path)))).save(path)

    return damage


def labelled(mask):
    mask[0, 0] = 9
    return mask


def without(name):
    return lambda place: (place / "pictures" / name).unlink()


def cut(name, size):
    return lambda place: os.truncate(place / "pictures" / name, size)


def method_file(text):
    return lambda place: (place / "src" / "dkd" / "methods" / "mine.py").write_text(text)


def only_first_classes(place: Path):
    """No image shows the classes of the last step."""
    for path in (place / "pictures" / "masks").iterdir():
        mask = np.array(Image.open(path))
        Image.fromarray(np.where(mask > 4, 0, mask).astype(np.uint8)).save(path)


# name: damage, what the line has to name, whether the index was finished before
CASES = {
    "unknown key": (params(train={"bach": 8}), ["params.yaml: train.bach: unknown key; did you mean 'batch'?"], False),
    "method that is no Python": (method_file("def loss(:"), ["mine.py, line 1: not readable as Python"], False),
    "root that is not there": (params(data={"root": "elsewhere"}), ["params.yaml: runs[0]: ", "not found at elsewhere", "set data.root"], False),
    "no class list": (without("classes.txt"), ["classes.txt: No such file"], False),
    "missing mask": (without("masks/train_00003.png"), ["train_00003.png", "mask", "missing"], False),
    "image that breaks off": (cut("images/train_00003.png", 1500), ["train_00003.png", "image", "decode"], False),
    "label outside the list": (on_mask(labelled), ["train_00003.png", "label 9", "(0..6, 255 = void)"], False),
    "empty step": (only_first_classes, ["step 1 (ring, star)"], True),
    "unknown backbone": (params(model={"backbone": "resnet99"}), ["timm", "'resnet99'"], True),
}  # fmt: skip


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    """A checkout with images, in which nothing has run."""
    place = tmp_path_factory.mktemp("sound") / "checkout"
    place.mkdir()
    for name in ("src", "pipeline", "profiles"):
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", place)
    sys.path.insert(0, str(ROOT / "src"))
    from dkd.data import shapes

    shapes.draw(place / "pictures", seed=0, size=32, train=16, val=6, objects=(3, 5))
    params()(place)
    return place


def snakemake(place: Path, prefix=()) -> subprocess.CompletedProcess:
    command = [*prefix, sys.executable, "-m", "snakemake", "--cores", "2"]
    env = {name: value for name, value in os.environ.items() if not name.startswith("DKD_")}
    return subprocess.run(command, cwd=place, env=env, capture_output=True, text=True)


def check(place: Path, done: subprocess.CompletedProcess, words: list[str], indexed: bool):
    output = done.stdout + done.stderr
    lines = [line for line in output.splitlines() if line.startswith("dkd: ")]
    # The job reports the reason, and the last line repeats it with the name of the job.
    reasons = {re.sub(r" \([^()]*, log: [^()]*\)$", "", line) for line in lines}
    assert done.returncode != 0 and len(reasons) == 1, output
    assert all(word in lines[0] for word in words) and "Traceback" not in output, output
    assert done.stderr.rstrip().splitlines()[-1] == lines[-1], output
    for top in ("data/index", "data/tasks", "checkpoints", "results", "panels", "summary", "report"):
        for folder in (place / top).rglob("*-????????????"):
            assert not folder.is_dir() or (folder / "provenance.json").is_file(), f"{folder} is incomplete"
    assert not list((place / ".dkd" / "scratch").glob("*"))
    assert bool(list(place.glob("data/index/*/provenance.json"))) == indexed, "finished nodes stay"


QUICK = ("unknown key", "missing mask")


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in CASES]
)
def test_one_line_and_no_incomplete_node(sound, tmp_path, name):
    damage, words, indexed = CASES[name]
    place = Path(shutil.copytree(sound, tmp_path / "checkout"))
    damage(place)
    check(place, snakemake(place), words, indexed)


def mounted(*commands: str) -> tuple[str, ...]:
    """A prefix that runs a command with other mounts, made by `commands`; skips where that is not allowed."""
    prefix = ("unshare", "-m", "sh", "-ec", "; ".join([*commands, 'exec "$@"']), "sh")
    if not shutil.which("unshare") or subprocess.run([*prefix, "true"], capture_output=True).returncode:
        pytest.skip("mounting needs rights that this user does not have")
    return prefix


def test_a_target_that_is_read_only(sound, tmp_path):
    place = Path(shutil.copytree(sound, tmp_path / "checkout"))
    target = place / "data" / "tasks"
    target.mkdir(parents=True)
    done = snakemake(place, mounted(f"mount --bind {target} {target}", f"mount -o remount,ro,bind {target}"))
    check(place, done, ["Read-only file system"], indexed=False)


@pytest.mark.slow
def test_a_disk_that_is_full(sound, tmp_path):
    """The disk of the checkout has room for tables, but not for a checkpoint."""
    disk, place = tmp_path / "disk", tmp_path / "checkout"
    disk.mkdir()
    place.mkdir()
    used = sum(path.stat().st_blocks * 512 for path in sound.rglob("*"))
    make = f"mount -t tmpfs -o size={used // 1024 + 900}k none {disk}; cp -a {sound}/. {disk}; cd {disk}"
    # The disk vanishes with the namespace, so the result is copied.
    *start, _, name = mounted(make)
    prefix = (*start, f'{make}; code=0; "$@" || code=$?; cp -a {disk}/. {place}; exit $code', name)
    done = snakemake(sound, prefix)
    check(place, done, ["No space left on device"], indexed=True)
