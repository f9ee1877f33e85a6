"""Trainings that are stopped, killed, or meet a fault: what is kept, what goes on, and what is said."""

import itertools
import json
import logging
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
from multiprocessing import forkserver
from types import SimpleNamespace

import pytest
import torch

from dkd import devices
from dkd.errors import InputError
from dkd.methods import dkd, joint
from dkd.training import loop as train
from dkd.training import resume, signals
from tests.dkd.conftest import LATER, RECIPE, SPEC, train_base, train_step

LONG = RECIPE._replace(epochs=4)


def learn(prepared, out, method=joint, **changes):
    """Train base or, with `previous`, step 1; returns the cost."""
    if "previous" in changes:
        return train_step(prepared, out, method=method, **{"recipe": LATER._replace(epochs=4), **changes})
    return train_base(prepared, out, method=method, **{"recipe": LONG, **changes})


def fit(prepared, out, method=joint, **changes):
    """As `learn`; returns the bytes of what was made, and the cost."""
    cost = learn(prepared, out, method, **changes)
    return [(out / name).read_bytes() for name in ("model.safetensors", "train.csv")], cost


def meddle(method, at, act):
    """The method, but something happens in its loss for the `at`-th time, which `act` may change."""
    calls = itertools.count(1)
    return watch(method, lambda total: act(total) if next(calls) == at else total)


def watch(method, look):
    """The method, but its loss is what `look` makes of it."""

    def loss(*given, **weights):
        total, terms = method.loss(*given, **weights)
        return look(total), terms

    return SimpleNamespace(__name__=method.__name__, TEACHER=method.TEACHER, loss=loss)


def send(number):
    return lambda total: os.kill(os.getpid(), number) or total


class Stopped(BaseException):
    pass


@pytest.fixture(autouse=True)
def stopping():
    """What SIGTERM and SIGINT do in these tests; and what they did is put back."""

    def stop(number, frame):
        raise Stopped(number)

    before = {number: signal.signal(number, stop) for number in signals.ASKING}
    yield stop
    assert all(signal.getsignal(number) is stop for number in before), "training puts handlers back"
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def alone(prepared, tmp_path_factory):
    """What an undisturbed base gives, and where it lies."""
    folder = tmp_path_factory.mktemp("alone") / "s0"
    return SimpleNamespace(folder=folder, made=fit(prepared, folder)[0])


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("number", signals.ASKING)
def test_a_stopped_base_ends_as_an_undisturbed_one(prepared, alone, tmp_path, number, workers, caplog):
    state = tmp_path / "state"
    for at in (1, 6, 11):
        # In the first epoch, at the end of one, in the middle of another, counted from the start or the last stop.
        with pytest.raises(Stopped):
            fit(prepared, tmp_path / "out", meddle(joint, at, send(number)), work=state, workers=workers)
        assert not list((tmp_path / "out").iterdir())
    with caplog.at_level(logging.INFO):
        made, cost = fit(prepared, tmp_path / "out", work=state, workers=workers)
    assert made == alone.made and cost["resumed_at"] == 18
    assert f"goes on after iteration 18 of 20, from {state}/state.pt" in caplog.text


def test_a_killed_step_ends_as_an_undisturbed_one(prepared, alone, tmp_path, monkeypatch):
    """As after SIGKILL: what is in memory is lost, and only states that were due are there."""
    expected, _ = fit(prepared, tmp_path / "undisturbed", dkd, previous=alone.folder)
    due = iter([False, False, True, False, False, False, True, *[False] * 100])
    monkeypatch.setattr(resume.Keeper, "due", lambda self: next(due))
    state = tmp_path / "state"

    def die(total):
        raise Stopped

    with pytest.raises(Stopped):
        fit(prepared, tmp_path / "out", meddle(dkd, 9, die), previous=alone.folder, work=state)
    made, cost = fit(prepared, tmp_path / "out", dkd, previous=alone.folder, work=state)
    assert made == expected and cost["resumed_at"] == 7


