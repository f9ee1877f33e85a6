"""What fails is told in one line, stops nothing else, and can be mended."""

import json

import pytest

from .conftest import DATA, NOTHING, PARAMS, SUMMARY, bases, panels, results

TWO = [{**PARAMS["runs"][0], "scenario": [4, 2], "method": ["dkd", "kd"]}]
WORDS = "step 1, iteration 7: the loss is nan; lower increment.lr"


def runs_of(method):
    return [f"{top}/shapes/overlap/4+2/{method}-s0" for top in ("checkpoints/increment", "panels", "results")]


@pytest.mark.slow
def test_one_run_that_fails_stops_no_other_and_is_named_last_of_all(begun):
    begun.params(runs=TWO)
    train = (begun.path / "src" / "dkd" / "training" / "loop.py").read_text()
    begun.edit(
        "src/dkd/training/loop.py",
        "    trace(out)\n",
        "    trace(out)\n    if params.get('method') == 'kd':\n        from dkd.errors import InputError\n"
        f"        raise InputError({WORDS!r})\n",
    )
    output = begun.snakemake(expect=1)
    assert "Traceback" not in output and "backup" not in output
    tasks = [DATA[0], DATA[1], DATA[2], "data/tasks/shapes/overlap/4+2"]
    shared = [*tasks, *bases(0), *results(0)[:1], *panels(0)[:1]]
    # The page of what there is is no node.
    assert begun.ran() == sorted(["page", *shared, *runs_of("dkd"), runs_of("kd")[0]])
    *_, page, reason = output.splitlines()
    assert page == "page of what there is, with what failed: report/index.html"
    assert reason.startswith(f"dkd: {WORDS} (kd-s0 4+2, log: logs/checkpoints/increment/shapes/overlap/4+2/kd-s0-")
    shown = (begun.path / "report" / "index.html").read_text()
    assert WORDS in shown
    assert not (begun.path / "metrics" / "summary.json").exists()
    # The same failure again is no reason to do anything else again.
    assert begun.snakemake(expect=1).splitlines()[-1] == reason
    assert begun.ran() == [runs_of("kd")[0], "page"]
    # What was mended and made replaces the page.
    (begun.path / "src" / "dkd" / "training" / "loop.py").write_text(train)
    begun.pipeline("adopt")
    begun.snakemake()
    assert begun.ran() == sorted([*runs_of("kd"), *SUMMARY])
    assert WORDS not in (begun.path / "report" / "index.html").read_text()
    assert NOTHING in begun.snakemake()


def one_line(output):
    assert "Traceback" not in output
    [line] = [line for line in output.splitlines() if line.startswith("dkd: ")]
    return line


def test_what_the_user_can_mend_is_one_line(begun):
    (begun.path / "params.yaml").write_text("runs: [{dataset: none-such, scenario: 4-1, method: dkd}]\n")
    for output in (begun.snakemake(expect=1), begun.pipeline("status", expect=1)):
        assert "none-such" in one_line(output)


def test_a_target_outside_the_plan_is_one_line(begun):
    target = f"{bases(0)[0]}-{'0' * 12}"
    line = one_line(begun.snakemake(f"{target}/provenance.json", expect=1))
    assert line.startswith(f"dkd: {target} is not part of the plan of the current params, data and code; ")


def test_commands_refuse_what_they_do_not_know_and_change_nothing(finished):
    assert "unexpected extra argument" in finished.pipeline("prune", "nonexist", expect=1)
    for size in ("1KB", "1kB", "1000", "1.5 GB"):
        assert "0 folders deleted" in finished.pipeline("gc", "--max-size", size)
    output = finished.pipeline("gc", "--max-size", "plenty", expect=1)
    assert "'plenty' is not a size; write 500MB or 20GB" in output and "Traceback" not in output


@pytest.mark.slow
def test_provenance_that_makes_no_sense_is_damage_and_no_traceback(finished):
    stamp = finished.folder(results(0)[0]) / "provenance.json"
    record = json.loads(stamp.read_text()) | {"files": [1]}
    stamp.unlink()
    stamp.write_text(json.dumps(record))
    lines = finished.pipeline("status").splitlines()
    [number] = [number for number, line in enumerate(lines) if line.startswith("damaged ")]
    assert lines[number + 1].strip() == "damaged: provenance.json is not readable"
    finished.snakemake()
    assert finished.ran() == results(0)[:1]
