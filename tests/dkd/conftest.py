"""A tiny data set and a tiny network, made of real files and real layers."""

import shutil
from pathlib import Path

import pytest

from dkd.data import catalog, index, shapes, survey, tasks
from dkd.data.tasks import Inputs
from dkd.devices import Runtime
from dkd.evaluation import Scoring
from dkd.methods import joint
from dkd.training.loop import train
from dkd.training.recipe import Recipe
from tests import plain

SPEC = {
    "backbone": "test_resnet",
    "pretrained": False,
    "output_stride": 16,
    "norm_momentum": 0.1,
    "aspp_channels": 8,
    "aspp_dilations": [1, 2],
    "dropout": 0.1,
}
VALUES = {
    "epochs": 2,
    "batch": 4,
    "crop": 32,
    "scale": (0.5, 1.0),
    "ratio": (0.75, 1.34),
    "flip": 0.5,
    "lr": 0.01,
    "head_lr": 10.0,
    "momentum": 0.9,
    "nesterov": True,
    "weight_decay": 1e-4,
    "power": 0.9,
    "warmup": 0.0,
    "pos_weight": 2.0,
    "void": "negative",
    "precision": "fp32",
}
"""What params.yaml says of a base's training."""
RECIPE = Recipe(
    **VALUES, seed=0, loss_options={}, head_init="random", replay=None, rates={}, train_norms=False, frozen=None
)
LATER = RECIPE._replace(lr=0.001, loss_options=plain.OPTIONS)
"""Of a step by `dkd`."""
RUNTIME = Runtime(
    device="cpu",
    threads=1,
    workers=0,
    micro_batch=None,
    evaluate_batch=16,
    image_cache=0,
    save_minutes=10.0,
    work=None,
    trackers=(),
    logs=Path("logs"),
    name="training",
)

SCORING = Scoring(base=4, crop=32, unseen="background", count_background=True, absent="leave_out")


@pytest.fixture(scope="session")
def drawn(tmp_path_factory) -> Path:
    """A folder data set of 24 + 8 pictures; not to be changed."""
    root = tmp_path_factory.mktemp("shapes") / "data"
    shapes.draw(root, seed=0, size=32, train=24, val=8, objects=(3, 5))
    return root


@pytest.fixture
def pictures(drawn, tmp_path) -> Path:
    """A copy of the data set that a test may damage."""
    return Path(shutil.copytree(drawn, tmp_path / "pictures"))


def build_index(root: Path, format: str = "folder") -> index.Index:
    contents = catalog.contents(format, root, None, listed=True)
    return survey.build(root, "shapes", contents, decode=True, split=None)[0]


def prepare(root: Path, out: Path, sizes=(4, 1, 1), order=(1, 2, 3, 4, 5, 6), setting="overlap") -> Inputs:
    """Index and tasks of a data set."""
    table = build_index(root)
    index.write(table, out / "index.csv")
    tasks.write(tasks.split(table, setting=setting, order=order, sizes=sizes, seed=None), out / "tasks.json")
    return Inputs(root, out / "index.csv", out / "tasks.json")


def train_base(inputs: Inputs, out: Path, recipe=RECIPE, network=SPEC, method=joint, **runtime) -> dict:
    """Train step 0 into the folder `out`, which may be there; returns the cost."""
    out.mkdir(exist_ok=True)
    runtime = RUNTIME._replace(**runtime)
    return train(method, 0, recipe, inputs, runtime, network=network, memory=None, out=out)


def train_step(inputs: Inputs, out: Path, previous: Path, method, step=1, recipe=LATER, memory=None, **runtime) -> dict:
    """Train a later step into the folder `out`, which may be there; returns the cost."""
    out.mkdir(exist_ok=True)
    runtime = RUNTIME._replace(**runtime)
    return train(method, step, recipe, inputs, runtime, network=previous, memory=memory, out=out)


@pytest.fixture(scope="session")
def prepared(drawn, tmp_path_factory) -> Inputs:
    return prepare(drawn, tmp_path_factory.mktemp("prepared"))
