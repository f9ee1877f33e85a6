"""The command `dkd`, also `python -m dkd.cli`, and `torchrun -m dkd.cli train` with several processes."""

from typing import NoReturn

from dkd.cli import main
from dkd.ending import end


def run() -> NoReturn:
    """Run the command, and end the process."""
    end(main)


if __name__ == "__main__":
    run()
