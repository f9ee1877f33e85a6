"""The rules and the plan speak of the same folders."""

import re

import pytest

from pipeline import ROOT
from pipeline.plan import FOLDERS, STAMP

RULES = "\n".join(path.read_text() for path in sorted((ROOT / "pipeline" / "rules").glob("*.smk")))
DVC = (ROOT / "dvc.yaml").read_text()


@pytest.mark.parametrize("top", FOLDERS)
def test_every_folder_has_a_rule_and_a_dvc_stage(top):
    assert f'update("{top}/{{place}}-{{key}}/{STAMP}")' in RULES
    assert re.search(rf"- {top}: {{persist: true}}", DVC)


def test_inputs_are_ancient_and_outputs_updated():
    # Anything else lets times decide, or lets one run delete what another has just made.
    for block in re.findall(r"    output:\n((?:        .+\n)+)", RULES):
        assert all(re.match(r" {8}(update\(|\))", line) for line in re.findall(r"^ {8}\S.*", block, re.M)), block
    for block in re.findall(r"    input:\n((?:        .+\n)+)", RULES):
        assert block.strip().startswith("ancient(") and block.count("ancient(") == 1, block
