import hashlib
import json
from pathlib import Path

import pytest
import yaml

from dkd.errors import InputError
from pipeline import ROOT, dvc, status
from pipeline.plan import STAMP
from pipeline.rules import RULES
from tests.pipeline.conftest import SHAPES, lay_pictures


@pytest.fixture
def pictures(workplace, tmp_path):
    """A data set at a place; the plan reads it."""

    def lay(place, link=None):
        root = lay_pictures(tmp_path / place, "a", "b")
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


def lay_out_dvc(workplace, *rules, cache=".dvc/cache", cached=lambda name: True):
    """dvc.lock and the cache of DVC as it leaves them for the nodes of some rules, of which those `cached` are there"""

    def put(text):
        md5 = hashlib.md5(text.encode()).hexdigest()
        path = Path(cache, "files", "md5", md5[:2], md5[2:])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return md5, path

    stages = {}
    for rule in rules:
        top, entries = RULES[rule].folder, []
        for node in workplace.plan.of(rule):
            for name in (*RULES[rule].files, STAMP):
                md5, path = put(f"{node.folder}/{name}")
                entries.append({"md5": md5, "relpath": f"{node.folder}/{name}".removeprefix(f"{top}/")})
                if not cached(name):
                    path.unlink()
        md5, path = put(json.dumps(entries))
        path.rename(f"{path}.dir")
        outs = [{"path": top, "md5": f"{md5}.dir"}, {"path": "metrics/steps.csv", "md5": "0" * 32}]
        stages[RULES[rule].stage] = {"cmd": "true", "outs": outs}
    Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))


def test_results_in_the_cache_of_dvc_are_pointed_at(workplace):
    assert dvc.recorded(workplace.plan) is None
    lay_out_dvc(workplace, "base", "increment")
    assert dvc.recorded(workplace.plan) == "`dvc checkout` brings 3 of 15 missing nodes back"
    assert "`dvc checkout` brings 3 of 15 missing nodes back" in list(
        status.lines(workplace.plan, status.look(workplace.plan))
    )
    workplace.make()
    assert dvc.recorded(workplace.plan) is None


@pytest.mark.parametrize("file", ["config", "config.local"])
def test_the_cache_of_dvc_may_lie_elsewhere(workplace, file):
    lay_out_dvc(workplace, "base", cache="elsewhere/cache")
    assert dvc.recorded(workplace.plan) == "dvc.lock records results that are not here: `dvc pull` may bring them"
    Path(".dvc").mkdir()
    Path(".dvc", file).write_text("[cache]\n    dir = ../elsewhere/cache\n['remote \"r\"']\n    url = a%b\n")
    assert dvc.recorded(workplace.plan) == "`dvc checkout` brings 1 of 15 missing nodes back"


def test_results_that_dvc_recorded_elsewhere_are_named(workplace):
    lay_out_dvc(workplace, "base", cached=lambda name: name != STAMP)
    assert dvc.recorded(workplace.plan) == "dvc.lock records results that are not here: `dvc pull` may bring them"


def test_results_of_other_plans_are_no_help(workplace):
    lay_out_dvc(workplace, "base")
    workplace.params(runs=[{**SHAPES, "seed": 1}])
    assert dvc.recorded(workplace.plan) is None


@pytest.mark.parametrize("text", ["", "[]", "{", "stages: 3", "stages: {base: 3}", "stages: {base: {outs: [3]}}"])
def test_a_lock_file_that_makes_no_sense_is_passed_over(workplace, text):
    Path("dvc.lock").write_text(text)
    assert dvc.recorded(workplace.plan) is None


def test_a_listing_in_the_cache_that_makes_no_sense_is_as_good_as_none(workplace):
    lay_out_dvc(workplace, "base")
    [listing] = Path(".dvc/cache").rglob("*.dir")
    listing.write_text('{"md5": 3}')
    assert dvc.recorded(workplace.plan) == "dvc.lock records results that are not here: `dvc pull` may bring them"