def test_a_stop_at_the_last_moment_loses_nothing(prepared, alone, tmp_path):
    with pytest.raises(Stopped):
        fit(prepared, tmp_path / "out", meddle(joint, 20, send(signal.SIGTERM)), work=tmp_path / "state")
    made, cost = fit(prepared, tmp_path / "out", work=tmp_path / "state")
    assert made == alone.made and cost["resumed_at"] == 20


def test_smaller_micro_batches_go_on_from_the_same_state(prepared, alone, tmp_path):
    """What the message on too little memory advises must not cost the work so far."""
    state = tmp_path / "state"
    with pytest.raises(Stopped):
        fit(prepared, tmp_path / "out", meddle(dkd, 6, send(2)), previous=alone.folder, work=state)
    _, cost = fit(prepared, tmp_path / "out", dkd, previous=alone.folder, work=state, micro_batch=2)
    assert cost["resumed_at"] == 6 and cost["micro_batch"] == 2
    fit(prepared, tmp_path / "whole", dkd, previous=alone.folder)
    ours, theirs = (train.checkpoint.load(tmp_path / name)[0].state_dict() for name in ("out", "whole"))
    assert all(torch.allclose(ours[name], theirs[name], rtol=1e-4, atol=1e-5) for name in ours)


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "foreign", "batch"])
def test_a_state_that_cannot_be_used_is_named_and_the_step_starts_again(prepared, alone, tmp_path, damage, caplog):
    file, changes, words = tmp_path / "state" / "state.pt", {}, "is damaged; the step starts again"
    if damage == "foreign":
        changes, words = {"recipe": LONG._replace(seed=1)}, "belongs to another training; the step starts again"
    if damage == "batch":
        changes, words = {"recipe": LONG._replace(batch=6)}, "belongs to another training; the step starts again"
    with pytest.raises(Stopped):
        fit(prepared, tmp_path / "out", meddle(joint, 2, send(2)), work=file.parent, **changes)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    if damage in ("cut", "flipped", "empty"):
        file.write_bytes({"cut": content[:1000], "flipped": content, "empty": b""}[damage])
    made, cost = fit(prepared, tmp_path / "out", work=file.parent)
    assert made == alone.made and cost["resumed_at"] == 0
    [record] = [record for record in caplog.records if record.levelname == "WARNING"]
    assert record.getMessage() == f"{file} {words}"


def test_a_state_is_on_disk_before_it_takes_the_place_of_the_last_one(prepared, tmp_path, monkeypatch):
    done = []
    real = os.fsync, resume.Path.replace
    monkeypatch.setattr(os, "fsync", lambda handle: done.append(str(resume.Path(f"/proc/self/fd/{handle}").readlink())))
    monkeypatch.setattr(resume.Path, "replace", lambda a, b: done.append((str(a), str(b))) or real[1](a, b))
    resume.Keeper(tmp_path, 1, []).save({"done": 3})
    scratch, file = str(tmp_path / ".state.pt"), str(tmp_path / "state.pt")
    assert done == [scratch, (scratch, file), str(tmp_path)]


KILLED_WHILE_SAVING = """
import os, signal, sys
from pathlib import Path
from dkd.training import resume
keeper = resume.Keeper(Path(sys.argv[1]), 1, ["x"])
keeper.save({"done": 1})
die = lambda *given: os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[2] == "writing":
    os.fsync = die
else:
    resume.Path.replace = die
keeper.save({"done": 2})
"""


