"""The commands that evaluate and compare: evaluate, report."""

import json
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dkd.cli.common import (
    LEARN,
    RANK,
    RUNTIME,
    Data,
    Device,
    Preset,
    Seed,
    Settings,
    Tasks,
    Threads,
    Workers,
    app,
    data_set,
    preset_of,
    runtime,
    scratch,
    share,
)
from dkd.config import read, schema
from dkd.data import catalog, survey
from dkd.data import index as index_file
from dkd.data import tasks as tasks_file
from dkd.data.tasks import Inputs
from dkd.errors import InputError
from dkd.files import temporary_folder
from dkd.methods import BASES

if TYPE_CHECKING:
    from dkd.checkpoint import Step
    from dkd.devices import Runtime


@app.command(rich_help_panel=LEARN, epilog="Example: dkd evaluate step1 --data garden --out step1-metrics")
def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="Folder of a checkpoint.")],
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder to write metrics.json and confusion.npz to.")],
    index: Annotated[Path | None, typer.Option(help="Index file; by default the images are indexed first.")] = None,
    tasks: Annotated[Path | None, typer.Option(help="Tasks file; by default the checkpoint's own classes.")] = None,
    format: Annotated[
        str | None, typer.Option(help=f"Layout of the files, without an index: {', '.join(catalog.PARTS)}.")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="Preset with the protocol; by default that of the checkpoint's data set.")
    ] = None,
    set_: Settings = [],  # noqa: B006 - typer reads the default, it is never changed
    device: Device = RUNTIME.device,
    threads: Threads = RUNTIME.threads,
    workers: Workers = RUNTIME.workers,
) -> None:
    """Evaluate a checkpoint on the test images of its step, and print the mean IoU of its classes."""
    from dkd.checkpoint import describe

    learned = describe(checkpoint)
    sections = read.recipe(preset or preset_of(learned.dataset), set_)
    with scratch(out, folder=True) as place:
        how = runtime(device=device, threads=threads, workers=workers)
        score(checkpoint, data, (index, tasks), format, sections, how, place)
        if RANK:
            return
        protocol = sections["evaluate"].protocol
        found = json.loads((place / "metrics.json").read_text(encoding="utf-8"))["protocols"][protocol]
        if found["all"] is None:
            raise InputError(
                f"{data}: the protocol {protocol} finds no labelled pixel in its crops of the test images; to evaluate "
                "whole images, add --set evaluate.protocol=full_image"
            )
    means = ", ".join(f"{key} {found[key]:.2f}" for key in ("all", "base", "new", "harmonic") if found[key] is not None)
    typer.echo(f"{protocol}: {means}")


def score(
    checkpoint: Path,
    data: Path,
    lists: tuple[Path | None, Path | None],
    format: str | None,
    sections: dict[str, Any],
    how: "Runtime",
    out: Path,
) -> None:
    """Write metrics.json and confusion.npz of a checkpoint on its test images to `out` (`dkd.evaluation.evaluate`).

    `lists`: index and tasks; what is None is made first. `sections`: those of params.yaml.
    """
    from dkd.checkpoint import describe
    from dkd.evaluation import Scoring
    from dkd.evaluation import evaluate as evaluate_step

    learned, (index, tasks) = describe(checkpoint), lists
    values = sections["evaluate"].model_dump(exclude={"protocol"})
    with temporary_folder(Path(gettempdir())) as temporary:
        if index is None:
            index = temporary / "index.csv"
            _index_test_images(checkpoint, learned, data, format, sections["data"], index)
        if tasks is None:
            tasks = temporary / "tasks.json"
            tasks_file.write(tasks_file.test_only(index_file.read(index), learned.order, learned.sizes), tasks)
        scoring = Scoring(base=learned.sizes[0], **values)
        evaluate_step(checkpoint, len(learned.sizes) - 1, scoring, Inputs(data, index, tasks), how, out)


def _index_test_images(
    checkpoint: Path, learned: "Step", root: Path, format: str | None, data: schema.Data, out: Path
) -> None:
    """Write an index of the test split (the val split if there is none) to `out`."""
    from dkd.evaluation import check_names

    # Drawn images are a folder data set once they are drawn.
    format = format or ("folder" if data.format == "shapes" else data.format)
    contents = data_set(format, root, data)
    check_names(contents.class_names, learned, root if format in catalog.FIXED else root / "classes.txt", checkpoint)
    if data.split is None:
        test_split = index_file.test_split(split for *_, split in contents.files)
        contents = contents._replace(files=[each for each in contents.files if each[3] == test_split])
    table, _ = survey.build(root, learned.dataset, contents, decode=False, split=share(data))
    index_file.write(table, out)


@app.command(
    rich_help_panel=LEARN, epilog="Example: dkd report base-metrics step1-metrics --tasks tasks.json --out report"
)
def report(
    tasks: Tasks,
    results: Annotated[list[Path], typer.Argument(help="Folders with metrics.json, in the order of the steps.")],
    out: Annotated[Path, typer.Option(help="Folder to write tables, figures and index.html to.")],
    method: Annotated[str, typer.Option(help="Name of the method, as tables show it.")] = "dkd",
    seed: Seed = 0,
    preset: Preset = None,
) -> None:
    """Write tables and a web page on the steps of one run, and print the last table."""
    from dkd.report import page
    from dkd.report import tables as summary

    content = tasks_file.read(tasks)
    run = {
        "name": f"{content['dataset']}_{content['scenario']}_{content['setting']}_{method}_s{seed}",
        "dataset": content["dataset"],
        "setting": content["setting"],
        "method": method,
        "seed": seed,
        "order": content["order"],
        "sizes": [len(step["classes"]) for step in content["steps"]],
        "protocol": read.recipe(preset, [])["evaluate"].protocol,
    }
    decimals = schema.Report().decimals
    run["steps"] = list(range(len(results)))
    _check_results(results, run)
    with scratch(out, folder=True) as place:
        summary.write([run], {run["name"]: [folder / "metrics.json" for folder in results]}, decimals, place)
        found = {f"{run['name']}/{step}": folder for step, folder in enumerate(results)}
        page.write([run], {**found, "summary": place}, decimals, {}, place)
    typer.echo((out / "table.txt").read_text(encoding="utf-8"), nl=False)


def _check_results(results: list[Path], run: dict[str, Any]) -> None:
    """Raises InputError unless these are the results of steps 0, 1, ... of the run, once each and in this order."""
    from dkd.report.results_file import read_metrics

    learned: list[str] = []
    for step, folder in enumerate(results):
        if not (folder / "metrics.json").is_file():
            raise InputError(f"{folder}: contains no metrics.json; make it with `dkd evaluate`")
        content = read_metrics(folder / "metrics.json", run["protocol"])
        if content["step"] != step:
            raise InputError(
                f"{folder}: holds the results of step {content['step']}, expected step {step}; name the results of "
                "steps 0, 1, ... once each, in this order"
            )
        names = list(content["protocols"][run["protocol"]]["per_class"])
        # `joint` and `joint-softmax` have one step, with all classes.
        wanted = sum(run["sizes"]) if run["method"] in BASES.values() else sum(run["sizes"][: step + 1])
        if step >= len(run["sizes"]) or len(names) != wanted + 1 or names[: len(learned)] != learned:
            raise InputError(
                f"{folder}: step {step} has learned {len(names) - 1} classes ({', '.join(names[1:4])}, ...), which is "
                "not what --tasks and the steps before have; name the results and the tasks of one run"
            )
        learned = names
