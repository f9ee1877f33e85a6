"""Prints what planning, `status`, `snakemake -n` and the start of a job take by number of runs; trains nothing.

    python benchmarks/plan_scale.py
    python benchmarks/plan_scale.py --runs 10 100 --made

The runs are those of a real study: class orders x seeds x all methods, scenario 15-1 on 20 classes. With --made, all
nodes are on disk as if they had been computed, so `snakemake -n` finds nothing to do; otherwise none is. A job starts
Snakemake on the node where it runs, whose start is compared with that for a Snakefile of one rule. Seconds are those of
the processor, so that other work on the machine does not matter.
"""

import argparse
import itertools
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile

import yaml

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from dkd.config import methods, read  # noqa: E402
from dkd.files import digest as file_digest  # noqa: E402
from pipeline import plan as plans  # noqa: E402
from pipeline import provenance  # noqa: E402
from pipeline.rules import RULES  # noqa: E402

CLASSES = 20
ORDERS = 20


def lay_out(place: Path, runs: int) -> None:
    """Write params.yaml with so many runs, and their data set."""
    root = place / "data" / "raw" / "study"
    for part in ("images", "masks", "splits"):
        (root / part).mkdir(parents=True)
        (root / part / "one").touch()
    names = ["background", *(f"class{label}" for label in range(1, CLASSES + 1))]
    (root / "classes.txt").write_text("\n".join(names) + "\n")
    orders = [random.Random(number).sample(range(1, CLASSES + 1), CLASSES) for number in range(ORDERS)]
    # All methods and orders with one seed, then the next seed.
    compared = [name for name in methods.options() if methods.head(name) == "sigmoid" and name != "joint"]
    study = itertools.product(range(runs), range(ORDERS), compared)
    items = [
        {
            "name": f"run{number}",
            "dataset": "study",
            "scenario": "15-1",
            "setting": "overlap",
            "method": method,
            "seed": seed,
            "order": orders[order],
        }
        for number, (seed, order, method) in enumerate(itertools.islice(study, runs))
    ]
    (place / "params.yaml").write_text(yaml.safe_dump({"runs": items, "data": {"root": "data/raw/study"}}))


def make(place: Path) -> None:
    """Write every node of the plan with its provenance and one small file."""
    os.chdir(place)
    plan = plans.build(read.load("params.yaml"), fresh=False)
    digests: dict[str, str] = {}
    for node in plan.nodes.values():
        folder = Path(node.folder)
        folder.mkdir(parents=True)
        (folder / "file").write_text(node.key)
        files = {"file": {"size": len(node.key), "sha256": file_digest(folder / "file")}}
        inputs = {
            name: {"key": source.key, "digest": digests.get(source.path, source.key)}
            for name, source in node.inputs.items()
        }
        code = plan.code[node.code]
        record = {"schema": provenance.SCHEMA, "rule": node.rule, "key": node.key, "params": node.params}
        record |= {"inputs": inputs, "code": code, "seconds": 1.0, "files": files, "digest": node.key}
        (folder / plans.STAMP).write_text(json.dumps(record, indent=1))
        digests[node.folder] = node.key


def cost(place: Path, *command: str) -> tuple[float, float]:
    """Seconds of processor and MB of memory that the command takes."""
    path = f"{ROOT}:{ROOT / 'src'}"
    with TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=place,
            env={**os.environ, "PYTHONPATH": path},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            sys.exit(output.read())
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


ONE_RULE = """
rule one:
    output: "{place}"
    shell: "touch {output}"
"""


def job_start(place: Path, plan: plans.Plan) -> float:
    """Seconds that a job takes to its command, more than with a Snakefile of one rule; least of three each."""
    plan.save()
    node = plan.of("increment")[-1]
    wildcards = f"place={node.place.removeprefix(RULES[node.rule].folder + '/')},key={node.key}"
    (place / "one").write_text(ONE_RULE)
    seconds = []
    for file, job in ((ROOT / "Snakefile", f"{node.rule}:{wildcards}"), (place / "one", "one:place=a")):
        rule = ("--target-jobs", job, "--allowed-rules", job.partition(":")[0])
        options = (*rule, "--mode", "remote", "--cores", "1", "--force", "--no-hooks", "--quiet", "all", "-n")
        seconds.append(min(cost(place, "snakemake", "--snakefile", str(file), *options)[0] for _ in range(3)))
    return seconds[0] - seconds[1]


def planned(place: Path) -> tuple[float, plans.Plan]:
    """Seconds from params.yaml to all keys, and the plan."""
    os.chdir(place)
    started = time.process_time()
    plan = plans.build(read.load("params.yaml"), fresh=False)
    return time.process_time() - started, plan


def main() -> None:
    """Print one row per number of runs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--made", action="store_true", help="with all nodes on disk")
    options = parser.parse_args()
    print("| runs | nodes | largest folder | plan | status | snakemake -n | its memory | start of a job |")
    print("|---|---|---|---|---|---|---|---|")
    for runs in options.runs:
        with TemporaryDirectory() as name:
            place = Path(name)
            lay_out(place, runs)
            seconds, plan = planned(place)
            if options.made:
                make(place)
            status, _ = cost(place, "pipeline", "status")
            graph, memory = cost(place, "snakemake", "--snakefile", str(ROOT / "Snakefile"), "-n", "--quiet", "all")
            folder = max(Counter(Path(node.place).parent for node in plan.of()).values())
            row = [runs, len(plan.nodes), folder, f"{seconds:.2f} s", f"{status:.1f} s", f"{graph:.1f} s"]
            row += [f"{memory:.0f} MB", f"{job_start(place, plan):+.2f} s"]
            print("|", " | ".join(map(str, row)), "|", flush=True)
            os.chdir(ROOT)


if __name__ == "__main__":
    main()
