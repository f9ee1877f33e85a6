"""Kills a run with all of its processes at random moments (SIGKILL) and compares it with an undisturbed run.

    python benchmarks/kill_resume.py
    python benchmarks/kill_resume.py --kills 3 --epochs 2
    python benchmarks/kill_resume.py --kills 2 --epochs 2 --trainings

Both compute all nodes of a small plan with Snakemake, each in a working directory of its own: data, three trainings,
evaluations, tables. With --trainings, the plan ends after two trainings on fewer images, and each is killed once it has
saved a state. If a run ends before all kills were made, the next one starts from an empty directory. All files except
provenance.json are compared byte by byte; the exit status is 1 if any differs.
"""

import argparse
import json
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import yaml

ROOT = Path(__file__).parents[1]
SAVE_SECONDS = 0.5


def lay_out(place: Path, epochs: int, trainings: bool) -> Path:
    """A working directory for one run on the default data set."""
    place.mkdir()
    content = {
        "runs": [{"dataset": "shapes", "scenario": "4-1", "setting": "overlap", "method": "dkd", "seed": 0}],
        "base": {"epochs": epochs},
        "increment": {"epochs": epochs},
        "runtime": {"device": "cpu", "save_minutes": SAVE_SECONDS / 60},
    }
    if trainings:
        content["runs"][0]["scenario"] = "4-2"
        content["data"] = {"shapes": {"train": 120, "val": 30}}
        # After every iteration.
        content["runtime"]["save_minutes"] = 1e-9
    (place / "params.yaml").write_text(yaml.safe_dump(content))
    return place


def start(place: Path, trainings: bool) -> subprocess.Popen:
    """Start the run; it resumes where the last one was killed."""
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--directory", str(place)]
    command += ["--until", "increment"] if trainings else []
    output = (place / "output.txt").open("a")
    return subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)


def goes_on(run: subprocess.Popen, seconds: float) -> bool:
    """Whether the process still runs after so many seconds."""
    try:
        run.wait(seconds)
    except subprocess.TimeoutExpired:
        return True
    return False


def states(place: Path) -> list[Path]:
    """Saved states of unfinished trainings."""
    return list(place.glob(".dkd/work/*/state.pt"))


def saves(run: subprocess.Popen, place: Path, done: Counter) -> bool:
    """Wait until a training of a kind that is not in `done` has saved a state; False if the run ends first."""
    while run.poll() is None:
        kind = busy_with(place)
        if kind.startswith("checkpoints/") and kind not in done and states(place):
            return True
        time.sleep(0.02)
    return False


def kill(run: subprocess.Popen) -> None:
    """The process and all of its descendants."""
    processes = [psutil.Process(run.pid), *psutil.Process(run.pid).children(recursive=True)]
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    run.wait()
    psutil.wait_procs(processes)


def busy_with(place: Path) -> str:
    """The kind of node that the run is computing."""
    names = [path.name for path in (place / ".dkd" / "scratch").glob("*")]
    return names[0].rpartition("__")[0].split("__shapes")[0].replace("__", "/") if names else "between nodes"


def content(place: Path) -> dict[str, str]:
    """sha256 of every file of every node."""
    stamps = [
        path for top in ("data", "checkpoints", "results", "summary") for path in place.glob(f"{top}/**/prov*.json")
    ]
    found = {}
    for stamp in stamps:
        for name, facts in json.loads(stamp.read_text())["files"].items():
            found[(stamp.parent / name).relative_to(place).as_posix()] = facts["sha256"]
    verified = subprocess.run(
        [sys.executable, "-m", "pipeline", "status", "--verify"],
        cwd=place,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"},
        capture_output=True,
        text=True,
    )
    if verified.returncode:
        sys.exit(verified.stdout + verified.stderr)
    return found


def finish(run: subprocess.Popen, place: Path) -> None:
    """Wait for an undisturbed run."""
    if run.wait():
        sys.exit((place / "output.txt").read_text())


def main() -> None:
    """Run once undisturbed, then with kills, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=20, help="epochs of every training")
    parser.add_argument("--within", type=float, default=30, help="maximum of seconds from a start to the kill")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments")
    parser.add_argument("--trainings", action="store_true", help="kill two small trainings, not at random moments")
    options = parser.parse_args()
    moments, at = random.Random(options.seed), Counter()
    with TemporaryDirectory() as scratch:
        alone = lay_out(Path(scratch, "alone"), options.epochs, options.trainings)
        begun = time.monotonic()
        run = start(alone, options.trainings)
        finish(run, alone)
        seconds = time.monotonic() - begun
        expected = content(alone)
        print(f"undisturbed: {seconds:.0f} s, {len(expected)} files", flush=True)

        rounds = resumed = 0
        differing: list[str] = []
        while at.total() < options.kills:
            if options.trainings and rounds == 3:
                sys.exit(f"{rounds} runs, and of their trainings only these could be killed with a state: {[*at]}")
            rounds += 1
            place = lay_out(Path(scratch, f"killed{rounds}"), options.epochs, options.trainings)
            run = start(place, options.trainings)
            while at.total() < options.kills:
                within = moments.uniform(0, options.within)
                if not (saves(run, place, at) if options.trainings else goes_on(run, within)):
                    break
                kind = busy_with(place)
                kill(run)
                # A training that has ended meanwhile has no state to resume from.
                if states(place) or not options.trainings:
                    at[kind] += 1
                run = start(place, options.trainings)
            finish(run, place)
            output = (place / "output.txt").read_text()
            resumed += output.count("continues after iteration")
            found = content(place)
            differing += sorted(
                name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)
            )
    print(f"{at.total()} kills: " + ", ".join(f"{number} at {kind}" for kind, number in at.most_common()))
    print(f"trainings resumed from a saved state: {resumed}; runs: {rounds}")
    print(f"files that differ: {len(differing)} of {rounds * len(expected)}", *differing)
    sys.exit(bool(differing))


if __name__ == "__main__":
    main()
