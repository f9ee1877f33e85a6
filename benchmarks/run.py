"""Runs a params file in a working directory of its own and prints the tables of README and docs/results.md.

    python benchmarks/run.py benchmarks/shapes.yaml
    python benchmarks/run.py benchmarks/camvid.yaml --root /path/to/camvid

Results are kept in runs/NAME. The next call continues from there, and prints the same table if nothing has changed.
"""

import argparse
import csv
import json
import platform
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import yaml

from dkd import cores

ROOT = Path(__file__).parents[1]
DIFFERENT = ("all", "base", "new", "forgetting")
COLUMNS = ("all", "base", "new", "harmonic", "forgetting")


def cell(values: dict, decimals: int = 1) -> str:
    """Mean and standard deviation as "61.3 ± 0.8"; "61.3" for a single run, "-" if there is no value."""
    if values["mean"] is None:
        return "-"
    spread = f" ± {values['sd']:.{decimals}f}" if values["sd"] is not None else ""
    return f"{values['mean']:.{decimals}f}{spread}"


def head(row: dict) -> tuple[str, ...]:
    """The two methods of a paired difference, and the setting that they share."""
    return tuple(row[key] for key in ("dataset", "scenario", "setting", "method", "than"))


def arguments(description: str) -> argparse.ArgumentParser:
    """What both commands take."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("params", type=Path)
    parser.add_argument("--root", type=Path, help="root of the data set, if the params file has none")
    parser.add_argument("--cores", type=int, default=cores.available())
    return parser


def run(options: argparse.Namespace, target: str = "all", failures: Path | None = None) -> Path:
    """Make a target for a params file, print what it took, and return its working directory; exits where it fails.

    With `failures`, the folder in which the pipeline records why jobs failed, jobs that need nothing of a failed one
    are made, and there is no exit.
    """
    place = ROOT / "runs" / options.params.stem
    place.mkdir(parents=True, exist_ok=True)
    content = yaml.safe_load(options.params.read_text())
    if options.root:
        content.setdefault("data", {})["root"] = str(options.root.resolve())
    (place / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    started = time.monotonic()
    command = [sys.executable, "-m", "snakemake", target, "--cores", str(options.cores), "--directory", str(place)]
    if failures:
        command.append("--keep-going")
        shutil.rmtree(place / failures, ignore_errors=True)
    # On SIGTERM, Snakemake is stopped as well; its jobs save their states and end.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        done = subprocess.run(command, cwd=ROOT)
    except KeyboardInterrupt:
        sys.exit(130)
    if done.returncode and not (failures and any((place / failures).glob("*"))):
        sys.exit(done.returncode)
    seconds = time.monotonic() - started
    stamps = [path for top in ("data", "checkpoints", "results") for path in (place / top).rglob("provenance.json")]
    work = sum(json.loads(path.read_text())["seconds"] for path in stamps)
    print(f"\n{options.params}: {seconds:.0f} s this time; {options.cores} cores, {platform.machine()}")
    print(f"work of all {len(stamps)} nodes, as recorded: {work:.0f} s\n")
    return place


def main() -> None:
    """Run, then print one row per group of runs that differ only in their seed."""
    place = run(arguments(__doc__.splitlines()[0]).parse_args())
    groups = json.loads((place / "metrics" / "groups.json").read_text())
    print("| group | runs | " + " | ".join(COLUMNS) + " |")
    print("|" + "---|" * (len(COLUMNS) + 2))
    for name, group in groups.items():
        print(f"| {name} | {len(group['runs'])} | " + " | ".join(cell(group[key]) for key in COLUMNS) + " |")

    with (place / "metrics" / "differences.csv").open(newline="") as file:
        # A single pair has no interval.
        rows = [row for row in csv.DictReader(file) if int(row["n"]) > 1]
    last: dict[tuple, int] = {}
    for row in rows:
        last[head(row)] = max(last.get(head(row), 0), int(row["step"]))
    pairs: dict[tuple, dict[str, str]] = {}
    for row in rows:
        if int(row["step"]) == last[head(row)]:
            values = f"{float(row['mean']):+.1f} [{float(row['low']):+.1f}, {float(row['high']):+.1f}]"
            pairs.setdefault(head(row), {"pairs": row["n"]})[row["metric"]] = values
    if not pairs:
        return
    print("\n| difference after the last step, 95% interval | pairs | " + " | ".join(DIFFERENT) + " |")
    print("|" + "---|" * (len(DIFFERENT) + 2))
    for (*_, method, than), values in pairs.items():
        cells = " | ".join(values.get(key, "-") for key in DIFFERENT)
        print(f"| {method} - {than} | {values['pairs']} | {cells} |")


if __name__ == "__main__":
    main()
