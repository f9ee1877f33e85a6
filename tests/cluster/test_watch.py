"""What watches over a run on Slurm, without Slurm."""

import runpy

import pytest

from tests.conftest import ROOT

watch = runpy.run_path(str(ROOT / "profiles" / "slurm" / "watch.py"))


@pytest.mark.parametrize(
    ("kind", "options", "found"),
    [
        ("nfs4", "rw,vers=4.2,local_lock=none", None),
        ("nfs", "rw,vers=3,local_lock=flock", "nfs local_lock=flock"),
        ("nfs", "rw,nolock,vers=3", "nfs nolock"),
        ("lustre", "rw,flock", None),
        ("lustre", "rw,localflock", "lustre localflock"),
        ("ext4", "rw,relatime", None),
    ],
)
def test_a_mount_whose_locks_end_at_the_machine_is_named(tmp_path, monkeypatch, kind, options, found):
    monkeypatch.chdir(tmp_path)
    mounts = f"/dev/sda / ext4 rw 0 0\nserver:/a {tmp_path} {kind} {options} 0 0\nb /b nfs nolock 0 0\n"
    assert watch["locks_of_one_machine"](mounts) == found


@pytest.mark.parametrize(
    ("reason", "never"),
    [
        ("PartitionTimeLimit", True),
        ("QOSMaxWallDurationPerJobLimit", True),
        ("AssocMaxMemPerJob", True),
        ("MaxMemPerLimit", True),
        ("BadConstraints", True),
        ("Resources", False),
        ("Priority", False),
        ("BeginTime", False),
        ("Dependency", False),
        ("AssocGrpGRES", False),
        ("ReqNodeNotAvail, UnavailableNodes:node1", False),
    ],
)
def test_reasons_that_pass_are_told_from_those_that_do_not(reason, never):
    assert bool(watch["NEVER"].match(reason)) == never
