"""What all sections of params.yaml share: strict types, and one line for a value that does not fit.

Does not know which sections there are.
"""

import difflib
import json
from collections.abc import Iterable
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from dkd.errors import InputError, shown


def _ascending(pair: tuple) -> tuple:
    if pair[0] > pair[1]:
        raise PydanticCustomError("range", "the smaller number must come first")
    return pair


def _listed(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else (value,) if type(value) is int else value


Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Values = Annotated[tuple[Annotated[int, Field(ge=0, le=255)], ...], BeforeValidator(_listed)]
"""Stored values of masks: one, or a list."""
Factor = Annotated[float, Field(ge=1e-3, le=1e3)]
Range = Annotated[tuple[Factor, Factor], AfterValidator(_ascending)]
Few = Annotated[int, Field(ge=1, le=100)]
CountRange = Annotated[tuple[Few, Few], AfterValidator(_ascending)]
Layers = list[tuple[str, Any]]
"""Trees of values, the strongest first, each with the words that say in an error where it is written."""


class Section(BaseModel):
    """A section of params.yaml: strict types, no unknown keys, immutable."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def suggest(word: Any, known: Iterable[str]) -> str:
    """What follows "unknown x" in an error: the name most like it, or all known names."""
    known = list(known)
    match = difflib.get_close_matches(str(word), known, n=1, cutoff=0.6)
    return f"did you mean {match[0]!r}?" if match else f"known: {', '.join(known)}"


def check_maps(sections: dict[str, Any], where: str) -> None:
    """Raises InputError where a section is not a map; `where` comes before its key."""
    for key, value in sections.items():
        if not isinstance(value, dict):
            raise InputError(
                f"{where}{key}: expected a map of keys and values, got {shown(value)}; leave {key} out to keep its "
                "defaults"
            )


def validated(model: type[Section], content: dict[str, Any], layers: Layers) -> Any:
    """`content` as an instance of `model`; raises InputError that names the layer which holds the faulty value."""
    try:
        return model.model_validate_json(json.dumps(content, default=str))
    except ValidationError as error:
        raise InputError(_one_line(model, error.errors(), layers)) from None


def nested(path: str, value: Any) -> dict[str, Any]:
    """The map in which `path` ("increment.lr") leads to a value."""
    for part in reversed(path.split(".")):
        value = {part: value}
    return value


def merge(below: dict, above: dict) -> dict:
    """`above` laid over `below`: maps are merged, everything else is replaced."""
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def reason(error: dict[str, Any]) -> str:
    """Words of a pydantic error, without its place and value."""
    return f"{error['msg'][0].lower()}{error['msg'][1:]}"


def _one_line(model: type[Section], errors: list[dict], layers: Layers) -> str:
    # An unknown key is often a misspelt one, which is also missing then.
    error = next((each for each in errors if each["type"] == "extra_forbidden"), errors[0])
    loc = tuple(part for part in error["loc"] if part != "[key]")
    where = next((prefix for prefix, tree in layers if _holds(tree, loc)), layers[-1][0])
    path = f"{where}{'.'.join(map(str, loc))}".rstrip(".")
    if error["type"] == "extra_forbidden":
        for part in loc[:-1]:
            # The key of a map is a name; what follows belongs to the map's values.
            model = model.model_fields[part].annotation if hasattr(model, "model_fields") else get_args(model)[1]
        return f"{path}: unknown key; {suggest(loc[-1], model.model_fields)}"
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    if error["type"] == "missing":
        return f"{path}: missing{more}"
    words = "expected a map of keys and values" if error["type"] in ("dict_type", "model_type") else reason(error)
    return f"{path}: {words}, got {shown(error['input'])}{more}"


def _holds(tree: Any, path: tuple) -> bool:
    """Whether a layer gives the value at `path`, or has something other than a map on the way there."""
    for part in path:
        if not isinstance(tree, dict):
            return tree is not None
        if part not in tree:
            return False
        tree = tree[part]
    return tree is not None or bool(path)
