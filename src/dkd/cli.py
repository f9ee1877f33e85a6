"""The command `dkd`: one verb per stage, for work without the workflow.

Knows how to turn words on the command line into calls; the work is done elsewhere.
"""

import json
import logging
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dkd import scenario
from dkd.config import schema as config
from dkd.data import catalog
from dkd.data import index as index_file
from dkd.data import tasks as tasks_file
from dkd.data.tasks import Inputs
from dkd.errors import InputError, one_line
from dkd.methods import Options, module_name, sort_options

if TYPE_CHECKING:
    from dkd.devices import Runtime
    from dkd.training.recipe import Recipe

RANK = int(os.environ.get("RANK", "0"))
"""Which of several processes this is, as launchers tell; the first one writes and speaks."""
app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Class-incremental segmentation, one verb per stage; `dkd VERB --help` shows an example.",
    epilog="Exit status: 0 done; 1 something for you to mend, told in one line (`predict`: a line per broken file); "
    "2 wrong words on the command line; 130 stopped.",
)
DATA, LEARN, USE = "1. Data", "2. Train, judge, compare", "3. Use what was learned"

Data = Annotated[Path, typer.Option(help="Root of the data set.")]
IndexFile = Annotated[Path, typer.Option("--index", help="Index file made by `dkd index`.")]
Tasks = Annotated[Path, typer.Option(help="Tasks file made by `dkd split`.")]
Preset = Annotated[str | None, typer.Option(help="Recipe to start from; the defaults are the paper's for VOC.")]
Settings = Annotated[list[str], typer.Option("--set", help="section.key=value over the recipe; may be repeated.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Threads = Annotated[int, typer.Option(min=1, help="CPU threads.")]
Workers = Annotated[int, typer.Option(min=0, help="Processes that load pictures.")]
Seed = Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Of all randomness.")]


@app.command("fetch", rich_help_panel=DATA, epilog="Example: dkd fetch voc2012 --from ~/Downloads")
def fetch_(
    dataset: Annotated[str, typer.Argument(help="voc2012 (with SBD: train_aug), ade20k or cityscapes.")],
    out: Annotated[Path | None, typer.Option(help="Root of the data set; data/raw/DATASET by default.")] = None,
    from_: Annotated[
        str | None, typer.Option("--from", help="Folder with the archives, or address of a mirror.")
    ] = None,
    masks: Annotated[
        Path | None, typer.Option(help="voc2012: folder or zip SegmentationClassAug in place of SBD's archive.")
    ] = None,
) -> None:
    """Download a benchmark, check it and unpack what is needed; stopped at any time, the next call goes on."""
    from dkd.fetch.obtain import obtain
    from dkd.fetch.sources import BENCHMARKS

    if dataset not in BENCHMARKS:
        raise InputError(f"DATASET: unknown data set {dataset!r}; {config.near(dataset, list(BENCHMARKS))}")
    obtain(dataset, out or Path("data/raw") / dataset, from_, masks)


@app.command("index", rich_help_panel=DATA, epilog="Example: dkd index garden --out garden.csv")
def index_(
    root: Annotated[Path, typer.Argument(help="Root of the data set.")],
    out: Annotated[Path, typer.Option(help="Index file to write (.csv; a .json goes beside it).")],
    format: Annotated[str, typer.Option(help="How the files are laid out.")] = "folder",
    name: Annotated[str | None, typer.Option(help="Name of the data set; the folder's by default.")] = None,
) -> None:
    """Read every mask once and write which classes each picture shows."""
    if format not in catalog.PARTS:
        raise InputError(f"--format: unknown format {format!r}; {config.near(format, list(catalog.PARTS))}")
    names, files = catalog.class_names(format, root), catalog.list_files(format, root)
    table = index_file.build(root, name or root.resolve().name, names, files, catalog.STORED[format])
    with _scratch(out, folder=False) as place:
        index_file.write(table, root, place)


@app.command(rich_help_panel=DATA, epilog="Example: dkd split garden.csv --scenario 5-1 --out tasks.json")
def split(
    index: Annotated[Path, typer.Argument(help="Index file made by `dkd index`.")],
    scenario_: Annotated[str, typer.Option("--scenario", help="A-B (15-1) or sizes (7,1,1).")],
    out: Annotated[Path, typer.Option(help="Tasks file to write (.json).")],
    setting: Annotated[str, typer.Option(help=", ".join(tasks_file.SETTINGS))] = "overlap",
    order: Annotated[str, typer.Option(help="default, reversed, seed:N, or a file with the order of learning.")] = (
        "default"
    ),
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Of the setting partitioned.")] = 0,
) -> None:
    """Write which pictures each step of a scenario trains on and is judged by."""
    if setting not in tasks_file.SETTINGS:
        raise InputError(f"--setting: unknown setting {setting!r}; {config.near(setting, tasks_file.SETTINGS)}")
    table = index_file.read(index)
    labels = config.class_order(order, table.class_names, Path())
    sizes = _sizes(scenario_, len(labels))
    content = tasks_file.split(table, setting=setting, order=labels, sizes=sizes, seed=seed)
    with _scratch(out, folder=False) as place:
        tasks_file.write(content, place)


def _sizes(given: str, classes: int) -> tuple[int, ...]:
    plain = given.replace(",", "").isdecimal()
    return scenario.step_sizes([int(x) for x in given.split(",")] if plain else given, classes)


@app.command(
    rich_help_panel=LEARN,
    epilog="Example: dkd train --data garden --index garden.csv --tasks tasks.json --step 1 --method dkd "
    "--previous base --out step1",
)
def train(
    data: Data,
    index: IndexFile,
    tasks: Tasks,
    step: Annotated[int, typer.Option(min=0, help="0 is the base.")],
    out: Annotated[Path, typer.Option(help="Folder of the checkpoint to write.")],
    method: Annotated[str, typer.Option(help=", ".join(config.Methods.model_fields))] = "dkd",
    previous: Annotated[Path | None, typer.Option(help="Checkpoint of the step before.")] = None,
    memory: Annotated[Path | None, typer.Option(help="Exemplars to replay, made by `dkd memory`.")] = None,
    seed: Seed = 0,
    preset: Preset = None,
    set_: Settings = [],  # noqa: B006 - typer reads the default, it is never changed
    device: Device = "auto",
    threads: Threads = 1,
    workers: Workers = 0,
    micro_batch: Annotated[int | None, typer.Option(min=1, help="Most pictures per forward pass.")] = None,
    image_cache: Annotated[int, typer.Option(min=0, help="MB of decoded pictures kept in shared memory.")] = 0,
    tensorboard: Annotated[Path | None, typer.Option(help="Folder for TensorBoard's curves.")] = None,
) -> None:
    """Train one step; the base is the same for every method. Stopped or killed, the same call goes on.

    Several processes share it: `torchrun -m dkd.cli train` or `accelerate launch -m dkd.cli train`.
    """
    from dkd.training.loop import train as train_step

    if method not in config.methods():
        raise InputError(f"--method: unknown method {method!r}; {config.near(method, list(config.methods()))}")
    if (previous is None) != (step == 0) or (method == "joint" and step):
        raise InputError("--previous: step 0 starts from nothing, every later step from a checkpoint (joint has none)")
    sections = config.recipe(preset, set_)
    options = sort_options(getattr(sections["methods"], method).model_dump() if step else {})
    if (memory is None) != (options.memory is None):
        raise InputError("--memory: dkd-m needs exemplars (`dkd memory`), other methods take none")
    # Outside of the folder that becomes `out`, and found again by the next call.
    state = out.with_name(f".{out.name}.unfinished")
    given = {"device": device, "threads": threads, "workers": workers, "micro_batch": micro_batch}
    given |= {"image_cache": image_cache, "work": state, "tensorboard_dir": tensorboard}
    with _scratch(out, folder=True) as place:
        train_step(
            import_module(module_name(method if step else "joint")),
            step,
            _recipe(sections, step, seed, options),
            Inputs(data, index, tasks),
            _runtime(**given),
            network=previous or sections["model"].model_dump(mode="json"),
            memory=memory,
            out=place,
        )
    shutil.rmtree(state, ignore_errors=True)


def _recipe(sections: dict[str, Any], step: int, seed: int, options: Options) -> "Recipe":
    """The recipe of a step: sections of params.yaml, and the options of its method."""
    from dkd.training.recipe import Recipe

    values = {**sections["train"].model_dump(), **sections["increment" if step else "base"].model_dump()}
    return Recipe(**values, seed=seed, loss_options=options.loss, head_init=options.head_init, replay=options.replay)


def _runtime(**given: Any) -> "Runtime":
    """What a verb's options say, and the defaults of params.yaml for the rest."""
    from dkd.devices import Runtime

    values = {**config.Runtime().model_dump(), "work": None, "tensorboard_dir": None, **given}
    return Runtime(**{name: values[name] for name in Runtime._fields})


@app.command(
    rich_help_panel=USE, epilog="Example: dkd extend checkpoints/step1 --data garden --out more --set train.batch=8"
)
def extend(
    checkpoint: Annotated[Path, typer.Argument(help="Folder of the checkpoint to go on from.")],
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder of the checkpoint to write.")],
    format: Annotated[str, typer.Option(help="How the new pictures are laid out.")] = "folder",
    method: Annotated[str, typer.Option(help="Any method without replay.")] = "dkd",
    seed: Seed = 0,
    preset: Annotated[str | None, typer.Option(help="Recipe; that of the checkpoint's data set by default.")] = None,
    set_: Settings = [],  # noqa: B006 - typer reads the default, it is never changed
    device: Device = "auto",
    threads: Threads = 1,
    workers: Workers = 0,
    micro_batch: Annotated[int | None, typer.Option(min=1, help="Most pictures per forward pass.")] = None,
) -> None:
    """Teach a network in use the classes of newly labelled pictures."""
    from dkd.checkpoint import describe
    from dkd.training.loop import train as train_step
    from dkd.use.extend import prepare

    if format not in catalog.PARTS:
        raise InputError(f"--format: unknown format {format!r}; {config.near(format, list(catalog.PARTS))}")
    learned = describe(checkpoint)
    sections = config.recipe(preset or (learned.dataset if learned.dataset in config.presets() else None), set_)
    options = {name: sort_options(values) for name, values in config.methods().items()}
    single = [name for name, values in options.items() if values.memory is None and name != "joint"]
    if method not in single:
        raise InputError(f"--method: {method!r} can't go on from a checkpoint alone; {config.near(method, single)}")
    options = sort_options(getattr(sections["methods"], method).model_dump())
    names, files = catalog.class_names(format, data), catalog.list_files(format, data)
    state = out.with_name(f".{out.name}.unfinished")
    with _scratch(out, folder=True) as place:
        inputs, step = prepare(checkpoint, data, names, files, catalog.STORED[format], place)
        train_step(
            import_module(module_name(method)),
            step,
            _recipe(sections, step, seed, options),
            inputs,
            _runtime(device=device, threads=threads, workers=workers, micro_batch=micro_batch, work=state),
            network=checkpoint,
            memory=None,
            out=place,
        )
    shutil.rmtree(state, ignore_errors=True)


@app.command(
    rich_help_panel=LEARN,
    epilog="Example: dkd memory base --data garden --index garden.csv --tasks tasks.json --step 1 --out kept",
)
def memory(
    checkpoint: Annotated[Path, typer.Argument(help="Folder of the checkpoint of the step before.")],
    data: Data,
    index: IndexFile,
    tasks: Tasks,
    step: Annotated[int, typer.Option(min=1, help="Step that replays.")],
    out: Annotated[Path, typer.Option(help="Folder for memory.json and masks.")],
    size: Annotated[int, typer.Option(min=1, help="Most exemplars.")] = 100,
    confidence: Annotated[float, typer.Option(min=0, max=1, help="Of pseudo-labels.")] = 0.9,
    before: Annotated[Path | None, typer.Option(help="Memory of the step before.")] = None,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = 1,
) -> None:
    """Choose the pictures of earlier steps that dkd-m replays."""
    from dkd.training.exemplars import Selection, build

    selection, inputs = Selection(size, confidence, seed), Inputs(data, index, tasks)
    with _scratch(out, folder=True) as place:
        build(checkpoint, step, selection, before, inputs, _runtime(device=device, threads=threads), place)


@app.command(rich_help_panel=LEARN, epilog="Example: dkd evaluate step1 --data garden --out step1-metrics")
def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="Folder of a checkpoint.")],
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder for metrics.json and confusion.npz.")],
    index: Annotated[Path | None, typer.Option(help="Index file; made on the way by default.")] = None,
    tasks: Annotated[Path | None, typer.Option(help="Tasks file; by default the checkpoint says what it saw.")] = None,
    format: Annotated[str | None, typer.Option(help="Layout of the data, where no index is given.")] = None,
    preset: Annotated[str | None, typer.Option(help="How to judge; the checkpoint's data set by default.")] = None,
    set_: Settings = [],  # noqa: B006 - typer reads the default, it is never changed
    device: Device = "auto",
    threads: Threads = 1,
    workers: Workers = 0,
) -> None:
    """Judge a checkpoint on the test pictures of its step, and print the means."""
    from dkd.checkpoint import describe
    from dkd.evaluate import Scoring, check_names
    from dkd.evaluate import evaluate as evaluate_step

    learned = describe(checkpoint)
    preset = preset or (learned.dataset if learned.dataset in config.presets() else None)
    sections = config.recipe(preset, set_)
    values = sections["evaluate"].model_dump()
    protocol = values.pop("protocol")
    with _scratch(out, folder=True) as place, TemporaryDirectory() as made:
        if index is None:
            index = Path(made) / "index.csv"
            layout = format or sections["data"].format
            layout = "folder" if layout == "shapes" else layout
            if layout not in catalog.PARTS:
                raise InputError(f"--format: unknown format {layout!r}; {config.near(layout, list(catalog.PARTS))}")
            names = catalog.class_names(layout, data)
            check_names(names, learned, data if layout in catalog.FIXED else data / "classes.txt", checkpoint)
            files = catalog.list_files(layout, data)
            test_split = index_file.test_split(split for *_, split in files)
            files = [each for each in files if each[3] == test_split]
            table = index_file.build(data, learned.dataset, names, files, catalog.STORED[layout])
            index_file.write(table, data, index)
        if tasks is None:
            tasks = Path(made) / "tasks.json"
            tasks_file.write(tasks_file.test_only(index_file.read(index), learned.order, learned.sizes), tasks)
        evaluate_step(
            checkpoint,
            len(learned.sizes) - 1,
            Scoring(base=learned.sizes[0], **values),
            Inputs(data, index, tasks),
            _runtime(device=device, threads=threads, workers=workers),
            place,
        )
        if RANK:
            return
        found = json.loads((place / "metrics.json").read_text(encoding="utf-8"))["protocols"][protocol]
        if found["all"] is None:
            raise InputError(
                f"{data}: protocol {protocol} finds nothing to judge in what it sees of the test pictures; to see "
                "all of them, --set evaluate.protocol=full_image"
            )
    means = ", ".join(f"{key} {found[key]:.2f}" for key in ("all", "base", "new", "harmonic") if found[key] is not None)
    typer.echo(f"{protocol}: {means}")


