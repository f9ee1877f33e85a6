"""Decomposed knowledge distillation for class-incremental semantic segmentation (arXiv 2210.05941).

What a notebook needs (docs/python.md) is loaded where it is first used; __init__.pyi has the types.
"""

__all__ = ["InputError", "Predictor", "evaluate", "load"]


def __getattr__(name: str):
    # Every job of the workflow imports this module, and the code digest reads its import statements: there are none.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(__import__("dkd.api", fromlist=[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
