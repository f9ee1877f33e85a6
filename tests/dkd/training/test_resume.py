"""Trainings that are stopped, killed, or fail: what is kept, what is resumed, and what is said."""

import logging
import multiprocessing
import os
import signal
import subprocess
import sys

import pytest
import torch

from dkd import checkpoint, devices
from dkd.errors import InputError
from dkd.methods import dkd, joint
from dkd.training import divergence, resume, signals
from dkd.training.resume import State
from tests.dkd.training.conftest import LONG, Stopped, disturb, learn_bytes, send

pytestmark = pytest.mark.usefixtures("stopping")


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("number", signals.STOPPING)
def test_a_stopped_base_ends_as_an_undisturbed_one(prepared, alone, tmp_path, number, workers, caplog):
    state = tmp_path / "state"
    for at in (1, 6, 11):
        # In the first epoch, at the end of one, in the middle of another, counted from the start or the last stop.
        with pytest.raises(Stopped):
            learn_bytes(prepared, tmp_path / "out", disturb(joint, at, send(number)), work=state, workers=workers)
        assert not list((tmp_path / "out").iterdir())
    with caplog.at_level(logging.INFO):
        made, cost = learn_bytes(prepared, tmp_path / "out", work=state, workers=workers)
    assert made == alone.made and cost["resumed_at"] == 18
    assert f"continues after iteration 18 of 20, from {state}/state.pt" in caplog.text


def test_a_killed_step_ends_as_an_undisturbed_one(prepared, alone, tmp_path, monkeypatch):
    """As after SIGKILL: what is in memory is lost, and only states that were due are there."""
    expected, _ = learn_bytes(prepared, tmp_path / "undisturbed", dkd, previous=alone.folder)
    due = iter([False, False, True, False, False, False, True, *[False] * 100])
    monkeypatch.setattr(resume.CheckpointKeeper, "due", lambda self: next(due))
    state = tmp_path / "state"

    def die(total):
        raise Stopped

    with pytest.raises(Stopped):
        learn_bytes(prepared, tmp_path / "out", disturb(dkd, 9, die), previous=alone.folder, work=state)
    made, cost = learn_bytes(prepared, tmp_path / "out", dkd, previous=alone.folder, work=state)
    assert made == expected and cost["resumed_at"] == 7


def test_a_stop_at_the_last_moment_loses_nothing(prepared, alone, tmp_path):
    with pytest.raises(Stopped):
        learn_bytes(prepared, tmp_path / "out", disturb(joint, 20, send(signal.SIGTERM)), work=tmp_path / "state")
    made, cost = learn_bytes(prepared, tmp_path / "out", work=tmp_path / "state")
    assert made == alone.made and cost["resumed_at"] == 20


def test_a_state_of_an_earlier_version_lacks_the_loss_over_iterations_alone(prepared, alone, tmp_path, monkeypatch):
    def save(self, content, real=resume.CheckpointKeeper.save):
        for rank in content["ranks"]:
            del rank["sums"][resume.EACH]
        real(self, {name: value for name, value in content.items() if name != "curve"})

    monkeypatch.setattr(resume.CheckpointKeeper, "save", save)
    with pytest.raises(Stopped):
        learn_bytes(prepared, tmp_path / "out", disturb(joint, 7, send(2)), work=tmp_path / "state")
    made, _ = learn_bytes(prepared, tmp_path / "out", work=tmp_path / "state")
    assert made[:2] == alone.made[:2]
    rows, whole = (each.decode().splitlines()[1:] for each in (made[2], alone.made[2]))
    assert [row.rpartition(",")[2] for row in rows[:5]] == ["nan"] * 5 and rows[5:] == whole[10:]


def test_smaller_micro_batches_continue_from_the_same_state(prepared, alone, tmp_path):
    """The advice of the message on too little memory must not cost the work so far."""
    state = tmp_path / "state"
    with pytest.raises(Stopped):
        learn_bytes(prepared, tmp_path / "out", disturb(dkd, 6, send(2)), previous=alone.folder, work=state)
    _, cost = learn_bytes(prepared, tmp_path / "out", dkd, previous=alone.folder, work=state, micro_batch=2)
    assert cost["resumed_at"] == 6 and cost["micro_batch"] == 2
    learn_bytes(prepared, tmp_path / "whole", dkd, previous=alone.folder)
    ours, theirs = (checkpoint.load(tmp_path / name, "cpu")[0].state_dict() for name in ("out", "whole"))
    assert all(torch.allclose(ours[name], theirs[name], rtol=1e-4, atol=1e-5) for name in ours)


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "foreign", "batch"])
def test_a_state_that_cannot_be_used_is_named_and_the_step_starts_again(prepared, alone, tmp_path, damage, caplog):
    file, changes, words = tmp_path / "state" / "state.pt", {}, "is damaged; the step starts again"
    if damage == "foreign":
        changes, words = {"recipe": LONG._replace(seed=1)}, "belongs to another training; the step starts again"
    if damage == "batch":
        changes, words = {"recipe": LONG._replace(batch=6)}, "belongs to another training; the step starts again"
    with pytest.raises(Stopped):
        learn_bytes(prepared, tmp_path / "out", disturb(joint, 2, send(2)), work=file.parent, **changes)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    if damage in ("cut", "flipped", "empty"):
        file.write_bytes({"cut": content[:1000], "flipped": content, "empty": b""}[damage])
    made, cost = learn_bytes(prepared, tmp_path / "out", work=file.parent)
    assert made == alone.made and cost["resumed_at"] == 0
    [record] = [record for record in caplog.records if record.levelname == "WARNING"]
    assert record.getMessage() == f"{file} {words}"