@app.command(
    rich_help_panel=USE, epilog="Example: dkd predict checkpoints/step1 holiday/ cat.jpg --out labelled --device cpu"
)
def predict(
    checkpoint: Annotated[Path, typer.Argument(help="Folder of a checkpoint.")],
    pictures: Annotated[list[Path], typer.Argument(help="Pictures, and folders of pictures (folders below too).")],
    out: Annotated[Path, typer.Option(help="Folder for masks/, overlays/ and areas.csv.")],
    size: Annotated[
        int | None, typer.Option(min=1, help="Shorter side that the network sees pictures at; their own by default.")
    ] = None,
    tile: Annotated[int, typer.Option(min=64, help="Largest side that is labelled in one piece.")] = 1024,
    device: Device = "auto",
    threads: Threads = 1,
    workers: Workers = 0,
) -> None:
    """Label pictures of any size and kind: palette masks, overlays with a legend, areas of classes.

    Broken files are passed over, told of at the end, and make the exit status 1.
    """
    from dkd.use import images as photos
    from dkd.use.predict import Predictor, write

    if out.exists():
        raise InputError(f"{out}: exists already; remove it or name another folder")
    found, others = photos.find(pictures)
    predictor = Predictor(checkpoint, device, size=size, tile=tile, threads=threads)
    done = write(predictor, found, out, workers)
    rest = f"; {others} other files passed over" if others else ""
    typer.echo(
        f"{done.done} pictures in {done.seconds:.1f} s on {predictor.device.type}: {done.done / done.seconds:.1f} "
        f"pictures/s, {done.pixels / 1e6 / done.seconds:.2f} megapixels/s{rest}"
    )
    if done.broken:
        words = "\n".join(f"dkd: {line}" for line in done.broken)
        sys.exit(f"{words}\ndkd: {len(done.broken)} of {len(found)} pictures could not be read")


