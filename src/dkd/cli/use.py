"""The commands that use a trained model: predict, explain, export, push, pull, import-checkpoint."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from dkd.cli.common import RUNTIME, USE, Device, Threads, Workers, app, check_known, check_new, scratch, step_sizes
from dkd.config import read
from dkd.config.schema import LONGEST_SIDE as LONGEST
from dkd.data import catalog
from dkd.errors import InputError

TILE = 1024
"""Longest side in pixels that is labelled in one piece."""


def _size(given: str) -> int | str:
    """What `--size` of predict says: a number of pixels, or `full`."""
    from dkd.use.images import FULL

    if given != FULL and not (given.isdecimal() and 1 <= int(given) <= LONGEST):
        raise typer.BadParameter(f"{given!r} is neither a number of pixels from 1 to {LONGEST} nor {FULL!r}")
    return given if given == FULL else int(given)


@app.command(
    rich_help_panel=USE, epilog="Example: dkd predict checkpoints/step1 holiday/ cat.jpg --out labelled --device cpu"
)
def predict(
    checkpoint: Annotated[Path, typer.Argument(help="Folder of a checkpoint.")],
    images: Annotated[list[Path], typer.Argument(help="Images, and folders that are searched for images.")],
    out: Annotated[Path, typer.Option(help="Folder to write masks/, overlays/, areas.csv and passed-over.csv to.")],
    every: Annotated[int | None, typer.Option(min=1, help="Label videos as well: one frame of this many.")] = None,
    existing: Annotated[
        str, typer.Option(help="If --out exists: refuse, continue an interrupted call, or overwrite its results.")
    ] = "refuse",
    size: Annotated[
        str | None,
        typer.Option(
            parser=_size,
            metavar="<int range>|full",
            help="Shorter side in pixels to which images are scaled, or `full`: none is. By default, those that are "
            "larger than any the network was trained on are scaled down to that size.",
        ),
    ] = None,
    tile: Annotated[
        int, typer.Option(min=64, max=LONGEST, help="Images with a longer side are predicted in tiles.")
    ] = TILE,
    device: Device = RUNTIME.device,
    threads: Threads = RUNTIME.threads,
    workers: Workers = RUNTIME.workers,
) -> None:
    """Segment images of any size: masks with a palette, overlays with a legend, and areas of classes.

    Unreadable images are skipped, listed at the end, and make the exit status 1; passed-over.csv names them and all
    other files. HEIC needs the extra `heic`, --every the extra `video`. Of a GeoTIFF the pixels are read, but the masks
    have no coordinates.
    """
    from dkd.use import images as photos
    from dkd.use import labelling
    from dkd.use.predict import Predictor

    check_known("--existing", "word", existing, labelling.EXISTING)
    if existing == "refuse":
        # Before a large network is loaded.
        check_new(out)
    found = photos.find(images, every is not None)
    predictor = Predictor(checkpoint, device, size=size, tile=tile, threads=threads)
    done = labelling.write(predictor, found, out, workers=workers, every=every, existing=existing)
    rest = f"; {done.kept} had been labelled before" if done.kept else ""
    if found.passed:
        files = "1 other file" if len(found.passed) == 1 else f"{len(found.passed)} other files"
        rest += f"; {files} passed over, see {out / labelling.PASSED}"
    typer.echo(
        f"{done.done} images in {done.seconds:.1f} s on {predictor.device.type}: {done.done / done.seconds:.1f} "
        f"images/s, {done.pixels / 1e6 / done.seconds:.2f} megapixels/s{rest}"
    )
    if done.broken:
        lines = "\n".join(f"dkd: {line}" for line in done.broken)
        sys.exit(f"{lines}\ndkd: {len(done.broken)} of {len(found.files)} images could not be read")


@app.command(
    rich_help_panel=USE,
    epilog="Example: dkd explain checkpoints/step1 cat.jpg --class cat --previous checkpoints/base --out cat.png",
)
def explain(
    checkpoint: Annotated[Path, typer.Argument(help="Folder of a checkpoint.")],
    image: Annotated[Path, typer.Argument(help="An image.")],
    class_: Annotated[str, typer.Option("--class", help="Name of a class that the checkpoint has learned.")],
    out: Annotated[Path, typer.Option(help="Figure to write (.png or .svg), or its maps as arrays (.npz).")],
    previous: Annotated[Path | None, typer.Option(help="Checkpoint of an earlier step to compare with.")] = None,
    size: Annotated[
        int | None,
        typer.Option(
            min=1, max=LONGEST, help="Shorter side to which the image is scaled; by default as by `dkd predict`."
        ),
    ] = None,
    device: Device = RUNTIME.device,
    threads: Threads = RUNTIME.threads,
) -> None:
    """Show the evidence for a class (z+) and against it (z-) at each pixel, and its change since an earlier step.

    An .npz file has the arrays positive, negative, logit and decision, and with --previous also previous_positive, ...
    """
    import numpy as np

    from dkd import devices
    from dkd.checkpoint import describe
    from dkd.data import reader
    from dkd.use import explain as explaining

    if out.suffix not in (".png", ".svg", ".npz"):
        raise InputError(f"--out: {out.name!r} ends neither in .png, .svg nor .npz; rename it")
    pixels = explaining.resized(reader.read_image(image), size, describe(checkpoint).side)
    chosen = devices.accelerator(device, threads, "fp32").device
    explained = explaining.explain(checkpoint, pixels, class_, previous, chosen)
    with scratch(out, folder=False, inputs=[image, checkpoint, previous]) as place:
        if out.suffix == ".npz":
            np.savez_compressed(place, **explaining.arrays(explained))
        else:
            explaining.save(explaining.draw(pixels, explained), place)


@app.command(rich_help_panel=USE, epilog="Example: dkd export checkpoints/step1 --format onnx --out shapes.onnx")
def export(
    checkpoint: Annotated[Path, typer.Argument(help="Folder of a checkpoint.")],
    out: Annotated[Path, typer.Option(help="File to write (.onnx, .pt for torchscript, .pt2 for torch).")],
    format: Annotated[str, typer.Option(help="onnx, torchscript or torch (torch.export).")] = "onnx",
    size: Annotated[
        int | None,
        typer.Option(min=32, max=LONGEST, help="Side of the square images that it takes; by default any size."),
    ] = None,
    threads: Threads = RUNTIME.threads,
) -> None:
    r"""Write a network to one file for other programs, and compare its labels with those of the checkpoint.

    The file takes RGB pixels (N, 3, H, W) uint8 and gives labels (N, H, W) and scores (N, classes, H, W); class names
    and normalisation are inside. ONNX needs the extra `onnx`: pip install -e ".\[onnx]".
    """
    import torch

    from dkd.use import export as exports

    check_known("--format", "format", format, exports.FORMATS)
    if out.suffix != exports.FORMATS[format]:
        raise InputError(
            f"--out: {out.name!r} does not end in {exports.FORMATS[format]}, as {format} has it; rename it"
        )
    torch.set_num_threads(threads)
    with scratch(out, folder=False, inputs=[checkpoint]) as place:
        done = exports.export(checkpoint, format, size, place)
    typer.echo(
        f"{out}: {format}, {done.bytes / 1e6:.2f} MB; {done.side} x {done.side} pixels in {1000 * done.seconds:.1f} ms "
        f"(checkpoint: {1000 * done.checkpoint_seconds:.1f} ms) on {threads} CPU thread{'s' if threads > 1 else ''}; "
        f"labels equal on {100 * done.equal:.2f}% of the pixels"
    )


Repository = Annotated[str, typer.Argument(metavar="NAME/MODEL", help="A repository on the Hugging Face Hub.")]


@app.command(rich_help_panel=USE, epilog="Example: dkd push checkpoints/step1 somebody/shapes-4-1")
def push(
    checkpoint: Annotated[Path, typer.Argument(help="Folder of a checkpoint.")],
    repository: Repository,
    public: Annotated[
        bool, typer.Option("--public", help="Make a new repository public; by default it is private.")
    ] = False,
) -> None:
    """Upload a checkpoint to the Hugging Face Hub, with a model card.

    The card says what step.json and provenance.json have: classes, data set, method, parameters, commit and versions.
    Needs a token: `hf auth login`, or HF_TOKEN.
    """
    from dkd.use import hub

    typer.echo(hub.push(checkpoint, repository, public=public))


@app.command(rich_help_panel=USE, epilog="Example: dkd pull somebody/shapes-4-1 --out shapes")
def pull(
    repository: Repository,
    out: Annotated[Path, typer.Option(help="Folder of the checkpoint to write.")],
    revision: Annotated[str | None, typer.Option(help="A branch, tag or commit; by default the newest.")] = None,
) -> None:
    """Download a checkpoint from the Hugging Face Hub."""
    from dkd.use import hub

    with scratch(out, folder=True) as place:
        step = hub.pull(repository, revision, place)
    typer.echo(f"{out}: {step.dataset}, {step.method}, step {len(step.sizes) - 1}, {sum(step.sizes)} classes")


@app.command(
    rich_help_panel=USE,
    epilog="Example: dkd import-checkpoint step5.pth --dataset voc2012 --scenario 15-1 --step 5 --out released",
)
def import_checkpoint(
    file: Annotated[Path, typer.Argument(help="Weights file (.pth) that the authors of the method published.")],
    dataset: Annotated[str, typer.Option(help="Data set that it was trained on: voc2012 or ade20k.")],
    scenario: Annotated[str, typer.Option(help="Scenario that it was trained in, such as 15-1.")],
    step: Annotated[int, typer.Option(min=0, help="Step after which it was saved.")],
    out: Annotated[Path, typer.Option(help="Folder of the checkpoint to write.")],
) -> None:
    """Convert a published weights file into a checkpoint."""
    from dkd.use.released import convert

    sections = read.recipe(dataset, [])
    if sections["data"].format not in catalog.FIXED:
        raise InputError(f"--dataset: {dataset!r} has no fixed list of classes; use voc2012 or ade20k")
    names = catalog.class_names(sections["data"].format, None)
    sizes = step_sizes(scenario, len(names) - 1)
    if step >= len(sizes):
        raise InputError(f"--step: {scenario} has steps 0..{len(sizes) - 1}, no step {step}")
    sizes = sizes[: step + 1]
    with scratch(out, folder=True) as place:
        convert(
            file,
            dataset=dataset,
            class_names=names,
            order=range(1, sum(sizes) + 1),
            sizes=sizes,
            model=sections["model"].model_dump(mode="json"),
            out=place,
        )
