"""The commands that train, and choose what is trained on: train, memory, extend."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dkd.cli.common import (
    LEARN,
    RUNTIME,
    USE,
    Data,
    Device,
    IndexFile,
    MicroBatch,
    Preset,
    Seed,
    Settings,
    Tasks,
    Threads,
    Workers,
    app,
    check_known,
    data_set,
    preset_of,
    runtime,
    scratch,
    share,
)
from dkd.config import methods, read, runs, schema
from dkd.config.base import Section, suggest
from dkd.data import catalog
from dkd.data import tasks as tasks_file
from dkd.data.tasks import Inputs
from dkd.errors import InputError
from dkd.methods import BASES, Options, module_name, sort_options

if TYPE_CHECKING:
    from dkd.training.recipe import Recipe


@app.command(
    rich_help_panel=LEARN,
    epilog="Example: dkd train --data garden --index garden.csv --tasks tasks.json --step 1 --method dkd "
    "--previous base --out step1",
)
def train(
    data: Data,
    index: IndexFile,
    tasks: Tasks,
    step: Annotated[int, typer.Option(min=0, help="Step to train; 0 is the base.")],
    out: Annotated[Path, typer.Option(help="Folder of the checkpoint to write.")],
    method: Annotated[str, typer.Option(help=f"Name of the method: {', '.join(schema.Methods.model_fields)}.")] = "dkd",
    previous: Annotated[Path | None, typer.Option(help="Checkpoint of the step before.")] = None,
    memory: Annotated[Path | None, typer.Option(help="Exemplars to replay, as written by `dkd memory`.")] = None,
    seed: Seed = 0,
    preset: Preset = None,
    set_: Settings = [],  # noqa: B006 - typer reads the default, it is never changed
    device: Device = RUNTIME.device,
    threads: Threads = RUNTIME.threads,
    workers: Workers = RUNTIME.workers,
    micro_batch: MicroBatch = RUNTIME.micro_batch,
    image_cache: Annotated[
        int, typer.Option(min=0, help="Megabytes of decoded images to keep in shared memory.")
    ] = RUNTIME.image_cache,
    tracker: Annotated[
        list[str], typer.Option(help="tensorboard, wandb, mlflow or dvclive, to follow the training by; repeatable.")
    ] = [],  # noqa: B006 - typer reads the default, it is never changed
    logs: Annotated[Path, typer.Option(help="Folder that trackers write to.")] = Path("logs"),
) -> None:
    """Train one step; methods with classifiers of the same kind share a base (docs/methods.md).

    If training is interrupted or killed, the same command continues it. To use several processes, run it as
    `torchrun -m dkd.cli train` or `accelerate launch -m dkd.cli train`.
    """
    from dkd.training.loop import train as train_step

    check_known("--method", "method", method, methods.options())
    if method in BASES.values() and step:
        raise InputError(f"--step: the method {method} trains all classes in step 0 and has no step {step}")
    if step == 0 and previous is not None:
        raise InputError("--previous: step 0 starts from no checkpoint; leave the option out")
    if step and previous is None:
        raise InputError(f"--previous: step {step} starts from the checkpoint of step {step - 1}; name its folder")
    sections = read.recipe(preset, set_)
    options = sort_options(getattr(sections["methods"], method).model_dump() if step else {})
    if memory is None and options.memory is not None:
        raise InputError(f"--memory: the method {method} replays exemplars; make them with `dkd memory`")
    if memory is not None and options.memory is None:
        raise InputError(f"--memory: step {step} of the method {method} replays no exemplars; leave the option out")
    if previous is not None:
        _check_setting(previous, step, tasks)
        runs.check_steps(sections["increment"], len(tasks_file.read(tasks)["steps"]) - 1, "--set")
    network = previous or sections["model"].model_dump(mode="json")
    with _unfinished(out) as (place, work):
        train_step(
            import_module(module_name(method if step else BASES[methods.head(method)])),
            step,
            _recipe(sections, step, seed, options),
            Inputs(data, index, tasks),
            runtime(
                device=device,
                threads=threads,
                workers=workers,
                micro_batch=micro_batch,
                image_cache=image_cache,
                work=work,
                trackers=tuple(tracker),
                logs=logs,
                name=out.name,
            ),
            network=network,
            memory=memory,
            out=place,
        )


def _check_setting(previous: Path, step: int, tasks: Path) -> None:
    """Raises InputError where the checkpoint was trained in another setting than that of the tasks file."""
    from dkd.checkpoint import describe

    learned, asked = describe(previous).setting, tasks_file.read(tasks)["setting"]
    same = tasks_file.base_setting if step == 1 else str
    if learned is not None and same(learned) != same(asked):
        raise InputError(
            f"--previous: {previous} was trained in the setting {learned}, but {tasks} has {asked}; name a checkpoint "
            "that was trained with these tasks"
        )


def _recipe(sections: dict[str, Section], step: int, seed: int, options: Options) -> "Recipe":
    """The recipe of a step: sections of params.yaml, and the options of its method."""
    from dkd.training.recipe import build, of_step

    values = {name: sections[name].model_dump() for name in ("train", "base", "increment")}
    return build(of_step(values, step), seed, options)


@contextmanager
def _unfinished(out: Path) -> Iterator[tuple[Path, Path]]:
    """A folder to write a checkpoint to, and one for the state of its training, kept until `out` is complete."""
    # Outside of the folder that becomes `out`, where the next call finds it.
    work = out.with_name(f".{out.name}.unfinished")
    with scratch(out, folder=True) as place:
        yield place, work
    shutil.rmtree(work, ignore_errors=True)


@app.command(
    rich_help_panel=LEARN,
    epilog="Example: dkd memory base --data garden --index garden.csv --tasks tasks.json --step 1 --out kept",
)
def memory(
    checkpoint: Annotated[Path, typer.Argument(help="Folder of the checkpoint of the step before.")],
    data: Data,
    index: IndexFile,
    tasks: Tasks,
    step: Annotated[int, typer.Option(min=1, help="Step that will replay the exemplars.")],
    out: Annotated[Path, typer.Option(help="Folder to write memory.json and masks to.")],
    size: Annotated[int | None, typer.Option(min=1, help="Most exemplars; by default as in dkd-m.")] = None,
    confidence: Annotated[
        float | None, typer.Option(min=0, max=1, help="Threshold of pseudo-labels; by default as in dkd-m.")
    ] = None,
    before: Annotated[Path | None, typer.Option(help="Memory of the step before.")] = None,
    seed: Seed = 0,
    device: Device = RUNTIME.device,
    threads: Threads = RUNTIME.threads,
) -> None:
    """Choose the images of earlier steps that dkd-m replays as exemplars."""
    from dkd.training.exemplars import Selection, build

    default = sort_options(methods.options()["dkd-m"])
    selection = Selection(
        size=default.memory if size is None else size,
        confidence=default.confidence if confidence is None else confidence,
        seed=seed,
    )
    inputs = Inputs(data, index, tasks)
    with scratch(out, folder=True) as place:
        build(checkpoint, step, selection, before, inputs, runtime(device=device, threads=threads), place)


@app.command(
    rich_help_panel=USE, epilog="Example: dkd extend checkpoints/step1 --data garden --out more --set train.batch=8"
)
def extend(
    checkpoint: Annotated[Path, typer.Argument(help="Folder of the checkpoint to start from.")],
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder of the checkpoint to write.")],
    format: Annotated[str, typer.Option(help=f"Layout of the files: {', '.join(catalog.PARTS)}.")] = "folder",
    method: Annotated[str, typer.Option(help="Any method without replay.")] = "dkd",
    seed: Seed = 0,
    preset: Annotated[
        str | None, typer.Option(help="Preset to start from; by default that of the checkpoint's data set.")
    ] = None,
    set_: Settings = [],  # noqa: B006 - typer reads the default, it is never changed
    device: Device = RUNTIME.device,
    threads: Threads = RUNTIME.threads,
    workers: Workers = RUNTIME.workers,
    micro_batch: MicroBatch = RUNTIME.micro_batch,
) -> None:
    """Teach a trained model the classes of newly labelled images."""
    from dkd.checkpoint import describe
    from dkd.training.loop import train as train_step
    from dkd.use.extend import prepare

    learned = describe(checkpoint)
    sections = read.recipe(preset or preset_of(learned.dataset), set_)
    options = {name: sort_options(values) for name, values in methods.options().items()}
    single = [name for name, values in options.items() if values.memory is None and name not in BASES.values()]
    if method not in single:
        raise InputError(f"--method: {method!r} cannot continue from a checkpoint alone; {suggest(method, single)}")
    options = sort_options(getattr(sections["methods"], method).model_dump())
    contents = data_set(format, data, sections["data"])
    with _unfinished(out) as (place, work):
        inputs, step = prepare(checkpoint, data, contents, share(sections["data"]), place)
        runs.check_steps(sections["increment"], step, "--set")
        train_step(
            import_module(module_name(method)),
            step,
            _recipe(sections, step, seed, options),
            inputs,
            runtime(device=device, threads=threads, workers=workers, micro_batch=micro_batch, work=work),
            network=checkpoint,
            memory=None,
            out=place,
        )