@app.command(
    rich_help_panel=USE,
    epilog="Example: dkd explain checkpoints/step1 cat.jpg --class cat --previous checkpoints/base --out cat.png",
)
def explain(
    checkpoint: Annotated[Path, typer.Argument(help="Folder of a checkpoint.")],
    picture: Annotated[Path, typer.Argument(help="A picture.")],
    class_: Annotated[str, typer.Option("--class", help="Name of a class that the checkpoint knows.")],
    out: Annotated[Path, typer.Option(help="Picture to write (.png or .svg).")],
    previous: Annotated[Path | None, typer.Option(help="Checkpoint of an earlier step, to compare with.")] = None,
    size: Annotated[int | None, typer.Option(min=1, help="Shorter side that the network sees the picture at.")] = None,
    device: Device = "auto",
    threads: Threads = 1,
) -> None:
    """Show what speaks for a class (z+) and against it (z-) at each pixel, and how that changed since a step before."""
    from dkd import devices
    from dkd.use import images as photos
    from dkd.use.explain import explain as draw
    from dkd.use.explain import resized

    if out.suffix not in (".png", ".svg"):
        raise InputError(f"--out: {out.name!r} is neither .png nor .svg")
    image = resized(photos.read(picture), size)
    figure = draw(checkpoint, image, class_, previous, devices.accelerator(device, threads).device)
    with _scratch(out, folder=False) as place:
        if out.suffix == ".svg":
            place.write_text(figure.standalone(), encoding="utf-8")
        else:
            figure.png(1.5).save(place)


