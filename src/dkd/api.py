"""What `import dkd` offers to a notebook: two commands of `dkd` as functions, with the same defaults.

Torch is imported here, where `dkd` itself stays light.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dkd.checkpoint import describe
from dkd.cli import results
from dkd.cli.common import RUNTIME, preset_of, runtime
from dkd.cli.use import TILE
from dkd.config import read
from dkd.errors import InputError
from dkd.use.predict import Predictor

__all__ = ["InputError", "Predictor", "evaluate", "load"]


def load(
    checkpoint: Path | str,
    device: str = RUNTIME.device,
    *,
    size: int | str | None = None,
    tile: int = TILE,
    threads: int = RUNTIME.threads,
) -> Predictor:
    """The network in the folder `checkpoint`, ready to label images; options as for `dkd predict`.

    Raises InputError if the folder is not a checkpoint or the device is not available.
    """
    return Predictor(checkpoint, device, size=size, tile=tile, threads=threads)


def evaluate(
    checkpoint: Path | str,
    data: Path | str,
    *,
    preset: str | None = None,
    settings: Sequence[str] = (),
    format: str | None = None,
    device: str = RUNTIME.device,
    threads: int = RUNTIME.threads,
    workers: int = RUNTIME.workers,
) -> dict[str, dict[str, Any]]:
    """Metrics of a checkpoint on the test images of the data set under `data`, by protocol, as `dkd evaluate` has them.

    `settings`: changes of the recipe as "section.key=value". Of each protocol the IoU in per cent: `all`, `base`, `new`
    and `harmonic`, None where there is none, and `per_class`. Writes nothing. Raises InputError as the command does.
    """
    folder = Path(checkpoint)
    sections = read.recipe(preset or preset_of(describe(folder).dataset), list(settings))
    how = runtime(device=device, threads=threads, workers=workers)
    with TemporaryDirectory() as temporary:
        results.score(folder, Path(data), (None, None), format, sections, how, Path(temporary))
        return json.loads((Path(temporary) / "metrics.json").read_text(encoding="utf-8"))["protocols"]
