"""How many cores a process may use: its affinity, and the quota of a container."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dkd import cores


@pytest.fixture(autouse=True)
def machine(monkeypatch, tmp_path):
    """The process may run on 16 cores; `tmp_path` holds proc and sys."""
    monkeypatch.setattr(cores, "ROOT", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)


def system(root: Path, membership: str, files: dict[str, str]) -> None:
    (root / "proc" / "self").mkdir(parents=True)
    (root / "proc" / "self" / "cgroup").write_text(membership)
    for name, content in files.items():
        path = root / "sys" / "fs" / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


V2 = "0::/a/b\n"
V1 = "9:name=systemd:/a\n4:cpu,cpuacct:/a/b\n3:memory:/a/b\n"


def v1(folder: str, quota: int, period: int = 100000) -> dict[str, str]:
    return {f"{folder}/cpu.cfs_quota_us": f"{quota}\n", f"{folder}/cpu.cfs_period_us": f"{period}\n"}


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        (V2, {"a/b/cpu.max": "200000 100000\n"}, 2),
        (V2, {"a/b/cpu.max": "250000 100000\n"}, 3),
        (V2, {"a/b/cpu.max": "1000 100000\n"}, 1),
        (V2, {"a/b/cpu.max": "max 100000\n"}, 16),
        (V2, {"a/b/cpu.max": "6400000 100000\n"}, 16),
        (V2, {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "300000 100000\n"}, 3),
        (V2, {"a/b/cpu.max": "400000 100000\n", "a/cpu.max": "800000 100000\n", "cpu.max": "350000 50000\n"}, 4),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),
        (V2, {"cpu.max": "500000 100000\n"}, 5),
        (V2, {"c/cpu.max": "100000 100000\n"}, 16),
        (V1, v1("cpu,cpuacct/a/b", 200000), 2),
        (V1, v1("cpu,cpuacct/a/b", -1), 16),
        (V1, v1("cpu,cpuacct/a/b", -1) | v1("cpu,cpuacct/a", 420000), 5),
        (V1, v1("cpu", 100000, 200000), 1),
        (V1 + "0::/a\n", v1("cpu,cpuacct/a/b", -1) | {"unified/a/cpu.max": "700000 100000\n"}, 7),
        (V1, v1("memory/a/b", 100000), 16),
        (V2, {"a/b/cpu.max": "what\n"}, 16),
        (V2, {"a/b/cpu.max": "100000 0\n"}, 16),
        (V2, {"a/b/cpu.max": ""}, 16),
        ("nothing\n\n::\n", {}, 16),
    ],
)
def test_the_tightest_quota_counts(tmp_path, membership, files, expected):
    system(tmp_path, membership, files)
    assert cores.available() == expected


def test_without_a_quota_the_affinity_counts(monkeypatch):
    assert cores.available() == 16
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert cores.available() == 7
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores.available() == 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_the_command_prints_the_number_of_a_process_bound_to_one_core():
    command = [sys.executable, "-m", "dkd.cores"]
    bind = (
        "import os, sys; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); os.execv(sys.argv[1], sys.argv[1:])"
    )
    command = [sys.executable, "-c", bind, *command]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "1\n" and done.stderr == ""


def test_it_needs_nothing_but_python():
    code = "import sys, dkd.cores; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "torch", "pydantic", "yaml"} & set(done.stdout.split())
