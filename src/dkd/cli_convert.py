"""The verb `dkd convert`: words on the command line into one call of `dkd.convert`."""

from pathlib import Path
from typing import Annotated

import typer


def convert_(
    export: Annotated[Path, typer.Argument(help="Folder of an unpacked export, or one .json or .xml file of it.")],
    out: Annotated[Path, typer.Option(help="Root of the folder data set to make; must not exist.")],
    format: Annotated[
        str, typer.Option(help="coco, labelme, cvat, colour (masks in colours); auto looks at the files.")
    ] = "auto",
    split: Annotated[float, typer.Option(help="Share of the pictures for training; the others are for validation.")] = (
        0.8
    ),
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Of the split.")] = 0,
) -> None:
    """Turn what an annotation tool exports into a data set that `make run` and `dkd index` read.

    Knows COCO (instances as JSON), labelme, CVAT ("CVAT for images 1.1", "Segmentation mask 1.1") and masks in colours
    with a list of them (labelmap.txt as CVAT writes it, or classes.txt with `name r g b`). Photos come out upright.
    Classes are split between training and validation as evenly as their pictures allow, on every machine alike.
    Nothing of the export is changed, and nothing is left where something is wrong with it.
    """
    from dkd.convert import convert

    made = convert(export, out, format=format, split=split, seed=seed)
    typer.echo(
        f"{out}: {made.train} pictures for training, {made.val} for validation, {len(made.names) - 1} classes "
        f"({made.format})"
    )
    for count, words in (
        (made.turned, "turned upright, as their EXIF says"),
        (made.empty, "without any class: background only"),
        (made.unlabelled, "not labelled: left out"),
    ):
        if count:
            typer.echo(f"  {count} pictures {words}")
    if made.unused:
        typer.echo(f"  classes that no picture shows, left out: {', '.join(made.unused)}")


EPILOG = "Example: dkd convert garden-export --out data/raw/garden"
