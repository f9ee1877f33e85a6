"""The command `dkd`: one command per stage, for work without the workflow. Imported without torch."""

try:
    from dkd.cli import data, learn, results, use
    from dkd.cli.common import app, main
except KeyboardInterrupt:
    raise SystemExit(130) from None

__all__ = ["app", "data", "learn", "main", "results", "use"]
