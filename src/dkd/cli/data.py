"""The commands on data sets: fetch, convert, index, split."""

from pathlib import Path
from typing import Annotated

import typer

from dkd.cli.common import DATA, app, check_known, scratch, step_sizes
from dkd.config import runs
from dkd.data import catalog
from dkd.data import index as index_file
from dkd.data import tasks as tasks_file
from dkd.errors import InputError


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
    with a list of the colours (labelmap.txt as CVAT writes it, or classes.txt with `name r g b`). Photos are written
    upright. The split is stratified by class and the same on every machine. The export is not changed.
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
) -> None:
    """Read every mask once and write which classes each image shows."""
    if out.suffix != ".csv":
        raise InputError(f"--out: {out.name!r} does not end in .csv; rename it")
    check_known("--format", "format", format, catalog.PARTS)
    names, files = catalog.class_names(format, root), catalog.list_files(format, root)
    table = index_file.build(root, name or root.resolve().name, names, files, catalog.STORED[format])
    with scratch(out, folder=False, inputs=[root]) as place:
        index_file.write(table, root, place)


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
    labels = runs.class_order(order, table.class_names, Path())
    sizes = step_sizes(scenario, len(labels))
    content = tasks_file.split(table, setting=setting, order=labels, sizes=sizes, seed=seed)
    with scratch(out, folder=False, inputs=[index, index.with_suffix(".json"), Path(order)]) as place:
        tasks_file.write(content, place)