@pytest.mark.parametrize("moment", ["writing", "renaming"])
def test_killed_while_saving_leaves_the_last_good_state(tmp_path, moment):
    done = subprocess.run([sys.executable, "-c", KILLED_WHILE_SAVING, tmp_path, moment])
    assert done.returncode == -signal.SIGKILL and (tmp_path / ".state.pt").exists()
    keeper = resume.Keeper(tmp_path, 1, ["x"])
    assert keeper.found["done"] == keeper.kept == 1
    keeper.save({"done": 3})
    assert [path.name for path in tmp_path.iterdir()] == ["state.pt"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")  # noqa: PTH110
def test_a_full_disk_is_a_warning_and_the_last_good_state_stays(tmp_path, caplog):
    keeper = resume.Keeper(tmp_path, 1, [])
    for _ in range(2):
        (tmp_path / ".state.pt").symlink_to("/dev/full")
        keeper.save({"done": 8})
        if keeper.kept is None:
            keeper.save({"done": 7})
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path}/state.pt: state not saved (No space left on device); {last}; training goes on"
        for last in ("there is none yet", "that of iteration 7 stays")
    ]
    assert resume.Keeper(tmp_path, 1, []).found["done"] == 7


def test_a_loss_that_is_not_finite_names_where_it_was_and_what_is_kept(prepared, alone, tmp_path):
    state = tmp_path / "state"
    with pytest.raises(Stopped):
        fit(prepared, tmp_path / "out", meddle(joint, 3, send(2)), work=state)
    with pytest.raises(InputError) as caught:
        fit(prepared, tmp_path / "out", meddle(joint, 4, lambda total: total * float("inf")), work=state)
    words = str(caught.value)
    assert words.startswith("step 0, epoch 2, iteration 7: loss is not finite (total inf, mbce ")
    assert words.endswith(f"fp32; the state of iteration 3 stays in {state}/state.pt")
    assert not list((tmp_path / "out").iterdir())
    assert fit(prepared, tmp_path / "out", work=state)[0] == alone.made


def test_losses_that_are_looked_at_now_and_then_tell_the_iteration_all_the_same():
    recent = [(3, torch.tensor([1.0, 1.0])), (4, torch.tensor([float("nan"), 2.0])), (5, torch.full((2,), torch.nan))]
    with pytest.raises(InputError, match=r"epoch 2, iteration 4: loss is not finite \(total nan, mbce 2\)"):
        train._check_finite(recent, ("total", "mbce"), 0, 3, None)


def test_too_little_memory_says_what_to_lower(prepared, tmp_path):
    with pytest.raises(InputError, match=r"out of memory: 4 pictures of 32 x 32 at once; lower runtime\.micro_batch"):
        fit(prepared, tmp_path / "out", meddle(joint, 1, lambda total: torch.empty(10**16) + total))


def test_a_killed_loader_process_is_one_line(prepared, tmp_path):
    def kill(total):
        for process in multiprocessing.active_children():
            os.kill(process.pid, signal.SIGKILL)
        return total

    with pytest.raises(InputError, match=r"^a process that loads pictures is gone \(.*: lower runtime.workers$"):
        fit(prepared, tmp_path / "out", meddle(joint, 1, kill), workers=2)


@pytest.mark.parametrize("error", [ConnectionResetError(104, "reset"), EOFError(), BrokenPipeError(32, "broken")])
def test_a_loader_process_that_is_gone_while_it_hands_over_is_the_same_line(error):
    with pytest.raises(InputError, match=r"^a process that loads pictures is gone \("), devices.explained(""):
        raise error


def test_a_fault_in_a_loader_process_is_the_line_that_it_is_without(prepared, pictures, tmp_path):
    for path in pictures.glob("images/*"):
        path.write_bytes(b"no picture")
    found = []
    for workers in (0, 1):
        with pytest.raises(InputError) as caught:
            fit(prepared._replace(data=pictures), tmp_path / "out", workers=workers)
        found.append(str(caught.value).replace(str(pictures), ""))
    assert all(words.count("\n") == 0 and "no picture" not in words for words in found)
    assert found[0].split(":")[1:] == found[1].split(":")[1:]