@app.command(
    "import-checkpoint",
    rich_help_panel=USE,
    epilog="Example: dkd import-checkpoint step5.pth --dataset voc2012 --scenario 15-1 --step 5 --out released",
)
def import_checkpoint(
    file: Annotated[Path, typer.Argument(help="A file (.pth) that the method's authors published.")],
    dataset: Annotated[str, typer.Option(help="Its data set: voc2012 or ade20k.")],
    scenario_: Annotated[str, typer.Option("--scenario", help="Its scenario, such as 15-1.")],
    step: Annotated[int, typer.Option(min=0, help="The step that it was saved after.")],
    out: Annotated[Path, typer.Option(help="Folder of the checkpoint to write.")],
) -> None:
    """Turn a published checkpoint into one of ours."""
    from dkd.use.released import convert

    sections = config.recipe(dataset, [])
    if sections["data"].format not in catalog.FIXED:
        raise InputError(f"--dataset: {dataset!r} has no fixed class list; published are voc2012 and ade20k")
    names = catalog.class_names(sections["data"].format, None)
    sizes = _sizes(scenario_, len(names) - 1)
    if step >= len(sizes):
        raise InputError(f"--step: {scenario_} has steps 0..{len(sizes) - 1}, no step {step}")
    sizes = sizes[: step + 1]
    with _scratch(out, folder=True) as place:
        convert(
            file,
            dataset=dataset,
            class_names=names,
            order=range(1, sum(sizes) + 1),
            sizes=sizes,
            model=sections["model"].model_dump(mode="json"),
            out=place,
        )


