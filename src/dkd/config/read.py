"""Reads params.yaml, presets and settings of the command line into the sections of `dkd.config.schema`.

A value is taken from the strongest layer that gives it: the run's `sweep:` and `set:`, then the top level of
params.yaml, then the preset that the run names or that has the name of its data set, then the defaults. Maps are merged
key by key; everything else, lists too, is replaced.
"""

from collections.abc import Callable
from functools import cache, reduce
from pathlib import Path
from typing import Any

import yaml

from dkd import scenario
from dkd.config import base, methods, yaml_file
from dkd.config import runs as run_list
from dkd.config.base import Layers, Section, suggest
from dkd.config.schema import SECTIONS, TOP, Config, Run
from dkd.data import catalog, classes
from dkd.errors import InputError, shorten
from dkd.methods import BASES

PRESETS = Path(__file__).parents[1] / "presets"


def load(path: str | Path) -> Config:
    """Read, resolve and check params.yaml; relative paths in it are relative to its folder.

    Raises InputError: one line with file, key, value and remedy.
    """
    path = Path(path)
    raw = yaml_file.read_yaml(path)
    for key in raw:
        if key not in ("runs", *TOP):
            raise InputError(f"{path}: {key}: unknown key; {suggest(key, ['runs', *TOP])}")
    items = raw.get("runs")
    if not isinstance(items, list) or not items:
        raise InputError(f"{path}: runs: expected a list with at least one run")
    top = {key: value for key, value in raw.items() if key != "runs"}
    base.check_maps(top, f"{path}: ")
    if "tensorboard" in top.get("runtime", {}):
        raise InputError(f"{path}: runtime.tensorboard: is now `trackers: [tensorboard]`; write that or leave it out")
    report, runtime = (
        base.validated(TOP[key], top.get(key, {}), [(f"{path}: {key}.", top.get(key))]) for key in ("report", "runtime")
    )
    runs = [_resolve(choice, [(f"{path}: ", top)], path.parent) for choice in run_list.expand(items, path)]
    run_list.check_distinct(runs, path)
    return Config.model_construct(runs=tuple(runs), report=report, runtime=runtime)


def recipe(preset: str | None, settings: list[str]) -> dict[str, Section]:
    """Sections of a preset (None: the defaults) with settings such as "base.lr=0.01" on top.

    Raises InputError for an unknown preset, or a setting that cannot be read or does not fit.
    """
    if preset is not None and preset not in presets():
        raise InputError(f"unknown preset {preset!r}; {suggest(preset, presets())}")
    chosen: dict[str, Any] = {}
    for setting in settings:
        chosen = base.merge(chosen, _setting(setting))
    for key in chosen:
        if key not in SECTIONS:
            raise InputError(f"{key}: unknown section; {suggest(key, SECTIONS)}")
    base.check_maps(chosen, "")
    return _sections([("", chosen), *_preset(preset)])


def presets() -> dict[str, Path]:
    """Shipped presets by name: that of a data set, or `small` for any."""
    return {path.stem: path for path in sorted(PRESETS.glob("*.yaml"))}


def _setting(setting: str) -> dict[str, Any]:
    path, equals, value = setting.partition("=")
    if not equals or not path or path.count(".") > 5:
        raise InputError(f"{shorten(repr(setting))}: expected section.key=value")
    try:
        return base.nested(path, yaml_file.parse(value))
    except yaml.YAMLError as error:
        reason = f" ({yaml_file.reason(error)})" if isinstance(error, yaml.MarkedYAMLError) else ""
        raise InputError(f"{shorten(repr(setting))}: {shorten(repr(value))} is not a YAML value{reason}") from None


@cache
def _preset(name: str | None) -> Layers:
    """The preset of this name as a layer, if there is one."""
    path = presets().get(name)
    return [(f"preset {path.name}: ", yaml_file.read_yaml(path))] if path else []


def _sections(layers: Layers) -> dict[str, Section]:
    # `Methods` is empty where a method's file is faulty; this raises the error.
    methods.options()
    content = reduce(base.merge, (tree for _, tree in reversed(layers)))
    return {
        key: base.validated(
            model, content.get(key, {}), [(f"{prefix}{key}.", tree.get(key)) for prefix, tree in layers]
        )
        for key, model in SECTIONS.items()
    }


def _resolve(choice: run_list.Choice, top: Layers, folder: Path) -> Run:
    item, where = choice.item, choice.where
    own = [(f"{where}.sweep.", item.sweep), (f"{where}.set.", item.set)]
    for prefix, tree in own:
        for key in tree:
            if key not in SECTIONS:
                raise InputError(f"{prefix}{key}: unknown key; {suggest(key, SECTIONS)}")
        base.check_maps(tree, prefix)
    if item.method not in methods.options():
        raise InputError(
            f"{where}.method: unknown method {shorten(repr(item.method))}; {suggest(item.method, methods.options())}"
        )
    if item.preset is not None and item.preset not in presets():
        raise InputError(
            f"{where}.preset: unknown preset {shorten(repr(item.preset))}; {suggest(item.preset, presets())}"
        )
    # Sections first, so that a wrong type is reported before anything is read from the data set.
    sections = _sections([*own, *top, *_preset(item.preset or item.dataset)])
    sections |= _located(sections, item.dataset, where, folder)
    data = sections["data"]
    names = catalog.class_names(data.format, Path(data.root) if data.root else None)
    try:
        stored = catalog.stored_labels(data.format, names, data.labels, data.void)
        order = run_list.class_order(item.order, names, classes.labels_of(stored, len(names) - 1), folder)
        sizes = scenario.step_sizes(item.scenario, len(order))
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    if item.method not in BASES.values():
        run_list.check_steps(sections["increment"], len(sizes) - 1, where)
    return Run.model_construct(
        name=run_list.name(item, sizes, choice.tag),
        **item.model_dump(include={"dataset", "setting", "method", "seed"}),
        order=order,
        sizes=sizes,
        **sections,
    )


def _located(sections: dict[str, Section], dataset: str, where: str, folder: Path) -> dict[str, Section]:
    """The sections that name paths, with paths that do not depend on `folder` being the current one."""
    data, model = sections["data"], sections["model"]
    place = folder / (data.root or f"data/raw/{dataset}")
    there = _exists(place, Path.is_dir)
    if not there and data.root is None and dataset not in presets():
        raise InputError(
            f"{where}.dataset: unknown data set {dataset!r}; {suggest(dataset, presets())} "
            "(for images of your own, put them into data/raw/NAME or set data.root to their folder)"
        )
    if data.format != "shapes":
        if not there:
            raise InputError(f"{where}: data set {dataset!r} not found at {place}; set data.root to its folder")
        data = data.model_copy(update={"root": str(place)})
    if isinstance(model.pretrained, str):
        weights = folder / model.pretrained
        if not _exists(weights, Path.is_file):
            raise InputError(f"{where}: model.pretrained: no file of weights at {weights}; correct the path")
        model = model.model_copy(update={"pretrained": str(weights)})
    return {"data": data, "model": model}


def _exists(path: Path, check: Callable[[Path], bool]) -> bool:
    """Whether there is a folder or file; False where the system cannot tell, as with a name that is too long.

    Raises InputError where that may not be read.
    """
    try:
        return check(path)
    except PermissionError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except OSError:
        return False
