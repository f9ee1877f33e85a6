"""The one schema of params.yaml: every key, its type, its default, and clear words where a value does not fit.

Values are resolved as defaults below < preset named by the data set < top level of params.yaml < the run's `set:`;
maps merge deeply, lists replace. Importable without torch; never imported by the science.
"""

import ast
import difflib
import errno
import hashlib
import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic_core import PydanticCustomError

from dkd import scenario
from dkd.config import yaml_file
from dkd.config.yaml_file import read_yaml
from dkd.data import catalog
from dkd.errors import InputError
from dkd.methods import REPLAY, method_name

PRESETS = Path(__file__).parents[1] / "presets"
METHODS = Path(__file__).parents[1] / "methods"
RUN_KEYS = ("dataset", "scenario", "setting", "method", "seed", "order", "name", "set")
MOST_RUNS = 2000
LONGEST_DATASET, LONGEST_NAME = 60, 120
"""In characters: both become parts of paths."""
PERIODIC = re.compile(r"(.+?)\1{19}")
"""Snakemake takes what repeats like this for a rule that feeds on itself."""

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]


def _rising(pair: tuple) -> tuple:
    if pair[0] > pair[1]:
        raise PydanticCustomError("range", "the smaller number comes first")
    return pair


Range = Annotated[tuple[Positive, Positive], AfterValidator(_rising)]


class Section(BaseModel):
    """A section of params.yaml: strict types, no unknown keys, immutable."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Shapes(Section):
    """How the embedded data set is drawn."""

    seed: Seed = 0
    size: Annotated[int, Field(ge=32)] = 64
    train: Count = 600
    val: Count = 150
    objects: Annotated[
        tuple[Count, Count], AfterValidator(_rising), Field(description="fewest and most objects per picture")
    ] = (3, 5)


class Data(Section):
    """Where the pictures come from."""

    format: Literal["folder", "shapes", "voc", "ade20k", "cityscapes"] = "folder"
    root: str | None = None
    shapes: Shapes = Shapes()
    partition_seed: Annotated[Seed, Field(description="of the setting `partitioned`")] = 0


class Model(Section):
    """The network; seen by the base step, later steps take it from the checkpoint that they start from."""

    backbone: str = "resnet101.tv_in1k"
    pretrained: Annotated[bool | str, Field(description="timm's weights of that name, or a file of weights")] = True
    frozen: bool = False
    output_stride: Literal[8, 16, 32] = 16
    norm_momentum: Fraction = 0.01
    aspp_channels: Count = 256
    aspp_dilations: tuple[Count, ...] = (6, 12, 18)
    dropout: Fraction = 0.1


class Train(Section):
    """Recipe shared by the base and the increments."""

    batch: Count = 32
    crop: Count = 512
    scale: Range = (0.5, 2.0)
    ratio: Range = (3 / 4, 4 / 3)
    flip: Fraction = 0.5
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    nesterov: bool = True
    power: NotNegative = 0.9
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.0
    void: Literal["negative", "ignore"] = "negative"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"


class Base(Section):
    """Recipe of step 0."""

    epochs: Count = 60
    lr: Positive = 1e-3
    head_lr: Positive = 10.0
    weight_decay: NotNegative = 1e-4
    pos_weight: Positive = 2.0


class Increment(Base):
    """Recipe of every later step; weight decay is for the new classifier alone."""

    lr: Positive = 1e-4
    pos_weight: Positive = 1.0


BOUNDS = {"memory": Count, "confidence": Fraction}
"""Of options that are not the loss's: numbers elsewhere are anything from 0 on."""


@cache
def methods() -> dict[str, dict[str, Any]]:
    """Options of every method by its name, as its file in src/dkd/methods says: {"kd": {"kd": 5.0, ...}, ...}.

    A tuple of words is a choice whose first word is the default; numbers are defaults, not negative. The files are
    read, not imported. Raises InputError where one can't be understood.
    """
    return {method_name(path.stem): _options(path) for path in sorted(METHODS.glob("[a-z]*.py"))}