def test_a_state_is_on_disk_before_it_takes_the_place_of_the_last_one(prepared, tmp_path, monkeypatch):
    done = []
    real = os.fsync, resume.Path.replace
    monkeypatch.setattr(os, "fsync", lambda handle: done.append(str(resume.Path(f"/proc/self/fd/{handle}").readlink())))
    monkeypatch.setattr(resume.Path, "replace", lambda a, b: done.append((str(a), str(b))) or real[1](a, b))
    resume.CheckpointKeeper(tmp_path, 1, []).save({"done": 3})
    scratch, file = str(tmp_path / ".state.pt"), str(tmp_path / "state.pt")
    assert done == [scratch, (scratch, file), str(tmp_path)]


KILLED_WHILE_SAVING = """
import os, signal, sys
from pathlib import Path
from dkd.training import resume
keeper = resume.CheckpointKeeper(Path(sys.argv[1]), 1, ["x"])
keeper.save({"done": 1})
die = lambda *given: os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[2] == "writing":
    os.fsync = die
else:
    resume.Path.replace = die
keeper.save({"done": 2})
"""


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["writing", "renaming"])
def test_killed_while_saving_leaves_the_last_good_state(tmp_path, moment):
    done = subprocess.run([sys.executable, "-c", KILLED_WHILE_SAVING, tmp_path, moment])
    assert done.returncode == -signal.SIGKILL and (tmp_path / ".state.pt").exists()
    keeper = resume.CheckpointKeeper(tmp_path, 1, ["x"])
    assert keeper.found["done"] == keeper.kept == 1
    keeper.save({"done": 3})
    assert [path.name for path in tmp_path.iterdir()] == ["state.pt"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")  # noqa: PTH110
def test_a_full_disk_is_a_warning_and_the_last_good_state_stays(tmp_path, caplog):
    keeper = resume.CheckpointKeeper(tmp_path, 1, [])
    for _ in range(2):
        (tmp_path / ".state.pt").symlink_to("/dev/full")
        keeper.save({"done": 8})
        if keeper.kept is None:
            keeper.save({"done": 7})
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path}/state.pt: state not saved (No space left on device); {last}; training continues"
        for last in ("there is none yet", "that of iteration 7 stays")
    ]
    assert resume.CheckpointKeeper(tmp_path, 1, []).found["done"] == 7


@pytest.mark.parametrize(
    ("factor", "words"), [(float("inf"), "is not finite (total inf, mbce "), (1e5, "has exploded, f")]
)
def test_a_loss_that_diverges_names_where_it_was_and_what_is_kept(prepared, alone, tmp_path, factor, words):
    state = tmp_path / "state"
    with pytest.raises(Stopped):
        learn_bytes(prepared, tmp_path / "out", disturb(joint, 3, send(2)), work=state)
    with pytest.raises(InputError) as caught:
        learn_bytes(prepared, tmp_path / "out", disturb(joint, 4, lambda total: total * factor), work=state)
    line = str(caught.value)
    assert line.startswith(f"step 0, epoch 2, iteration 7: loss {words}")
    assert line.endswith(f"lower the learning rate; the state of iteration 3 is kept in {state}/state.pt")
    assert not list((tmp_path / "out").iterdir())
    assert learn_bytes(prepared, tmp_path / "out", work=state)[0] == alone.made


def test_losses_that_are_checked_now_and_then_name_their_iteration():
    unchecked = [
        (3, torch.tensor([2.0, 1.0])),
        (4, torch.tensor([1999.0, 2.0])),
        (5, torch.tensor([-2001.0, 3.0])),
        (6, torch.full((2,), torch.nan)),
    ]
    with pytest.raises(
        InputError, match=r"epoch 2, iteration 5: loss has exploded, from 2 at the start \(total -2001, m"
    ):
        check(unchecked)
    unchecked[2] = (5, torch.tensor([1.0, float("inf")]))
    with pytest.raises(InputError, match=r"iteration 5: loss is not finite \(total 1, mbce inf\); .* or use fp32$"):
        check(unchecked)


def check(unchecked):
    losses = divergence.Losses(("total", "mbce"), unchecked)
    divergence.check(losses, State(None, None, None), (0, 3), "bf16", None)


def test_too_little_memory_says_what_to_lower(prepared, tmp_path):
    with pytest.raises(InputError, match=r"out of memory: 4 images of 32 x 32 at once; lower runtime\.micro_batch"):
        learn_bytes(prepared, tmp_path / "out", disturb(joint, 1, lambda total: torch.empty(10**16) + total))


def test_a_killed_loader_process_is_one_line(prepared, tmp_path):
    def kill(total):
        for process in multiprocessing.active_children():
            os.kill(process.pid, signal.SIGKILL)
        return total

    with pytest.raises(InputError, match=r"^a process that loads images died \(.*: lower runtime.workers$"):
        learn_bytes(prepared, tmp_path / "out", disturb(joint, 1, kill), workers=2)


@pytest.mark.parametrize("error", [ConnectionResetError(104, "reset"), EOFError(), BrokenPipeError(32, "broken")])
def test_a_loader_process_that_dies_while_it_sends_is_the_same_line(error):
    with pytest.raises(InputError, match=r"^a process that loads images died \("), devices.explained(""):
        raise error


def test_an_error_in_a_loader_process_is_the_line_that_it_is_without(prepared, pictures, tmp_path):
    for path in pictures.glob("images/*"):
        path.write_bytes(b"no picture")
    found = []
    for workers in (0, 1):
        with pytest.raises(InputError) as caught:
            learn_bytes(prepared._replace(data=pictures), tmp_path / "out", workers=workers)
        found.append(str(caught.value).replace(str(pictures), ""))
    assert all(words.count("\n") == 0 and "no picture" not in words for words in found)
    assert found[0].split(":")[1:] == found[1].split(":")[1:]
