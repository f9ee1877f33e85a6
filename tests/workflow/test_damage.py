"""What is missing or damaged is made again, and what was made from it only where the content differs."""

import shutil

import pytest

from pipeline.rules import RULES

from .conftest import DATA, EVERYTHING, FROM_BASE, NOTHING, bases

SALTED = {"DKD_SALT": "x"}
"""What is made from here on differs from what was made before."""


def overwrite(path, content):
    """As an editor does it: DVC's cache may have given it as a link."""
    path.unlink()
    path.write_bytes(content)


def flipped(content):
    return bytes([content[0] ^ 1]) + content[1:]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "equal", "different"),
    [
        # What the index holds comes out the same, whatever was drawn: the tasks made from it stay.
        pytest.param(DATA[0], DATA[:1], sorted({*EVERYTHING} - {*DATA[2:]}), id="pictures"),
        pytest.param(bases(0)[0], bases(0), FROM_BASE, id="checkpoint"),
    ],
)
@pytest.mark.parametrize("differs", [False, True], ids=["equal", "different"])
def test_what_is_missing_is_made_and_what_depends_on_it_only_if_it_differs(finished, place, equal, different, differs):
    shutil.rmtree(finished.folder(place))
    finished.snakemake(**SALTED if differs else {})
    assert finished.ran() == sorted(different if differs else equal)
    # What was made from something else is kept, out of the way.
    assert len(list(finished.path.glob(".dkd/quarantine/summary/*"))) == differs
    assert NOTHING in finished.snakemake()
    assert "15 of 15 nodes present" in finished.pipeline("status", "--verify")


@pytest.mark.slow
@pytest.mark.parametrize("differs", [False, True], ids=["equal", "different"])
def test_a_checkpoint_cut_short_is_made_again_and_the_rest_only_if_it_differs(finished, differs):
    base = finished.folder(bases(0)[0])
    overwrite(base / "model.safetensors", b"x")
    finished.snakemake(**SALTED if differs else {})
    assert finished.ran() == sorted(FROM_BASE if differs else bases(0))
    [damaged] = finished.path.glob(f".dkd/quarantine/{bases(0)[0]}-*")
    assert (damaged / "model.safetensors").read_bytes() == b"x"
    [page], [tables] = finished.path.glob("report/page-*"), finished.path.glob("metrics/provenance-*.json")
    assert tables.read_text() == (page / "provenance.json").read_text()
    assert NOTHING in finished.snakemake()
    assert "15 of 15 nodes present" in finished.pipeline("status", "--verify")


@pytest.mark.slow
def test_a_flipped_byte_is_found_by_verify_and_by_dvc_and_never_recorded(finished):
    """Its size is right: only reading all of it tells."""
    model = finished.folder(bases(0)[0]) / "model.safetensors"
    content = model.read_bytes()
    overwrite(model, flipped(content))
    output = finished.pipeline("status", "--verify", expect=1)
    assert "damaged: model.safetensors does not hold what was written" in output
    assert finished.ran() == [] and model.read_bytes() == flipped(content)
    finished.dvc("repro")
    assert finished.ran() == bases(0)
    assert model.read_bytes() == content
    finished.agrees()
    overwrite(model, flipped(content))
    finished.snakemake("--config", "verify=1")
    assert finished.ran() == bases(0) and model.read_bytes() == content
    assert len(list(finished.path.glob(f".dkd/quarantine/{bases(0)[0]}-*"))) == 2


@pytest.mark.slow
@pytest.mark.parametrize("tool", ["snakemake", "dvc"])
def test_published_files_that_are_removed_or_edited_are_published_again(finished, tool):
    """One by itself, then all; nothing else is done."""
    published = {
        path: path.read_bytes()
        for path in [*finished.path.glob("metrics/*"), *finished.path.glob("report/*")]
        if path.is_file() and path.name != ".gitignore"
    }
    assert len(published) == 2 + sum(len(RULES[rule].files) for rule in ("summary", "page"))
    for removed in ([finished.path / "report" / "index.html"], published):
        for path in removed:
            path.unlink()
        finished.tool(tool)
        assert {path: path.read_bytes() for path in published if path.exists()} == published
    edited = finished.path / "metrics" / "steps.csv"
    overwrite(edited, edited.read_bytes() + b"one more line\n")
    finished.tool(tool)
    assert edited.read_bytes() == published[edited]
    assert finished.ran() == []
    assert "up to date" in finished.dvc("status")
    assert finished.git("status", "--porcelain") == ""