def _options(path: Path) -> dict[str, Any]:
    options: Any = {}
    if not re.fullmatch("[a-z][A-Za-z0-9_]{0,59}", path.stem):
        raise InputError(f"{path}: a method's file is named by letters, digits and _, at most 60; rename it")
    try:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            match node:
                case (
                    ast.Assign(targets=[ast.Name("OPTIONS")], value=value)
                    | ast.AnnAssign(target=ast.Name("OPTIONS"), value=ast.expr() as value)
                ):
                    options = ast.literal_eval(value)
                case _ if _binds_options(node):
                    raise ValueError(f"line {node.lineno} is no plain `OPTIONS = {{...}}`")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except SyntaxError as error:
        where = f"{path}, line {error.lineno}" if error.lineno else f"{path}"
        raise InputError(f"{where}: not readable as Python: {error.msg}") from None
    except (ValueError, TypeError, RecursionError) as error:
        reason = re.sub(r": <ast.*", "", str(error))
        raise InputError(f"{path}: OPTIONS can't be read ({reason}); write a dict of plain values") from None
    if not isinstance(options, dict):
        raise InputError(f"{path}: OPTIONS: expected a dict of names and plain values, got {options!r}")
    for key, value in options.items():
        if not isinstance(key, str) or not key.isidentifier() or key.startswith("_") or hasattr(Section, key):
            raise InputError(f"{path}: OPTIONS: {key!r} can't be the name of an option; choose another word")
        words = isinstance(value, tuple) and value and all(isinstance(word, str) for word in value)
        if not words and type(value) not in (bool, int, float, str):
            raise InputError(f"{path}: OPTIONS.{key}: expected a number, a word or a tuple of words, got {value!r}")
    missing = [key for key in REPLAY if key not in options]
    if 0 < len(missing) < len(REPLAY):
        raise InputError(f"{path}: OPTIONS.{missing[0]}: missing; {', '.join(REPLAY)} go together")
    try:
        _section(path.stem, options)(**{key: _option(key, value)[1] for key, value in options.items()})
    except ValidationError as error:
        fault = error.errors()[0]
        said = f"{fault['msg'][0].lower()}{fault['msg'][1:]}, got {fault['input']!r}"
        raise InputError(f"{path}: OPTIONS.{fault['loc'][0]}: {said}") from None
    return options


def _binds_options(node: ast.AST) -> bool:
    """Whether a statement gives the name OPTIONS something, anywhere in it."""
    return any(
        (isinstance(each, ast.Name) and each.id == "OPTIONS" and isinstance(each.ctx, ast.Store))
        or (isinstance(each, ast.alias) and (each.asname or each.name) == "OPTIONS")
        for each in ast.walk(node)
    )


def _option(key: str, value: Any) -> tuple[Any, Any]:
    """Type and default of a method's option."""
    if key in BOUNDS:
        return BOUNDS[key], value
    if isinstance(value, tuple):
        return Literal[value], value[0]
    return Annotated[type(value), Field(ge=0)] if type(value) in (int, float) else type(value), value


def _section(name: str, options: dict[str, Any]) -> type[Section]:
    return create_model(name, __base__=Section, **{key: _option(key, value) for key, value in options.items()})


def _methods() -> type[Section]:
    try:
        sections = {name: _section(name, options) for name, options in methods().items()}
    except InputError:
        # Whoever resolves values meets it again (`_sections`), where entry points can tell it.
        sections = {}
    return create_model("Methods", __base__=Section, **{name: (cls, cls()) for name, cls in sections.items()})


Methods = _methods()


class Evaluate(Section):
    """How a step is judged."""

    protocol: Literal["paper", "full_image"] = "paper"
    crop: Count = 512
    unseen: Literal["background", "ignore"] = "background"
    count_background: bool = True
    absent: Literal["leave_out", "zero"] = "leave_out"


class Report(Section):
    """How results are written."""

    decimals: Annotated[int, Field(ge=0, le=6)] = 1


