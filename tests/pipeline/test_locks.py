import errno
import json
import os
import platform
import signal

import pytest

from dkd.errors import InputError
from pipeline import locks

RUN = """
from pipeline import locks
held, before = locks.lock(wait=True)
print(before and before["pid"], flush=True)
input()
"""
JOB = "from pipeline import locks; held = locks.join(); print(flush=True); input()"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + JOB


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(locks.VISIBLE, "")
    monkeypatch.delenv(locks.VISIBLE)


def test_a_second_run_waits_for_the_first(start):
    first = start(RUN)
    assert first.stdout.readline() == "None\n"
    second = start(RUN)
    where = f"process {first.pid} on {platform.node()}"
    assert second.stderr.readline() == f"dkd: another run, {where}, is at work in this directory; waiting\n"
    first.kill()
    assert second.stdout.readline() == f"{first.pid}\n"


def test_a_run_that_does_not_want_to_wait_is_refused_in_one_line(start):
    first = start(RUN)
    first.stdout.readline()
    line = f"another run, process {first.pid} on {platform.node()}, is at work in this directory; try again when it"
    with pytest.raises(InputError, match=line):
        locks.lock(wait=False)
    first.communicate("\n")
    held, before = locks.lock(wait=False)
    assert before["pid"] == first.pid
    assert json.loads(locks.RUN.read_text())["pid"] == os.getpid()
    held.close()


def test_jobs_end_with_their_run_and_keep_the_next_one_waiting(start):
    run = start(RUN)
    run.stdout.readline()
    job, stubborn = start(JOB), start(STUBBORN)
    assert job.stdout.readline() == stubborn.stdout.readline() == "\n"
    run.kill()
    assert job.wait(timeout=60) == -signal.SIGTERM
    following = start(RUN)
    assert following.stderr.readline() == "dkd: jobs of an earlier run have not ended yet; waiting\n"
    stubborn.kill()
    # What those jobs have left is not what was there before.
    assert following.stdout.readline() == "None\n"


@pytest.mark.parametrize("holder", ["", "{", "null"])
def test_a_job_without_a_run_is_refused(holder):
    locks.RUN.parent.mkdir(parents=True)
    locks.RUN.write_text(holder)
    with pytest.raises(InputError, match="the run that this job belongs to has ended; jobs are started by snakemake"):
        locks.join()


def test_a_run_that_does_not_hold_the_lock_any_more_has_ended(monkeypatch):
    monkeypatch.setattr(locks, "_end_with", lambda run: None)
    locks.RUN.parent.mkdir(parents=True)
    holder = {"pid": os.getpid(), "started": 100.0, "host": platform.node()}
    locks.RUN.write_text(json.dumps(holder))
    with pytest.raises(InputError, match="has ended"):
        locks.join()
    # Locks of another machine may not be seen from here.
    locks.RUN.write_text(json.dumps({**holder, "host": "another-machine"}))
    locks.join().close()


def test_a_run_can_end_its_jobs_and_starts_no_more(start):
    run = start(RUN)
    run.stdout.readline()
    job = start(JOB)
    assert job.stdout.readline() == "\n"
    locks.sign(None)
    assert job.wait(timeout=60) == -signal.SIGTERM
    with pytest.raises(InputError, match="has ended"):
        locks.join()
    assert run.poll() is None


def test_a_file_system_without_locks_is_named_in_one_line(monkeypatch):
    def refuse(file, kind):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    with pytest.raises(
        InputError, match=r"^\.dkd/lock/run: no locks on this file system \(.+\): NFS needs its lock service, Lust"
    ):
        locks.lock(wait=True)


def test_none_is_taken_on_a_cpu(monkeypatch):
    monkeypatch.setenv(locks.VISIBLE, "0,1")
    assert locks.gpus("cpu") == []
    with locks.take_gpus([], 1, shared=True):
        assert os.environ[locks.VISIBLE] == "0,1"


def test_gpus_are_numbered_as_cuda_does(monkeypatch):
    # In a container the files may be nvidia2 and nvidia5: to CUDA they are 0 and 1.
    monkeypatch.setattr(locks.Path, "glob", lambda self, pattern: iter([self / "nvidia5", self / "nvidia2"]))
    assert locks.gpus("auto") == locks.gpus("cuda") == ["0", "1"]


