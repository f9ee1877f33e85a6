from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from pipeline import provenance, status, store
from pipeline.adopt import adopt
from pipeline.plan import STAMP
from pipeline.rules import RULES
from tests.pipeline.conftest import SHAPES

BASE = "base/shapes/overlap/4/s0"
NOW = "2100-01-02T03:04:05+00:00"
LOSSES = ("src/dkd/losses.py", "import torch\n", "import torch\n\nEDITED = True\n")


class Outcome(NamedTuple):
    became: str
    folder: str
    old: Path
    reasons: list

    @property
    def adopted(self):
        return self.became == "adopted"


@pytest.fixture
def edited(workplace):
    """Everything made, then an edit of the losses."""
    workplace.edit("src/dkd/losses.py", "import torch\n", "import torch\n")
    workplace.make()
    workplace.old = workplace.plan
    workplace.edit(*LOSSES)
    return workplace


def run(workplace):
    return [Outcome(*outcome) for outcome in adopt(workplace.plan, NOW)]


def good(plan):
    found = status.states(replace(plan, verify=list(RULES)), everything=True)
    return {state.name for state in found.values()} == {"present"}


def test_a_chain_of_nodes_is_kept_under_its_new_keys(edited):
    outcomes = run(edited)
    assert [outcome.adopted for outcome in outcomes] == [True] * 11
    assert outcomes[0].folder == edited.folder(BASE) and outcomes[0].reasons == ["code changed: dkd.losses"]
    assert edited.make() == []
    assert good(edited.plan)
    # The old ones stay, so that going back costs nothing either.
    assert good(edited.old)
    assert run(edited) == []


def test_provenance_says_what_was_adopted(edited):
    [old] = edited.old.of("base")
    before = provenance.read(Path(old.folder))
    run(edited)
    after = provenance.read(Path(edited.folder(BASE)))
    [note] = after["adopted"]
    assert note == {"key": old.key, "digest": before["digest"], "code": before["code"], "when": NOW}
    assert after["key"] != before["key"] and after["code"]["dkd.losses"] != before["code"]["dkd.losses"]
    assert after["files"] == before["files"] and after["started"] == before["started"]
    model = "model.safetensors"
    assert Path(old.folder, model).samefile(Path(edited.folder(BASE), model)), "no second copy on disk"


def test_a_second_edit_adopts_what_was_adopted(edited):
    run(edited)
    edited.edit("src/dkd/losses.py", "EDITED = True", "EDITED = False")
    assert all(outcome.adopted for outcome in run(edited))
    assert len(provenance.read(Path(edited.folder(BASE)))["adopted"]) == 2
    assert edited.make() == []


@pytest.mark.parametrize("archive", store.ARCHIVES, ids=str)
def test_archives_are_looked_through(edited, archive):
    store.prune(edited.plan)
    if archive != store.ARCHIVE:
        store.ARCHIVE.rename(archive)
    outcomes = run(edited)
    assert len(outcomes) == 11 and all(each.adopted and each.old.is_relative_to(archive) for each in outcomes)
    assert edited.make() == []


def test_an_adoption_goes_on_where_another_ended(edited):
    """The base by one call, the rest by the next: keys and digests of before are remembered."""
    others = [node.folder for node in edited.plan.nodes.values() if node.rule != "base"]
    nodes = dict(edited.plan.nodes)
    for folder in others:
        if nodes[folder].rule not in ("draw", "index", "split"):
            del edited.plan.nodes[folder]
    assert len(run(edited)) == 1
    edited.plan.nodes = nodes
    assert len(run(edited)) == 10
    assert edited.make() == []


def test_other_params_are_refused_and_so_is_what_follows_from_them(edited):
    edited.params(runs=[SHAPES], increment={"lr": 0.5})
    outcomes = {outcome.folder.split("/", 1)[1][:-13]: outcome for outcome in run(edited)}
    assert {name for name, outcome in outcomes.items() if outcome.adopted} == {BASE, "shapes/overlap/4/s0"}
    refused = outcomes["increment/shapes/overlap/4+1/dkd-s0"]
    assert [words.startswith("params changed: recipe.lr: ") for words in refused.reasons] == [True]
    assert outcomes["increment/shapes/overlap/4+1+1/dkd-s0"].reasons[-1].startswith("input changed: previous")
    made = edited.make()
    assert len(made) == 8 and not any("base" in folder for folder in made)


def test_other_inputs_are_refused(edited):
    """A base that was trained again is not the one that the old steps were made from."""
    [old] = edited.old.of("base")
    Path(old.folder).rename("elsewhere")
    edited.write("base", "trained again, and a little different")
    edited.make(edited.folder(BASE))
    outcomes = run(edited)
    assert len(outcomes) == 10 and not any(outcome.adopted for outcome in outcomes)


def test_damaged_versions_are_refused(edited):
    [old] = edited.old.of("base")
    path = Path(old.folder, "step.json")
    path.write_text(path.read_text().upper())
    first, *rest = run(edited)
    assert first.reasons == ["its files are not those that were written"]
    assert not any(outcome.adopted for outcome in [first, *rest])
    assert not Path(edited.folder(BASE), STAMP).exists()


def test_of_two_versions_the_one_in_use_last_is_taken(edited):
    store.prune(edited.plan)
    edited.edit("src/dkd/losses.py", "EDITED = True", "EDITED = 'again'")
    edited.make()
    [latest] = edited.plan.of("base")
    edited.edit("src/dkd/losses.py", "EDITED = 'again'", "EDITED = 'otherwise'")
    assert run(edited)[0].old == Path(latest.folder)


def test_what_lies_in_the_archive_under_its_present_key_is_no_matter_of_adoption(edited):
    run(edited)
    new = edited.plan
    edited.params(runs=[{**SHAPES, "seed": 1}])
    store.prune(edited.plan)
    edited.plan = new
    assert run(edited) == []
    assert edited.make() == []
