"""params.yaml of a test, and the one line that it is refused with."""

import json

import pytest

from dkd.config import read
from dkd.errors import InputError

RUN = {"dataset": "shapes", "scenario": "4-1", "method": "dkd"}


@pytest.fixture
def load(tmp_path):
    """Reads params.yaml of `tmp_path` with the given text or content."""

    def load(content) -> read.Config:
        path = tmp_path / "params.yaml"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return read.load(path)

    return load


@pytest.fixture
def refused():
    """The line of the InputError that a call raises."""

    def refused(call, *given) -> str:
        with pytest.raises(InputError) as caught:
            call(*given)
        line = str(caught.value)
        assert line.isprintable() and len(line) < 1000
        return line

    return refused
