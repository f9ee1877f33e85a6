"""How Snakemake is to start jobs on this machine; knows neither rules nor nodes."""

import shlex
import sys

from pipeline import ROOT


def python(deployed: bool) -> str:
    """The start of a job's command line: the interpreter of this process, and this checkout ahead of what it has.

    Where Snakemake deploys an environment for the job (`deployed`), it is that one's interpreter instead.
    """
    path = f"{ROOT}:{ROOT / 'src'}"
    command = f"PYTHONPATH={shlex.quote(path)} {'python' if deployed else shlex.quote(sys.executable)}"
    return command.replace("{", "{{").replace("}", "}}")
