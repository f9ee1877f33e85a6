import pytest

from dkd.errors import InputError
from pipeline import gpus


@pytest.fixture(autouse=True)
def _place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(gpus.VISIBLE, raising=False)


def test_none_is_taken_on_a_cpu(monkeypatch):
    monkeypatch.setenv(gpus.VISIBLE, "0,1")
    assert gpus.found("cpu") == []
    with gpus.taken([], 1):
        assert gpus.os.environ[gpus.VISIBLE] == "0,1"


def test_gpus_are_numbered_as_cuda_does(monkeypatch):
    # In a container the files may be nvidia2 and nvidia5: to CUDA they are 0 and 1.
    monkeypatch.setattr(gpus.Path, "glob", lambda self, pattern: iter([self / "nvidia5", self / "nvidia2"]))
    assert gpus.found("auto") == gpus.found("cuda") == ["0", "1"]


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
    monkeypatch.setenv(gpus.VISIBLE, visible)
    assert gpus.found("auto") == names


def test_each_job_has_a_gpu_to_itself(monkeypatch):
    monkeypatch.setenv(gpus.VISIBLE, "a,b")
    monkeypatch.setattr(gpus.time, "sleep", lambda seconds: pytest.fail("waits"))
    with gpus.taken(["a", "b"], 1):
        assert gpus.os.environ[gpus.VISIBLE] == "a"
        with gpus.taken(["a", "b"], 1):
            assert gpus.os.environ[gpus.VISIBLE] == "b"
            with pytest.raises(pytest.fail.Exception, match="waits"), gpus.taken(["a", "b"], 1):
                pass
        assert gpus.os.environ[gpus.VISIBLE] == "a"
    assert gpus.os.environ[gpus.VISIBLE] == "a,b"


def test_a_job_of_several_processes_has_so_many_gpus_or_none(monkeypatch):
    names = ["a", "b", "c"]
    monkeypatch.setattr(gpus.time, "sleep", lambda seconds: pytest.fail("waits"))
    with gpus.taken(names, 2):
        assert gpus.os.environ[gpus.VISIBLE] == "a,b"
        with pytest.raises(pytest.fail.Exception, match="waits"), gpus.taken(names, 2):
            pass
        with gpus.taken(names, 1):
            assert gpus.os.environ[gpus.VISIBLE] == "c"
    assert gpus.VISIBLE not in gpus.os.environ
    with (
        pytest.raises(InputError, match=r"runtime\.processes: 4 need as many GPUs, there are 3; lower it"),
        gpus.taken(names, 4),
    ):
        pass


def test_a_gpu_is_free_again_when_its_process_dies(start, monkeypatch):
    other = start("from pipeline import gpus\nwith gpus.taken(['a'], 1): print(flush=True); input()")
    other.stdout.readline()
    waits = []

    def kill(seconds):
        waits.append(seconds)
        other.kill()
        other.wait()

    monkeypatch.setattr(gpus.time, "sleep", kill)
    with gpus.taken(["a"], 1):
        assert gpus.os.environ[gpus.VISIBLE] == "a" and len(waits) == 1
