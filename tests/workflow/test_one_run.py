"""One run at a time in a directory: the second waits, and whatever ends a run leaves nothing half-made."""

import re
import signal

import psutil
import pytest

from .conftest import DVC, LATER, NOTHING, PARAMS, SNAKEMAKE, bases, results, steps, until

INCREMENT = steps(0)[0]
OTHER = {"increment": {"lr": 0.002}}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("other", "params", "made"),
    [(SNAKEMAKE, {"increment": {"lr": 0.003}}, LATER), ((*DVC, "--single-item", "report"), OTHER, [])],
    ids=["snakemake with other params", "dvc"],
)
def test_a_second_run_waits_for_the_first_and_then_makes_what_is_left(finished, other, params, made):
    finished.params(**OTHER)
    with finished.start(*SNAKEMAKE, held=INCREMENT) as one:
        finished.params(**params)
        with finished.start(*other) as two:
            two.says(f"dkd: another run, process {one.process.pid} on ")
            two.says(", is at work in this directory; waiting\n")
            assert finished.ran() == [INCREMENT]
            finished.release()
            one.end()
            two.end()
    assert sorted([INCREMENT, *finished.ran()]) == sorted([*LATER, *made])
    assert NOTHING in finished.snakemake()


@pytest.mark.slow
def test_nothing_else_touches_a_directory_where_a_run_is_at_work(finished):
    finished.params(**OTHER)
    words = "is at work in this directory; try again when it has ended"
    with finished.start(*SNAKEMAKE, held=INCREMENT) as run:
        assert words in finished.snakemake("--config", "no_wait=1", expect=1)
        for command in (["prune"], ["gc", "--max-size", "0"], ["adopt"], ["redo", "base"]):
            [line] = finished.pipeline(*command, "--no-wait", expect=1).splitlines()
            assert line.startswith("dkd: another run, process ") and line.endswith(words)
        # Looking needs no lock.
        assert "the next run makes" in finished.pipeline("status")
        finished.snakemake("-n")
        finished.release()
        run.end()
    assert finished.ran() == sorted(LATER)


@pytest.mark.slow
def test_edits_during_a_run_do_not_enter_it(begun):
    """New params wait for the next run; new code is refused."""
    with begun.start(*SNAKEMAKE, held=bases(0)[0]) as run:
        begun.params(increment={"lr": 0.5})
        (begun.path / "src" / "dkd" / "evaluation.py").open("a").write("\nEDITED = True\n")
        begun.release()
        output = run.end(expect=1)
    assert "dkd: evaluate s0 4: code changed since the run started; start again" in output
    first = set(begun.ran())
    assert not first & set(results(0)) and set(steps(0)) < first
    begun.snakemake()
    assert first & set(begun.ran()) == {*steps(0), *steps(0, under="panels")}


SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGKILL]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tool", "group", "number"),
    [
        *(pytest.param("snakemake", False, number, id=f"snakemake alone-{number.name}") for number in SIGNALS),
        pytest.param("snakemake", True, signal.SIGINT, id="snakemake-Ctrl-C"),
        pytest.param("dvc", True, signal.SIGINT, id="dvc-Ctrl-C"),
        pytest.param("dvc", True, signal.SIGKILL, id="dvc-SIGKILL"),
    ],
)
def test_a_stopped_run_ends_its_jobs_and_the_next_goes_on(finished, tool, group, number):
    finished.params(**OTHER)
    command = SNAKEMAKE if tool == "snakemake" else (*DVC, "--single-item", "increment")
    recorded = set(finished.path.glob(f"{INCREMENT}-*"))
    with finished.start(*command, held=INCREMENT) as run:
        run.send(number, group)
        output = run.end(expect=1)
        until(lambda: not psutil.pid_exists(run.worker), lambda: "the job is still at work")
    assert "Cannot restore" not in output and "no backup found" not in output
    if number != signal.SIGKILL:
        assert "KeyboardInterrupt" not in output and "Traceback" not in output
    if not (group and number == signal.SIGKILL):
        assert not list(finished.path.glob(".dkd/scratch/*"))
    assert not [path for path in set(finished.path.glob(f"{INCREMENT}-*")) - recorded if list(path.iterdir())]
    assert finished.ran() == [INCREMENT]
    finished.call(*command)
    assert finished.ran() == sorted(LATER if tool == "snakemake" else steps(0))
    assert not list(finished.path.glob("[cdr]*/**/half")) and not list(finished.path.glob(".dkd/scratch/*"))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_a_job_that_is_ended_when_its_node_is_in_place_has_finished(finished, number):
    finished.params(**OTHER)
    store = (finished.path / "pipeline" / "store.py").read_text()
    recorded = finished.folder(INCREMENT)
    rename = "    source.rename(folder)\n"
    killed = f"    if {INCREMENT!r} in str(folder):\n        os.kill(os.getpid(), {int(number)})\n"
    finished.edit("pipeline/store.py", rename, rename + killed)
    finished.snakemake(expect=int(number == signal.SIGKILL))
    assert INCREMENT in finished.ran()
    [made] = set(finished.path.glob(f"{INCREMENT}-*")) - {recorded}
    (finished.path / "pipeline" / "store.py").write_text(store)
    finished.snakemake()
    assert INCREMENT not in finished.ran() and made.exists()
    assert NOTHING in finished.snakemake()


@pytest.mark.slow
def test_trainings_and_evaluations_take_one_gpu_each(begun):
    begun.params(runs=[{**PARAMS["runs"][0], "scenario": [4, 2], "seed": [0, 1]}])
    # The first two wait for each other; two that meet on a GPU fail.
    output = begun.call(*SNAKEMAKE[:2], "8", "evaluate_all", CUDA_VISIBLE_DEVICES="0,GPU-1", DKD_TOGETHER="2")
    assert re.search(r"\bgpu=\D*\b2\b", output)
    seen = begun.trace.with_name(f"{begun.trace.name}.devices").read_text().split()
    assert set(seen) == {"0", "GPU-1"} and len(seen) == 8
