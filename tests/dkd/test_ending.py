"""A process that ends early has the status and the output that Python would give it, and frees nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TAIL = "from dkd.ending import end\nend(main)"


def ended(main: str, **options) -> subprocess.CompletedProcess:
    code = f"import atexit, sys\n{main}\n{TAIL}"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, **options)


LARGE = "class Large:\n    def __del__(self): print('freed')\nlarge = Large()\n"


@pytest.mark.parametrize(
    ("does", "status", "error"),
    [
        ("pass", 0, ""),
        ("return 3", 3, ""),
        ("sys.exit()", 0, ""),
        ("sys.exit(130)", 130, ""),
        ("sys.exit('dkd: no such file')", 1, "dkd: no such file\n"),
        ("sys.exit(2.5)", 1, "2.5\n"),
    ],
)
def test_the_status_is_that_of_the_work_and_all_output_arrives(does, status, error):
    done = ended(f"{LARGE}def main():\n    print('done')\n    {does}")
    assert (done.returncode, done.stdout, done.stderr) == (status, "done\n", error)


def test_an_unknown_error_ends_the_process_as_ever():
    done = ended(f"{LARGE}def main():\n    raise ValueError('seven')")
    assert (done.returncode, done.stdout) == (1, "freed\n")
    assert done.stderr.endswith("ValueError: seven\n")


def test_output_that_finds_no_room_is_an_error_as_ever(monkeypatch):
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    with Path("/dev/full").open("w") as full:
        code = f"def main(): print('done')\n{TAIL}"
        done = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 120
    assert "No space left" in done.stderr


def test_a_process_without_output_ends_as_well():
    done = ended("def main():\n    sys.exit(3)", preexec_fn=lambda: os.close(1))
    assert (done.returncode, done.stderr) == (3, "")


def test_libraries_end_what_they_have_begun():
    """A thread, a process that loads images, and what a tracker does at the end."""
    main = """
import atexit, multiprocessing, threading, time

def slowly():
    time.sleep(0.5)
    print("thread")

def main():
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,), daemon=True)
    child.start()
    threading.Thread(target=slowly).start()
    atexit.register(print, "tracker")
    print(child.pid, flush=True)
"""
    done = ended(main, timeout=60)
    child, *rest = done.stdout.split()
    assert (done.returncode, rest, Path("/proc", child).exists()) == (0, ["thread", "tracker"], False)