class Runtime(Section):
    """How the work is carried out on this machine; changes no result beyond rounding, and no key."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Count = 1
    workers: Annotated[int, Field(ge=0)] = 0
    image_cache: Annotated[int, Field(ge=0)] = 0
    micro_batch: Count | None = None
    evaluate_batch: Count = 16
    processes: Annotated[int, Field(ge=1, description="per job; on as many GPUs, where there are some")] = 1
    save_minutes: Annotated[float, Field(gt=0, description="between two saved states of an unfinished training")] = 10.0
    tensorboard: bool = False


class Run(Section):
    """One run with every value resolved."""

    name: str
    dataset: str
    setting: Literal["overlap", "disjoint", "sequential", "partitioned"]
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


class Config(Section):
    """All that params.yaml asks for."""

    runs: tuple[Run, ...]
    report: Report = Report()
    runtime: Runtime = Runtime()


SECTIONS = {key: Run.model_fields[key].annotation for key in ("data", "model", "train", "base", "increment", "methods")}
SECTIONS["evaluate"] = Evaluate
TOP = {**SECTIONS, "report": Report, "runtime": Runtime}


def merge(below: dict, above: dict) -> dict:
    """`above` laid over `below`: maps merge deeply, everything else replaces."""
    merged = dict(below)
    for key, value in above.items():
        nested = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if nested else value
    return merged


def _cut(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:80]}..."


def _json(value: Any) -> str:
    """A value as an error shows it."""
    return _cut(json.dumps(value, default=str))


def near(word: Any, known: list[str] | tuple[str, ...]) -> str:
    """Words that help after an unknown name: a near match, or all that is known."""
    match = difflib.get_close_matches(str(word), known, n=1, cutoff=0.6)
    return f"did you mean {match[0]!r}?" if match else f"known: {', '.join(map(str, known))}"


def _complaint(model: type[Section], errors: list[dict], layers: list[tuple[str, Any]]) -> str:
    """One line for the first pydantic error; `layers` (strongest first) tell which file and key gave the value."""
    error = errors[0]
    loc = error["loc"]
    where = next((prefix for prefix, tree in layers if _holds(tree, loc)), layers[-1][0])
    path = f"{where}{'.'.join(map(str, loc))}".rstrip(".")
    if error["type"] == "extra_forbidden":
        for part in loc[:-1]:
            model = model.model_fields[part].annotation
        return f"{path}: unknown key; {near(loc[-1], list(model.model_fields))}"
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{path}: {error['msg'][0].lower()}{error['msg'][1:]}, got {_json(error['input'])}{more}"


def _holds(tree: Any, path: tuple) -> bool:
    """Whether a layer gave the value at `path`, or one of a wrong kind on the way there."""
    for part in path:
        if not isinstance(tree, dict):
            break
        tree = tree.get(part)
    return tree is not None


def _validated(model: type[Section], content: dict, layers: list[tuple[str, Any]]) -> Any:
    try:
        return model.model_validate_json(json.dumps(content, default=str))
    except ValidationError as error:
        raise InputError(_complaint(model, error.errors(), layers)) from None


def presets() -> dict[str, Path]:
    """Shipped presets by data-set name."""
    return {path.stem: path for path in sorted(PRESETS.glob("*.yaml"))}


def load(path: str | Path = "params.yaml") -> Config:
    """Read, resolve and check params.yaml; relative data roots are relative to its folder.

    Raises InputError: one line with file, key and value.
    """
    path = Path(path)
    raw = read_yaml(path)
    for key in raw:
        if key not in ("runs", *TOP):
            raise InputError(f"{path}: {key}: unknown key; {near(key, ['runs', *TOP])}")
    here = [(f"{path}: ", raw)]
    items = raw.get("runs")
    if not isinstance(items, list) or not items:
        raise InputError(f"{path}: runs: expected a list with at least one run")
    top = {key: value for key, value in raw.items() if key != "runs"}
    _check_maps(top, f"{path}: ")
    report, runtime = (
        _validated(model, top.pop(key, {}), [(f"{path}: {key}.", raw.get(key))])
        for key, model in (("report", Report), ("runtime", Runtime))
    )
    axes = [_axes(item, f"{path}: runs[{i}]") for i, item in enumerate(items)]
    numbers = [math.prod(map(len, each)) for each in axes]
    if sum(numbers) > MOST_RUNS:
        most = numbers.index(max(numbers))
        raise InputError(
            f"{path}: runs: {sum(numbers):,} runs, {numbers[most]:,} of them from runs[{most}]; at most {MOST_RUNS:,} "
            "fit into one plan, so shorten the lists"
        )
    runs: list[Run] = []
    for i, each in enumerate(axes):
        for pairs in itertools.product(*each):
            runs.append(_resolve(dict(pairs), f"{path}: runs[{i}]", top, here, path.parent))
    _check_distinct(runs, path)
    return Config.model_construct(runs=tuple(runs), report=report, runtime=runtime)


def _check_maps(sections: dict, where: str) -> None:
    for key, value in sections.items():
        if not isinstance(value, dict):
            raise InputError(
                f"{where}{key}: expected keys and values, got {_json(value)}; leave {key} out if it has none"
            )


def _axes(item: Any, where: str) -> list[list[tuple[str, Any]]]:
    """What one item of `runs:` says: for each key its choices, of which runs are made as the product."""
    if not isinstance(item, dict):
        raise InputError(f"{where}: expected keys {', '.join(RUN_KEYS)}; found {_json(item)}")
    for key in item:
        if key not in RUN_KEYS:
            raise InputError(f"{where}.{key}: unknown key; {near(key, RUN_KEYS)}")
    for key in ("dataset", "scenario", "method"):
        if item.get(key) is None:
            raise InputError(f"{where}.{key}: missing")
    axes = []
    for key, value in item.items():
        # [7, 1, 1] is one scenario, [3, 1, 2] and [cat, dog] one order; only lists of such things are choices.
        choices = isinstance(value, list) and key != "set"
        if choices and key == "scenario":
            choices = any(not isinstance(x, int) for x in value)
        if choices and key == "order":
            choices = any(isinstance(x, list) or _names_order(x) for x in value)
        axes.append([(key, x) for x in value] if choices else [(key, value)])
        if choices and not value:
            raise InputError(f"{where}.{key}: empty list")
        if choices and key == "order" and len(value) > 1:
            axes[-1] = [(key, (_tag(x, k), x)) for k, x in enumerate(value, start=1)]
    number = math.prod(map(len, axes))
    if number > 1 and item.get("name") is not None:
        raise InputError(
            f"{where}.name: {_cut(repr(item['name']))} would name {number:,} runs; leave it out of a product"
        )
    return axes


def _names_order(word: Any) -> bool:
    """Whether a word of `order:` stands for a whole order, not for a class."""
    return isinstance(word, str) and (
        word.startswith("seed:") or word.endswith(".txt") or scenario.named_order(word, 1) is not None
    )


def _tag(order: Any, number: int) -> str:
    """What the name of a run says of its order when there are several."""
    return re.sub(r"[^A-Za-z0-9]", "", Path(order).stem) if isinstance(order, str) else f"o{number}"


def class_order(order: Any, names: tuple[str, ...], folder: Path) -> tuple[int, ...]:
    """A class order as labels.

    `order`: None or `default` (as the data set numbers them), `reversed`, `seed:N` (drawn), a file relative to
    `folder` with one label or class name per line (or all labels on one), or a list of labels or class names.
    Raises InputError where it does not name each class once.
    """
    classes = len(names) - 1
    order = "default" if order is None else order
    if isinstance(order, str):
        if (drawn := re.fullmatch(r"seed:(\d+)", order)) and (len(drawn[1]) > 10 or int(drawn[1]) >= 2**31):
            raise InputError(f"order {_cut(repr(order))}: a seed is a whole number below 2^31")
        if (named := scenario.named_order(order, classes)) is not None:
            return named
        path = folder / order
        try:
            if path.exists() and not path.is_file():
                # A pipe would wait for whoever writes into it.
                raise OSError(errno.EINVAL, "not a file")
            lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"order {_cut(repr(order))}: neither default, reversed, seed:N nor a readable file "
                f"({getattr(error, 'strerror', None) or 'not UTF-8 text'}: {path})"
            ) from None
        words = lines[0].replace(",", " ").split() if len(lines) == 1 and classes > 1 else lines
        order = [int(word) if word.isdecimal() and len(word) < 10 else word for word in words]
    return scenario.check_order(_labels(order, names), classes)


def _resolve(item: dict, where: str, top: dict, here: list, folder: Path) -> Run:
    dataset, method = item["dataset"], item["method"]
    own = item.get("set", {})
    if not isinstance(own, dict):
        raise InputError(f"{where}.set: expected sections such as train or base, got {_json(own)}")
    for key in own:
        if key not in SECTIONS:
            raise InputError(f"{where}.set.{key}: unknown key; {near(key, list(SECTIONS))}")
    _check_maps(own, f"{where}.set.")
    _check_name(dataset, "_.-", LONGEST_DATASET, f"{where}.dataset")
    if found := PERIODIC.search(dataset):
        raise InputError(
            f"{where}.dataset: {dataset} repeats {found[1]!r} 20 times or more, which Snakemake does not take; "
            "choose another name"
        )
    preset_path = presets().get(dataset)
    preset = _preset(preset_path) if preset_path else {}
    content = merge(merge(preset, top), own)
    root = content.get("data", {}).get("root")
    if not preset_path and root is None and not _is_there(folder / "data" / "raw" / dataset, Path.is_dir):
        raise InputError(
            f"{where}.dataset: unknown data set {dataset!r}; {near(dataset, list(presets()))} "
            "(your own pictures: put them into data/raw/NAME, or set data.root to a folder data set)"
        )
    if not isinstance(method, str) or method not in methods():
        raise InputError(f"{where}.method: unknown method {_cut(repr(method))}; {near(method, list(methods()))}")
    setting = item.get("setting", "overlap")
    if setting not in Run.model_fields["setting"].annotation.__args__:
        known = Run.model_fields["setting"].annotation.__args__
        raise InputError(f"{where}.setting: unknown setting {_cut(repr(setting))}; {near(setting, known)}")
    layers = [(f"{where}.set.", own), *here]
    if preset_path:
        layers.append((f"preset {preset_path.name}: ", preset))
    # Sections first, so that a wrong type is named before anything is read from the data set.
    sections = _sections(content, layers)
    data: Data = sections["data"]
    if data.format != "shapes":
        place = folder / (data.root or f"data/raw/{dataset}")
        if not _is_there(place, Path.is_dir):
            raise InputError(f"{where}: data set {dataset!r} not found at {place}; set data.root to where it lies")
        sections["data"] = data = data.model_copy(update={"root": str(place)})
    if isinstance(weights := sections["model"].pretrained, str):
        if not _is_there(folder / weights, Path.is_file):
            raise InputError(f"{where}: model.pretrained: no file of weights at {folder / weights}")
        sections["model"] = sections["model"].model_copy(update={"pretrained": str(folder / weights)})
    names = catalog.class_names(data.format, Path(data.root) if data.root else None)
    classes = len(names) - 1
    tag, order = item["order"] if isinstance(item.get("order"), tuple) else (None, item.get("order"))
    try:
        plan = item["scenario"]
        if not isinstance(plan, str | list) or (isinstance(plan, list) and any(type(x) is not int for x in plan)):
            raise InputError(f"scenario {_json(plan)}: write A-B (15-1) or a list of sizes")
        if isinstance(plan, str) and len(plan) > 20:
            raise InputError(f"scenario {_cut(repr(plan))}: write A-B with two positive numbers (15-1)")
        sizes = scenario.step_sizes(plan, classes)
        order = class_order(order, names, folder)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    name = item.get("name")
    if name is None:
        name = f"{dataset}_{scenario.name(sizes)}_{setting}_{method}_s{item.get('seed', 0)}"
        name = _shortened(name + (f"_{tag}" if tag else ""))
    else:
        _check_name(name, "_.+-", LONGEST_NAME, f"{where}.name")
    head = {"name": name, "dataset": dataset, "setting": setting, "method": method, "seed": item.get("seed", 0)}
    dumped = {key: section.model_dump(mode="json") for key, section in sections.items()}
    content = {**head, "order": order, "sizes": sizes, **dumped}
    return _validated(Run, content, [(f"{where}.", item)])


@cache
def _preset(path: Path) -> dict[str, Any]:
    return read_yaml(path)


def _is_there(path: Path, check: Callable[[Path], bool]) -> bool:
    """Whether there is a folder or file; no where that can't be found out, as of a name that is too long."""
    try:
        return check(path)
    except OSError:
        return False


