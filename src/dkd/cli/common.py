"""What all commands share: their options, where they write, and the one line that an error becomes.

Does not know the commands.
"""

import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dkd import scenario
from dkd.cli.stopping import Stop
from dkd.config import read, schema
from dkd.config.base import suggest
from dkd.data import catalog
from dkd.data.catalog import Contents
from dkd.errors import InputError, one_line
from dkd.files import temporary_folder

if TYPE_CHECKING:
    from dkd.data.survey import Share
    from dkd.devices import Runtime

RANK = int(os.environ.get("RANK", "0"))
"""Number of this process as torchrun and accelerate set it; only process 0 writes and prints."""
app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Class-incremental semantic segmentation, one command per stage. `dkd COMMAND --help` shows an example.",
    epilog="Exit status: 0 success; 1 an error that you can correct, reported in one line (`predict`: one line per "
    "unreadable image); 2 wrong usage; 130, 143 or 129 when stopped by SIGINT, SIGTERM or SIGHUP.",
)
DATA, LEARN, USE = "1. Data", "2. Train, evaluate and compare", "3. Use a trained model"
RUNTIME = schema.Runtime()

Data = Annotated[Path, typer.Option(help="Root folder of the data set.")]
IndexFile = Annotated[Path, typer.Option("--index", help="Index file, as written by `dkd index`.")]
Tasks = Annotated[Path, typer.Option(help="Tasks file, as written by `dkd split`.")]
Preset = Annotated[str | None, typer.Option(help="Preset to start from; by default the paper's recipe for VOC.")]
Settings = Annotated[
    list[str], typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change one value of the recipe; repeatable.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
Threads = Annotated[int, typer.Option(min=1, max=schema.MOST_THREADS, help="Number of CPU threads.")]
Workers = Annotated[int, typer.Option(min=0, max=schema.MOST_WORKERS, help="Number of processes that load images.")]
MicroBatch = Annotated[int | None, typer.Option(min=1, help="Most images per forward pass; by default the batch.")]
Seed = Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Random seed.")]


def check_known(where: str, what: str, word: str, known: Iterable[str]) -> None:
    """Raises InputError, with the nearest known word, where an option `where` has an unknown one."""
    if word not in known:
        raise InputError(f"{where}: unknown {what} {word!r}; {suggest(word, known)}")


def step_sizes(given: str, classes: int) -> tuple[int, ...]:
    """Number of classes of each step, from A-B (15-1) or from sizes (7,1,1)."""
    listed = re.fullmatch(r"\d{1,9}(,\d{1,9})*", given)
    return scenario.step_sizes([int(size) for size in given.split(",")] if listed else given, classes)


def data_set(format: str, root: Path, data: schema.Data) -> Contents:
    """Classes and files of a data set, with what the section `data` says of its masks and lists."""
    check_known("--format", "format", format, catalog.PARTS)
    stored = catalog.stored_labels(format, catalog.class_names(format, root), data.labels, data.void)
    return catalog.contents(format, root, stored, listed=data.split is None)


def share(data: schema.Data) -> "Share | None":
    """How images without lists are divided, if the section `data` says that they are."""
    from dkd.data.survey import Share

    return None if data.split is None else Share(data.split, data.split_seed)


def preset_of(dataset: str) -> str | None:
    """The preset of a checkpoint's data set, if there is one."""
    return dataset if dataset in read.presets() else None


def runtime(**given: Any) -> "Runtime":
    """The options of a command, and the defaults of params.yaml for all others."""
    from dkd.devices import Runtime

    values = {**RUNTIME.model_dump(), "work": None, "logs": Path("logs"), "name": "", **given}
    return Runtime(**{name: values[name] for name in Runtime._fields})


def check_new(out: Path) -> None:
    """Raises InputError where a folder to write exists."""
    if out.exists():
        raise InputError(f"{out}: exists already; remove it or name another folder")


@contextmanager
def scratch(out: Path, *, folder: bool, inputs: Iterable[Path | None] = ()) -> Iterator[Path]:
    """A path beside `out` to write to; what is there is renamed to `out` if no error occurred.

    Raises InputError where a folder to write exists, or a file to write is one of `inputs` or lies in one of them.
    """
    if folder:
        check_new(out)
    elif out.is_dir():
        raise InputError(f"{out}: is a folder; name a file to write")
    kept = [path.resolve() for path in inputs if path is not None]
    _check_kept([out], kept)
    out.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(out.parent) as temporary:
        place = temporary / out.name
        if folder:
            place.mkdir()
        yield place
        if RANK:
            return
        # An index file comes with a second file.
        targets = {made: out.parent / made.name for made in temporary.iterdir()}
        _check_kept(targets.values(), kept)
        for made, target in targets.items():
            made.replace(target)


def _check_kept(targets: Iterable[Path], inputs: list[Path]) -> None:
    """Raises InputError where a file to write would replace an input, or a file in an input folder."""
    for target in targets:
        if target.exists() and (taken := [each for each in inputs if target.resolve().is_relative_to(each)]):
            where = "is an input of this command" if target.resolve() in taken else f"exists already in {taken[0]}"
            raise InputError(f"{target}: {where} and would be overwritten; name another file with --out")


def main() -> None:
    """Entry point. An InputError or an OSError is printed as one line, with exit status 1."""
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("dkd").setLevel(logging.ERROR if RANK else logging.INFO)
    with Stop() as stop:
        try:
            app()
        except (InputError, OSError) as error:
            if not stop.number:
                sys.exit(one_line(error, None))
        except KeyboardInterrupt:
            sys.exit(130)
