"""The label of each run's method in tables and figures; knows nothing of nodes."""

import json
from collections.abc import Iterator
from typing import Any


def method_labels(runs: list[dict[str, Any]]) -> list[str]:
    """The method's name for each resolved run, with the values that differ where runs of the same method, data set and
    scenario differ in more than seed and class order: "dkd[ac=0.0 start=random]".
    """
    alike: dict[tuple, list[dict[str, Any]]] = {}
    flat = []
    for run in runs:
        shared = {name: value for name, value in run.items() if name not in ("name", "seed", "order", "methods")}
        flat.append(dict(leaves({**shared, "": run["methods"][run["method"]]}, "")))
        alike.setdefault((run["dataset"], run["setting"], tuple(run["sizes"]), run["method"]), []).append(flat[-1])
    names = []
    for run, values in zip(runs, flat, strict=True):
        others = alike[run["dataset"], run["setting"], tuple(run["sizes"]), run["method"]]
        differ = [key for key in values if any(other.get(key) != values[key] for other in others)]
        values_of = " ".join(f"{key}={_word(values[key])}" for key in sorted(differ))
        names.append(f"{run['method']}[{values_of}]" if values_of else run["method"])
    return names


def leaves(content: dict[str, Any], above: str) -> Iterator[tuple[str, Any]]:
    """The values of nested maps by their dotted keys, which begin with `above`."""
    for key, value in content.items():
        name = f"{above}.{key}" if above and key else above or key
        if isinstance(value, dict):
            yield from leaves(value, name)
        else:
            yield name, value


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
