"""Makes the page of all results and its figures."""

from pathlib import Path

from dkd.report import page


def run(params: dict, runtime: dict, inputs: dict[str, Path], out: Path) -> None:
    """index.html, figures (.png, .pdf) and their numbers (.csv).

    Inputs: summary, and of each step "<run>/<step>" (an evaluation), ".../checkpoint" and ".../panels". The page lists
    inputs that are missing, with the reason that `runtime["failed"]` may have for one.
    """
    page.write(params["runs"], inputs, params["decimals"], runtime.get("failed", {}), out)
