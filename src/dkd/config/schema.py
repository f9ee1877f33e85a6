"""The schema of params.yaml: every key with its type and default.

Does not know how values are read and merged (`dkd.config.read`). Imported without torch; never imported by the science.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, create_model
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from dkd.config import methods
from dkd.config.base import CountRange, Fraction, NotNegative, Positive, Range, Section, Seed, Values
from dkd.model import spec

LONGEST_DATASET, LONGEST_NAME = 60, 120
"""In characters: both become parts of paths."""
LONGEST_SIDE, LARGEST_BATCH, MOST_EPOCHS, MOST_DRAWN = 8192, 65536, 1_000_000, 1_000_000
MOST_THREADS, MOST_WORKERS, MOST_PROCESSES = 1024, 64, 1024
"""Far beyond what anybody needs; larger numbers would only exhaust memory, or never end."""
PERIODIC = re.compile(r"(.+?)\1{19}")
"""Snakemake refuses paths that repeat a piece 20 times, as a sign of a rule that applies to its own output."""
Side = Annotated[int, Field(ge=1, le=LONGEST_SIDE)]
Batch = Annotated[int, Field(ge=1, le=LARGEST_BATCH)]
Drawn = Annotated[int, Field(ge=1, le=MOST_DRAWN)]
Dilation = Annotated[int, Field(ge=1, le=spec.MOST_DILATION)]
Setting = Literal["overlap", "disjoint", "sequential", "partitioned"]


class Shapes(Section):
    """How the embedded data set is drawn."""

    seed: Seed = 0
    size: Annotated[int, Field(ge=32, le=LONGEST_SIDE)] = 64
    train: Drawn = 600
    val: Drawn = 150
    objects: Annotated[CountRange, Field(description="fewest and most objects per image")] = (3, 5)


class Data(Section):
    """Where the images come from."""

    format: Literal["folder", "shapes", "voc", "ade20k", "cityscapes"] = "folder"
    root: str | None = None
    shapes: Shapes = Shapes()
    partition_seed: Annotated[Seed, Field(description="of the setting `partitioned`")] = 0
    void: Annotated[Values, Field(description="stored values without annotation, besides 255")] = (255,)
    labels: Annotated[dict[str, Values] | None, Field(description="stored values of each class, by its name")] = None
    others: Annotated[
        Literal["background", "void"], Field(description="what classes become that `order` leaves out")
    ] = "background"
    split: Annotated[float, Field(gt=0, lt=1, description="share for training, where there are no lists")] | None = None
    split_seed: Seed = 0


class Model(Section):
    """The network. Only the base step reads this; later steps take the network from their checkpoint."""

    backbone: str = "resnet101.tv_in1k"
    pretrained: Annotated[bool | str, Field(description="timm's weights of that name, or a file of weights")] = True
    frozen: bool = False
    output_stride: Literal[spec.STRIDES] = 16
    norm_momentum: Fraction = 0.01
    aspp_channels: Annotated[int, Field(ge=1, le=spec.MOST_CHANNELS)] = 256
    aspp_dilations: Annotated[tuple[Dilation, ...], Field(max_length=spec.MOST_DILATIONS)] = (6, 12, 18)
    dropout: Fraction = 0.1


class Train(Section):
    """Recipe shared by the base and the increments."""

    batch: Batch = 32
    crop: Side = 512
    scale: Range = (0.5, 2.0)
    ratio: Range = (3 / 4, 4 / 3)
    flip: Fraction = 0.5
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    nesterov: bool = True
    power: NotNegative = 0.9
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.0
    void: Literal["negative", "ignore"] = "negative"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"


def _optional(field: FieldInfo) -> tuple[Any, None]:
    """A field of the same type that may be missing."""
    annotated = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
    return annotated | None, None


Overrides = create_model(
    "Overrides", __base__=Section, **{name: _optional(field) for name, field in Train.model_fields.items()}
)
"""Keys of `train:` that `base:` or `increment:` have of their own; null: that of `train:` (`dkd.training.recipe`)."""


class Base(Overrides):
    """Recipe of step 0."""

    epochs: Annotated[int, Field(ge=1, le=MOST_EPOCHS)] = 60
    lr: Positive = 1e-3
    head_lr: Positive = 10.0
    weight_decay: NotNegative = 1e-4
    pos_weight: Positive = 2.0


def _later(step: str) -> str:
    if not re.fullmatch("[1-9][0-9]{0,3}", step):
        raise PydanticCustomError("step", "expected the number of a step after the base: 1, 2, ...")
    return step


_own = {name: _optional(field) for name, field in Base.model_fields.items()}
Step = create_model("Step", __base__=Section, **_own, frozen=(bool | None, None))
"""Keys of `train:` and `increment:` that a single step has of its own; null: that of `increment:` or `train:`."""


class Increment(Base):
    """Recipe of every later step; weight decay applies to the new classifier only."""

    lr: Positive = 1e-4
    pos_weight: Positive = 1.0
    frozen: Annotated[bool | None, Field(description="keeps the backbone unchanged; null: as model.frozen")] = None
    steps: dict[Annotated[str, AfterValidator(_later)], Step] = Field(
        default_factory=dict, description="values of single steps, by their number"
    )


Methods = methods.section()


class Evaluate(Section):
    """How a checkpoint is evaluated."""

    protocol: Literal["paper", "full_image"] = "paper"
    crop: Side = 512
    unseen: Literal["background", "ignore"] = "background"
    count_background: bool = True
    absent: Literal["leave_out", "zero"] = "leave_out"


class Report(Section):
    """How results are written."""

    decimals: Annotated[int, Field(ge=0, le=6)] = 1


def _on_device(processes: int, info: ValidationInfo) -> int:
    if processes > 1 and info.data.get("device") == "mps":
        words = "expected 1, since processes cannot share the device mps"
        raise PydanticCustomError("processes", "{words}", {"words": words})
    return processes


class Runtime(Section):
    """How the work is done on this machine; changes no result beyond rounding, and no key."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    threads: Annotated[int, Field(ge=1, le=MOST_THREADS)] = 1
    workers: Annotated[int, Field(ge=0, le=MOST_WORKERS)] = 0
    image_cache: Annotated[int, Field(ge=0)] = 0
    micro_batch: Batch | None = None
    evaluate_batch: Batch = 16
    processes: Annotated[
        int,
        Field(ge=1, le=MOST_PROCESSES, description="per job; each on a GPU of its own if there are GPUs"),
        AfterValidator(_on_device),
    ] = 1
    save_minutes: Annotated[float, Field(gt=0, description="between two saved states of an unfinished training")] = 10.0
    trackers: tuple[Literal["tensorboard", "wandb", "mlflow", "dvclive"], ...] = ()


