"""An edit that changes no result, and a working directory of an earlier version, cost no training."""

import hashlib
import json
import tarfile
from pathlib import Path

import pytest

from .conftest import NOTHING

STORED = Path(__file__).with_name("stored") / "f7ab528.tar.gz"


@pytest.mark.slow
def test_an_edit_that_changes_no_result_is_adopted_and_can_be_taken_back(finished):
    (finished.path / "src" / "dkd" / "losses.py").write_text("SCALE = 2 - 1\n")
    output = finished.pipeline("adopt")
    assert output.splitlines()[-1] == "11 nodes adopted, 0 refused"
    assert "code changed: dkd.losses" in output
    finished.snakemake()
    assert finished.ran() == []
    assert NOTHING in finished.snakemake()
    finished.git("checkout", "-q", "src")
    finished.snakemake()
    assert finished.ran() == []
    assert "0 folders deleted" in finished.pipeline("gc", "--keep-days", "1")
    output = finished.pipeline("gc", "--max-size", "0").splitlines()
    assert output[-1].startswith("11 folders deleted, ")
    assert NOTHING in finished.snakemake()


@pytest.mark.slow
def test_a_working_directory_of_an_earlier_version_is_adopted_with_its_archive(begun):
    """Commit f7ab528; another increment.lr lies in what it called the attic."""
    with tarfile.open(STORED) as archive:
        archive.extractall(begun.path, filter="data")
    # The page is made of its template, style and script, too; once these are others than then, it is made again.
    [stored] = begun.path.glob("report/page-*/provenance.json")
    assets = begun.path / "src" / "dkd" / "report" / "assets"
    now = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in assets.iterdir()}
    pages = [] if json.loads(stored.read_text())["params"]["assets"] == now else ["report/page"]
    for params, nodes in (({}, 15), ({"increment": {"lr": 0.002}}, 8)):
        begun.params(**params)
        output = begun.pipeline("adopt", expect=len(pages))
        assert output.splitlines()[-1] == f"{nodes - len(pages)} nodes adopted, {len(pages)} refused"
        begun.snakemake()
        assert begun.ran() == pages
    assert NOTHING in begun.snakemake()
