"""`python -m dkd.cli`, and `torchrun -m dkd.cli train` with several processes."""

from dkd.cli import main

if __name__ == "__main__":
    main()