def _name(longest: int, marks: str) -> BeforeValidator:
    """Accepts what can be part of a path on every system."""
    words = f"expected a name of at most {longest} letters, digits, {' '.join(marks)}, a letter or digit first"

    def check(name: Any) -> str:
        if not (
            isinstance(name, str) and len(name) <= longest and re.fullmatch(rf"[A-Za-z0-9][A-Za-z0-9{marks}]*", name)
        ):
            raise PydanticCustomError("name", "{words}", {"words": words})
        return name

    return BeforeValidator(check)


def _not_periodic(name: str) -> str:
    if found := PERIODIC.search(name):
        words = f"expected a name that does not repeat {found[1]!r} 20 times or more, which Snakemake refuses"
        raise PydanticCustomError("name", "{words}", {"words": words})
    return name


def _plan(scenario: Any) -> str | list[int]:
    whole = isinstance(scenario, list) and all(type(size) is int for size in scenario)
    if not whole and not (isinstance(scenario, str) and len(scenario) <= 20):
        raise PydanticCustomError("scenario", "expected A-B with two positive numbers (15-1), or a list of sizes")
    return scenario


class Item(Section):
    """An item of `runs:` with one value per key."""

    dataset: Annotated[str, _name(LONGEST_DATASET, "_.-"), AfterValidator(_not_periodic)]
    scenario: Annotated[Any, BeforeValidator(_plan)]
    method: str
    setting: Setting = "overlap"
    seed: Seed = 0
    order: Any = None
    name: Annotated[str, _name(LONGEST_NAME, "_.+-")] | None = None
    preset: Annotated[str | None, Field(description="by default that with the name of the data set")] = None
    set: dict[str, Any] = Field(default_factory=dict)
    sweep: dict[str, Any] = Field(default_factory=dict, description="lists of values by key, one run for each value")


class Run(Section):
    """One run with every value resolved."""

    name: str
    dataset: str
    setting: Setting
    method: str
    seed: Seed
    order: tuple[int, ...]
    sizes: tuple[int, ...]
    data: Data = Data()
    model: Model = Model()
    train: Train = Train()
    base: Base = Base()
    increment: Increment = Increment()
    methods: Methods = Methods()
    evaluate: Evaluate = Evaluate()

    @property
    def head(self) -> str:
        """`HEAD` of the method: `sigmoid`, `softmax` or `unknown`."""
        return methods.head(self.method)


class Config(Section):
    """Everything that params.yaml requests."""

    runs: tuple[Run, ...]
    report: Report = Report()
    runtime: Runtime = Runtime()


SECTIONS: dict[str, type[Section]] = {
    key: Run.model_fields[key].annotation
    for key in ("data", "model", "train", "base", "increment", "methods", "evaluate")
}
"""Sections that a run can have of its own."""
TOP: dict[str, type[Section]] = {**SECTIONS, "report": Report, "runtime": Runtime}