def test_signals_wait_for_the_end_of_the_block_and_do_what_they_did_before(stopping):
    reached = False
    with pytest.raises(Stopped), signals.Deferred() as asked:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        reached = asked.number == signal.SIGTERM
    assert reached and signal.getsignal(signal.SIGTERM) is stopping
    with pytest.raises(Stopped), signals.Deferred():
        signal.raise_signal(signal.SIGINT)
        raise ValueError("whatever comes of it")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with signals.Deferred() as asked:
        signal.raise_signal(signal.SIGINT)
    assert asked.number == 0
    signal.signal(signal.SIGINT, stopping)


DIED = 9


def share(rank, port, prepared, out, method, dies, changes):
    """What one of two processes does: train, and write the total of every iteration down; dies at iteration `dies`."""
    here = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
    here |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in here.items()})
    losses = []

    def look(total):
        losses.append(total.item())
        if len(losses) == dies:
            os._exit(DIED)
        return total

    learn(prepared, out, watch({"joint": joint, "dkd": dkd}[method], look), **changes)
    out.with_name(f"{out.name}-{rank}.json").write_text(json.dumps(losses))


@pytest.fixture(scope="module")
def forks():
    """Starts forks of a process that has loaded torch and used it for nothing."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with pytest.MonkeyPatch.context() as patch:
        # Where that process finds what it loads: the code under test, not what is installed.
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        forkserver.ensure_running()
    return context


def in_two(forks, prepared, out, method="joint", dies=None, **changes):
    """Train in two processes, the second of which may die; the exit statuses, and the mean total of every iteration."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    out.parent.mkdir(exist_ok=True)
    given = [(rank, port, prepared, out, method, dies if rank else None, changes) for rank in (0, 1)]
    ranks = [forks.Process(target=share, args=arguments, daemon=True) for arguments in given]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(120)
    files = [out.with_name(f"{out.name}-{rank}.json") for rank in (0, 1)]
    losses = [json.loads(file.read_text()) for file in files if file.exists()]
    return [rank.exitcode for rank in ranks], torch.tensor(losses, dtype=torch.float64).mean(0)


@pytest.mark.slow
def test_two_processes_have_the_losses_of_one(forks, prepared, alone, tmp_path):
    """With frozen batch norms as they are; at the base with synchronised ones, and without dropout's random numbers."""
    step = {"previous": alone.folder, "recipe": LATER._replace(epochs=7)}
    for method, options in ((dkd, step), (joint, {"network": {**SPEC, "dropout": 0.0}})):
        one, name = [], method.__name__.rpartition(".")[2]
        learn(
            prepared,
            tmp_path / f"{name}1",
            watch(method, lambda total, one=one: one.append(total.item()) or total),
            **options,
        )
        codes, two = in_two(forks, prepared, tmp_path / f"{name}2", name, **options)
        one = torch.tensor(one, dtype=torch.float64)
        assert codes == [0, 0] and len(one) >= 20 and one.std() > 0.1
        assert (one - two).abs().max() < 1e-5, name


@pytest.mark.slow
def test_two_processes_go_on_where_two_were_and_say_so_where_one_was(forks, prepared, tmp_path, caplog):
    assert in_two(forks, prepared, tmp_path / "undisturbed")[0] == [0, 0]
    state = {"work": tmp_path / "state", "save_minutes": 1e-9}
    codes, _ = in_two(forks, prepared, tmp_path / "died", dies=8, **state)
    assert codes[0] and codes[1] == DIED
    shutil.copytree(tmp_path / "state", tmp_path / "copy")
    codes, losses = in_two(forks, prepared, tmp_path / "again", **state)
    assert codes == [0, 0] and len(losses) == 20 - 7
    for name in ("model.safetensors", "train.csv"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes()
    learn(prepared, tmp_path / "one", work=tmp_path / "copy")
    assert "the state was saved by 2 x cpu, this is 1 x cpu: goes on with other" in caplog.text
