"""Whatever stands in params.yaml or step.json is read, or refused in one line that can be printed."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dkd import checkpoint
from dkd.config import read
from dkd.config.schema import TOP, Item
from dkd.errors import InputError
from tests.dkd.use.conftest import save

NUMBERS = st.one_of(
    st.integers(-3, 20),
    st.sampled_from([2**31, 2**63 - 1, 10**30]),
    st.floats(),
    st.floats(-1, 2),
)
WORDS = st.one_of(
    st.sampled_from(["", "test_resnet", "test_vit", "resnet99", "seed:3", "4-1", "../x", "\ud800"]), st.text()
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(WORDS, inner, max_size=2)),
    max_leaves=5,
)
RUN = {"dataset": "shapes", "scenario": "4-1", "method": "dkd"}
PATHS = [
    *[("runs", 0, key) for key in (*Item.model_fields, "more")],
    *[(section,) for section in (*TOP, "runs", "more")],
    *[(section, key) for section, model in TOP.items() for key in model.model_fields],
    *[("runs", 0, "set", section) for section in TOP],
    ("methods", "dkd", "kd"),
    ("data", "shapes", "size"),
    ("base", "batch"),
]
QUICK = {
    "deadline": None,
    "derandomize": True,
    "database": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}


def put(tree, path, value):
    """Set the value at a path, with empty maps on the way there."""
    *above, last = path
    for key in above:
        tree = tree[key] if isinstance(key, int) else tree.setdefault(key, {})
    tree[last] = value


def read_or_refused(call, *given):
    try:
        return call(*given)
    except InputError as error:
        line = str(error)
        assert line and "\n" not in line and len(line) < 1000, line
        line.encode()


@settings(**QUICK, max_examples=180)
@given(st.lists(st.tuples(st.sampled_from(PATHS), VALUES), min_size=1, max_size=2))
def test_any_params(tmp_path, changes):
    content = {"runs": [dict(RUN)]}
    for path, value in changes:
        try:
            put(content, path, value)
        except (AttributeError, TypeError, KeyError, IndexError):
            continue  # The first change has put something else there.
    path = tmp_path / "params.yaml"
    path.write_text(json.dumps(content))
    read_or_refused(read.load, path)


@settings(**QUICK, max_examples=40)
@given(st.text(max_size=60))
def test_any_text_as_params(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    read_or_refused(read.load, path)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return save(tmp_path_factory.mktemp("fuzz") / "good", (3, 1, 6), (2, 1))


STEP = [
    *[(key,) for key in (*checkpoint.CHECKS, "more")],
    *[("model", key) for key in (*checkpoint.spec.CHECKS, "more")],
]


@settings(**QUICK, max_examples=120)
@given(change=st.tuples(st.sampled_from(STEP), VALUES))
def test_any_step(good, change):
    path = good / "step.json"
    before = path.read_bytes()
    content = json.loads(before)
    put(content, *change)
    path.write_text(json.dumps(content))
    try:
        read_or_refused(checkpoint.load, good)
    finally:
        path.write_bytes(before)