@pytest.mark.parametrize(
    ("visible", "names"),
    [
        ("", []),
        ("-1", []),
        ("2", ["2"]),
        ("3, 1", ["3", "1"]),
        ("0,-1,1", ["0"]),
        ("GPU-8932f937,MIG-1/2", ["GPU-8932f937", "MIG-1/2"]),
    ],
)
def test_an_environment_that_chose_is_obeyed(monkeypatch, visible, names):
    monkeypatch.setenv(locks.VISIBLE, visible)
    assert locks.gpus("auto") == names


def test_each_job_has_a_gpu_to_itself(monkeypatch):
    monkeypatch.setenv(locks.VISIBLE, "a,b")
    monkeypatch.setattr(locks.time, "sleep", lambda seconds: pytest.fail("waits"))
    with locks.take_gpus(["a", "b"], 1, shared=True):
        assert os.environ[locks.VISIBLE] == "a"
        with locks.take_gpus(["a", "b"], 1, shared=True):
            assert os.environ[locks.VISIBLE] == "b"
            with pytest.raises(pytest.fail.Exception, match="waits"), locks.take_gpus(["a", "b"], 1, shared=True):
                pass


def test_a_job_of_several_processes_has_so_many_gpus_or_none(monkeypatch):
    names = ["a", "b", "c"]
    monkeypatch.setattr(locks.time, "sleep", lambda seconds: pytest.fail("waits"))
    with locks.take_gpus(names, 2, shared=True):
        assert os.environ[locks.VISIBLE] == "a,b"
        with pytest.raises(pytest.fail.Exception, match="waits"), locks.take_gpus(names, 2, shared=True):
            pass
        with locks.take_gpus(names, 1, shared=True):
            assert os.environ[locks.VISIBLE] == "c"
    with (
        pytest.raises(InputError, match=r"runtime\.processes: 4 need as many GPUs, there are 3; lower it"),
        locks.take_gpus(names, 4, shared=True),
    ):
        pass


def test_a_gpu_is_free_again_when_its_process_dies(start, monkeypatch):
    other = start("from pipeline import locks\nwith locks.take_gpus(['a'], 1, shared=True): print(flush=True); input()")
    other.stdout.readline()
    waits = []

    def kill(seconds):
        waits.append(seconds)
        other.kill()
        other.wait()

    monkeypatch.setattr(locks.time, "sleep", kill)
    with locks.take_gpus(["a"], 1, shared=True):
        assert os.environ[locks.VISIBLE] == "a" and len(waits) == 1


def test_gpus_that_a_scheduler_hands_out_are_not_locked(monkeypatch):
    # Two jobs of one machine may both call theirs "0", and each has its own.
    monkeypatch.setattr(locks.time, "sleep", lambda seconds: pytest.fail("waits"))
    with locks.take_gpus(["0"], 1, shared=False), locks.take_gpus(["0"], 1, shared=False):
        assert locks.VISIBLE not in os.environ
    with pytest.raises(InputError, match=r"runtime\.processes: 2 need as many GPUs, there are 1"):
        locks.take_gpus(["0"], 2, shared=False)


ONLY = "from pipeline import locks; held = locks.alone('0123456789ab'); print(flush=True); input()"


def test_a_node_is_made_by_one_job_at_a_time(start, caplog):
    caplog.set_level("INFO", "dkd")
    first = start(ONLY)
    first.stdout.readline()
    # Another node is nobody's business.
    locks.alone("ffffffffffff").close()
    waiting = start(ONLY)
    assert caplog.messages == []
    first.kill()
    assert waiting.stdout.readline() == "\n"
    waiting.kill()
    waiting.wait()
    locks.alone("0123456789ab").close()


def test_a_job_says_that_it_does_not_see_the_lock_of_its_run(monkeypatch, capsys):
    monkeypatch.setattr(locks, "_end_with", lambda run: None)
    locks.RUN.parent.mkdir(parents=True)
    locks.RUN.write_text(json.dumps({"pid": 1, "started": 100.0, "host": "login"}))
    locks.join().close()
    assert capsys.readouterr().err.startswith("dkd: warning: locks do not reach from login to other machines;")


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS])
def test_locks_that_are_switched_off_are_named_with_the_cure(monkeypatch, code):
    def refuse(*given):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(locks.fcntl, "lockf", refuse)
    with pytest.raises(InputError, match=r"nodes: no locks on .+ NFS needs its lock service, Lustre the mount option"):
        locks.alone("0123456789ab")
