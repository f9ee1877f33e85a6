from pathlib import Path

import pytest
import yaml

from dkd.errors import InputError
from pipeline import ROOT, dvc


@pytest.fixture
def pictures(workplace, tmp_path):
    """A data set at a place; the plan reads it."""

    def lay(place, link=None):
        root = tmp_path / place
        for part in ("images", "masks", "splits"):
            (root / part).mkdir(parents=True)
            (root / part / "a").write_text(part)
        (root / "classes.txt").write_text("background\na\nb\n")
        if link:
            (tmp_path / link).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / link).symlink_to(root)
        run = {"dataset": "own", "scenario": "1-1", "method": "dkd"}
        workplace.params(runs=[run], data={"root": link or place})
        return workplace.plan

    return lay


def watch(*deps):
    content = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    content["stages"]["data"]["deps"] += deps
    Path("dvc.yaml").write_text(yaml.safe_dump(content))


def test_data_in_its_usual_place_is_watched(pictures):
    watch()
    dvc.check_deps(pictures("data/raw/own"))


@pytest.mark.parametrize("link", [None, "data/raw/own"])
def test_data_elsewhere_must_be_named(pictures, tmp_path, link):
    plan = pictures("elsewhere/own", link)
    watch()
    with pytest.raises(InputError, match=rf"does not watch .*own/classes.txt: add `- {tmp_path}/elsewhere/own` to"):
        dvc.check_deps(plan)
    watch(str(tmp_path / "elsewhere"))
    dvc.check_deps(plan)
    watch({"elsewhere/own": {"cache": False}})
    dvc.check_deps(plan)


def test_parts_that_are_links_must_be_named_too(pictures, tmp_path):
    plan = pictures("data/raw/own")
    watch()
    (tmp_path / "data/raw/own/masks").rename(tmp_path / "masks")
    (tmp_path / "data/raw/own/masks").symlink_to(tmp_path / "masks")
    with pytest.raises(InputError, match=rf"`- {tmp_path}/masks`, where the link leads"):
        dvc.check_deps(plan)
    watch("masks")
    dvc.check_deps(plan)


def test_drawn_data_needs_nothing(workplace):
    watch()
    dvc.check_deps(workplace.plan)