def _check_name(name: Any, marks: str, longest: int, where: str) -> None:
    """Refuse what can't be part of a path on every system."""
    if isinstance(name, str) and len(name) <= longest and re.fullmatch(rf"[A-Za-z0-9][A-Za-z0-9{marks}]*", name):
        return
    raise InputError(
        f"{where}: expected a name of at most {longest} letters, digits, {' '.join(marks)}, a letter or digit first, "
        f"got {_json(name)}"
    )


def _shortened(name: str) -> str:
    """A name made of parts; one that is too long keeps its begin and end, and a digest between them."""
    if len(name) <= LONGEST_NAME:
        return name
    return f"{name[:60]}..{hashlib.sha256(name.encode()).hexdigest()[:8]}..{name[-48:]}"


def _sections(content: dict, layers: list[tuple[str, Any]]) -> dict[str, Section]:
    methods()
    return {
        key: _validated(model, content.get(key, {}), [(f"{prefix}{key}.", tree.get(key)) for prefix, tree in layers])
        for key, model in SECTIONS.items()
    }


def recipe(preset: str | None, settings: list[str]) -> dict[str, Section]:
    """Sections of a preset (None: the defaults) with settings such as "base.lr=0.01" laid over them."""
    content, chosen = {}, {}
    if preset is not None:
        if preset not in presets():
            raise InputError(f"unknown preset {preset!r}; {near(preset, list(presets()))}")
        content = read_yaml(presets()[preset])
    for setting in settings:
        path, equals, value = setting.partition("=")
        if not equals or not path or path.count(".") > 5:
            raise InputError(f"{_cut(repr(setting))}: write section.key=value")
        try:
            leaf = yaml_file.parse(value)
        except yaml.YAMLError as error:
            reason = f" ({yaml_file.said_of(error)})" if isinstance(error, yaml.MarkedYAMLError) else ""
            raise InputError(f"{_cut(repr(setting))}: {_cut(repr(value))} is not a YAML value{reason}") from None
        for part in reversed(path.split(".")):
            leaf = {part: leaf}
        chosen = merge(chosen, leaf)
    for key in chosen:
        if key not in SECTIONS:
            raise InputError(f"{key}: unknown section; {near(key, list(SECTIONS))}")
    _check_maps(chosen, "")
    return _sections(merge(content, chosen), [("", chosen), (f"preset {preset}: ", content)])


def _labels(order: Any, names: tuple[str, ...]) -> list[int]:
    """A class order given by labels or by class names, as labels."""
    if not isinstance(order, list):
        raise InputError(f"order: expected a list of labels or class names, got {_json(order)}")
    labels = []
    for entry in order:
        if type(entry) is int:
            labels.append(entry)
        elif entry in names[1:]:
            labels.append(names.index(entry))
        else:
            raise InputError(f"order: unknown class {_cut(repr(entry))}; {near(entry, names[1:])}")
    return labels


def _check_distinct(runs: list[Run], path: Path) -> None:
    seen: dict[str, str] = {}
    for run in runs:
        content = run.model_dump_json(exclude={"name"})
        if content in seen:
            raise InputError(f"{path}: runs {seen[content]!r} and {run.name!r} are the same run; drop one")
        seen[content] = run.name
    for name, number in Counter(run.name for run in runs).items():
        if number > 1:
            raise InputError(f"{path}: two different runs are called {name!r}; give each a `name:`")
