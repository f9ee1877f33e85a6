import subprocess
import sys
import time

import pytest

from dkd.errors import InputError
from pipeline import ROOT, devices


@pytest.fixture(autouse=True)
def _place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(devices.VISIBLE, raising=False)


def test_none_is_taken_on_a_cpu(monkeypatch):
    monkeypatch.setenv(devices.VISIBLE, "0,1")
    assert devices.found("cpu") == []
    with devices.taken([], "train") as name:
        assert name is None and devices.os.environ[devices.VISIBLE] == "0,1"


def test_devices_are_numbered_as_cuda_does(monkeypatch):
    # In a container the files may be nvidia2 and nvidia5: to CUDA they are 0 and 1.
    monkeypatch.setattr(devices.Path, "glob", lambda self, pattern: iter([self / "nvidia5", self / "nvidia2"]))
    assert devices.found("auto") == devices.found("cuda") == ["0", "1"]


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
    monkeypatch.setenv(devices.VISIBLE, visible)
    assert devices.found("auto") == names


def test_each_training_has_a_device_to_itself(monkeypatch):
    monkeypatch.setenv(devices.VISIBLE, "a,b")
    monkeypatch.setattr(devices.time, "sleep", lambda seconds: pytest.fail("waits"))
    with devices.taken(["a", "b"], "train") as one, devices.taken(["a", "b"], "train") as other:
        assert (one, other) == ("a", "b") and devices.os.environ[devices.VISIBLE] == "b"
        with pytest.raises(pytest.fail.Exception, match="waits"), devices.taken(["a", "b"], "train"):
            pass
    assert devices.os.environ[devices.VISIBLE] == "a,b"


def test_a_job_of_several_processes_has_so_many_devices_or_none(monkeypatch):
    names = ["a", "b", "c"]
    monkeypatch.setattr(devices.time, "sleep", lambda seconds: pytest.fail("waits"))
    with devices.taken(names, "train", 2) as two:
        assert two == "a,b"
        with pytest.raises(pytest.fail.Exception, match="waits"), devices.taken(names, "train", 2):
            pass
        with devices.taken(names, "train") as rest:
            assert rest == "c"
    monkeypatch.setenv(devices.VISIBLE, "0,1")
    assert devices.found("auto", 2) == ["0", "1"] and devices.found("cpu", 3) == []
    with pytest.raises(InputError, match=r"runtime\.processes: 3 need as many GPUs, there are 2; lower it"):
        devices.found("auto", 3)


def test_an_evaluation_goes_beside_a_training_where_no_other_device_is_free():
    names = ["a", "b"]
    with (
        devices.taken(names, "train"),
        devices.taken(names, "evaluate") as one,
        devices.taken(names, "evaluate") as two,
    ):
        assert (one, two) == ("b", "a")
    assert devices.VISIBLE not in devices.os.environ


def test_a_device_is_free_again_when_its_process_dies():
    code = "from pipeline import devices\nwith devices.taken(['a'], 'train'): print(flush=True); input()"
    path = {"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"}
    with subprocess.Popen(
        [sys.executable, "-c", code], env=path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        other.stdout.readline()
        started = time.monotonic()
        killer = subprocess.Popen([sys.executable, "-c", f"import os, time; time.sleep(0.3); os.kill({other.pid}, 9)"])
        with devices.taken(["a"], "train") as name:
            assert name == "a" and time.monotonic() - started > 0.25
        killer.wait()
