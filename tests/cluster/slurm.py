"""A real Slurm of two nodes on this machine, as root, without systemd, control groups or a data base."""

import os
import secrets
import shutil
import socket
import subprocess
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil

PROGRAMS = ("setpriv", "munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel")
PLACE = Path("/etc/slurm")
"""Where the programs look: the job step of Snakemake's executor drops SLURM_CONF from the environment of its srun."""
NAME = "dkdtests"
NODES = ("node1", "node2")
MEMORY = 4000
"""MB of each node."""
CONFIG = """
ClusterName={name}
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={place}/munge.socket
CredType=cred/munge
SlurmctldPort={ports[0]}
StateSaveLocation={place}/state
SlurmctldPidFile={place}/slurmctld.pid
SlurmdPidFile={place}/%n.pid
SlurmdSpoolDir={place}/spool-%n
SlurmdParameters=config_overrides
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SwitchType=switch/none
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
MinJobAge=3600
KillWait=30
SlurmdTimeout=300
MessageTimeout=60
ReturnToService=2
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 RealMemory={memory} Gres=gpu:1
NodeName=node2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 RealMemory={memory} Gres=gpu:1
PartitionName=main Nodes=node1,node2 Default=YES MaxTime=60 State=UP OverSubscribe=NO
"""
# A GPU has to be a device.
GPUS = """
AutoDetect=off
NodeName=node1 Name=gpu File=/dev/zero
NodeName=node2 Name=gpu File=/dev/full
"""


def until(condition, otherwise, seconds=600):
    """Wait for a condition and return what it is; fail after a time in which it comes true on any machine."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, otherwise()
        time.sleep(0.1)
    return found


class Slurm:
    """The daemons, each a child of this process."""

    def __init__(self, place):
        self.place, self.daemons, self._stack = place, {}, ExitStack()

    def __enter__(self):
        if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
            raise RuntimeError(f"Slurm is missing ({', '.join(missing)}); `make cluster-test` installs it on Debian")
        if os.geteuid():
            raise RuntimeError("two nodes of Slurm on one machine need root")
        with self._stack:
            self._configure()
            files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "seed-file": "seed", "log-file": "log"}
            options = [f"--{option}={self.place}/munge.{end}" for option, end in files.items()]
            self._start("munged", "munged", "--foreground", "--force", *options)
            until((self.place / "munge.socket").exists, lambda: self.log("munged"))
            self._start("slurmctld", "slurmctld", "-D")
            for node in NODES:
                self.boot(node)
            until(lambda: self.states() == {"idle"}, self.report, 120)
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_):
        self._stack.close()

    def _configure(self):
        here = PLACE / "slurm.conf"
        if here.exists() and f"ClusterName={NAME}\n" not in here.read_text():
            raise RuntimeError(f"{here} is that of a real cluster; the tests would replace it")
        for name in ("state", *(f"spool-{node}" for node in NODES)):
            (self.place / name).mkdir(parents=True)
        (self.place / "munge.key").write_bytes(secrets.token_bytes(128))
        (self.place / "munge.key").chmod(0o600)
        with ExitStack() as held:
            free = [held.enter_context(socket.socket()) for _ in range(3)]
            for each in free:
                each.bind(("127.0.0.1", 0))
            ports = [each.getsockname()[1] for each in free]
        facts = {"name": NAME, "host": socket.gethostname().split(".")[0], "place": self.place, "memory": MEMORY}
        files = {"slurm.conf": CONFIG.format(**facts, ports=ports), "gres.conf": GPUS}
        for name, text in {**files, "cgroup.conf": "CgroupPlugin=cgroup/v1\n"}.items():
            (self.place / name).write_text(text.lstrip())
            (PLACE / name).unlink(missing_ok=True)
            (PLACE / name).symlink_to(self.place / name)
            self._stack.callback((PLACE / name).unlink, missing_ok=True)

    def _start(self, name, *command):
        with (self.place / f"{name}.out").open("a") as out:
            # It ends with this process, however that ends.
            command = ("setpriv", "--pdeathsig", "TERM", *command)
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        if name not in self.daemons:
            self._stack.callback(self._stop, name)
        self.daemons[name] = process

    def _stop(self, name):
        process = self.daemons[name]
        if process.poll() is None:
            process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(60)
        if process.poll() is None:
            process.kill()
            process.wait()

    def boot(self, node):
        """Start the daemon of a node."""
        self._start(node, "slurmd", "-D", "-N", node)

    def mend(self):
        """Start the nodes again that were killed."""
        for node in NODES:
            if self.daemons[node].poll() is not None:
                self.boot(node)
                self.call("scontrol", "update", f"nodename={node}", "state=resume")
        until(lambda: self.states() == {"idle"}, self.report)

    def kill(self, node, everything):
        """Kill the daemon of a node, and `everything` that it runs, as happens when the node goes down; Slurm notes it.

        Of its own accord it would note it after SlurmdTimeout, which has to be long on a machine with much to do.
        """
        self.daemons[node].kill()
        self.daemons[node].wait()
        for process in psutil.process_iter() if everything else ():
            with suppress(psutil.Error):
                if process.environ().get("SLURMD_NODENAME") == node:
                    for each in (*[each for each in process.parents() if each.name() == "slurmstepd"], process):
                        each.kill()
        self.call("scontrol", "update", f"nodename={node}", "state=down", "reason=lost")

    def wait_no_longer(self, job):
        """Wait until a job has returned to the queue; there, Slurm would have it wait for two minutes."""
        until(lambda: self.jobs("-j", job, form="%T") == ["PENDING"], self.report)
        self.call("scontrol", "update", f"jobid={job}", "starttime=now")

    def log(self, name):
        return (self.place / f"{name}.out").read_text(errors="replace")[-3000:]

    def states(self):
        done = subprocess.run(["sinfo", "-h", "-N", "-o", "%T"], capture_output=True, text=True)
        return set(done.stdout.split())

    def report(self):
        """What the daemons say, for a test that fails."""
        queue = subprocess.run(["squeue", "-a", "-t", "all"], capture_output=True, text=True).stdout
        return "\n".join([queue, *(f"{name}: {self.log(name)}" for name in self.daemons)])

    def jobs(self, *options, form="%i"):
        """The jobs that are waiting or at work, one string each; `options` of squeue."""
        return self.call("squeue", "-h", "-o", form, *options).splitlines()

    def call(self, *command):
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