@app.command(
    rich_help_panel=LEARN, epilog="Example: dkd report base-metrics step1-metrics --tasks tasks.json --out report"
)
def report(
    tasks: Tasks,
    results: Annotated[list[Path], typer.Argument(help="Folders with metrics.json, first step first.")],
    out: Annotated[Path, typer.Option(help="Folder for tables, figures and index.html.")],
    method: Annotated[str, typer.Option(help="Name of the method, as it shall be shown.")] = "dkd",
    seed: Seed = 0,
    preset: Preset = None,
) -> None:
    """Put the steps of one run into tables and a page, and print the last table."""
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
        "protocol": config.recipe(preset, [])["evaluate"].protocol,
    }
    missing = [folder for folder in results if not (folder / "metrics.json").is_file()]
    if missing:
        raise InputError(f"{missing[0]}: holds no metrics.json; make it with `dkd evaluate`")
    with _scratch(out, folder=True) as place:
        summary.write([run], {run["name"]: [folder / "metrics.json" for folder in results]}, 1, place)
        run["steps"] = [json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["step"] for folder in results]
        found = {f"{run['name']}/{step}": folder for step, folder in zip(run["steps"], results, strict=True)}
        page.write([run], {**found, "summary": place}, 1, {}, place)
    typer.echo((out / "table.txt").read_text(), nl=False)


@contextmanager
def _scratch(out: Path, *, folder: bool) -> Iterator[Path]:
    """A place to write to; what is there takes the place of `out` only when all went well."""
    if folder and out.exists():
        raise InputError(f"{out}: exists already; remove it or name another folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out.parent, prefix=".dkd-") as scratch:
        place = Path(scratch) / out.name
        if folder:
            place.mkdir()
        yield place
        if RANK:
            return
        for made in Path(scratch).iterdir():
            made.replace(out.parent / made.name)


def main() -> None:
    """Entry point: an InputError or an OSError is shown as one line; exit status 1."""
    logging.basicConfig(level=logging.ERROR if RANK else logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        app()
    except (InputError, OSError) as error:
        sys.exit(one_line(error, Path("disk")))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
