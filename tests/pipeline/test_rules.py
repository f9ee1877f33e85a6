"""What stands in the table of rules stands nowhere else, and what has to repeat it says the same."""

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from pipeline import ROOT
from pipeline.plan import STAMP
from pipeline.rules import FOLDERS, RULES, STAGES

DVC = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
STANDIN = ROOT / "tests" / "workflow" / "standin"


def test_every_rule_has_a_stage_module_and_every_module_a_rule():
    modules = {path.stem for path in (ROOT / "pipeline" / "stages").glob("*.py")} - {"__init__"}
    assert modules == set(RULES)


def test_no_folder_lies_in_another_and_no_file_is_promised_twice():
    for folder in FOLDERS:
        assert not [other for other in FOLDERS if f"{other}/".startswith(f"{folder}/") and other != folder]
    assert len(set(FOLDERS)) == len(RULES)
    for rule in RULES.values():
        assert len(set(rule.files)) == len(rule.files) and STAMP not in rule.files


def test_what_processes_share_computes_on_a_gpu():
    assert all(rule.gpu for rule in RULES.values() if rule.shared)


def test_dvc_has_these_stages_and_records_their_folders():
    assert list(DVC) == list(STAGES)
    for stage, facts in DVC.items():
        assert facts["cmd"] == f"sh pipeline/snakemake.sh {stage}_all"
        folders = [{RULES[rule].folder: {"persist": True}} for rule in STAGES[stage]]
        assert [out for out in facts["outs"] if not next(iter(out)).startswith("metrics/")] == folders


def test_dvc_stages_depend_on_the_code_and_on_folders_of_stages_before():
    before = []
    for stage, facts in DVC.items():
        code, data = facts["deps"][:3], [dep for dep in facts["deps"][3:] if dep != "data/raw"]
        assert code == ["Snakefile", "pipeline", "src/dkd"]
        assert set(data) <= set(before)
        before += [RULES[rule].folder for rule in STAGES[stage]]


def test_dvc_follows_published_files_that_are_written():
    published = {f"metrics/{name}" for rule in ("summary", "page") for name in RULES[rule].files}
    report = DVC["report"]
    entries = [out for out in report["outs"] if next(iter(out)).startswith("metrics/")] + report["metrics"]
    named = [name for entry in entries for name in entry]
    assert all(facts == {"cache": False, "persist": True} for entry in entries for facts in entry.values())
    assert set(named) <= published and len(set(named)) == len(named)
    assert {name for name in published if name.endswith((".png", ".json"))} <= set(named)


def test_no_other_file_lists_the_folders():
    for name in ("Makefile", "Snakefile", "pipeline/snakemake.sh"):
        text = (ROOT / name).read_text()
        assert not [folder for folder in FOLDERS if re.search(rf"\b{folder}/", text)], name


STANDINS = """
import json
from dkd.config import read
from pipeline import job, plan, provenance
run = plan.build(read.load("params.yaml"), fresh=False)
found = {}
for folder, node in run.nodes.items():
    job.make(run, folder)
    found[node.rule] = list(provenance.read(job.Path(folder))["files"])
print(json.dumps(found))
"""


@pytest.mark.slow
def test_stand_ins_write_what_the_table_says(tmp_path, monkeypatch, start):
    for top in ("src", "pipeline"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / top, tmp_path / top, ignore=ignored)
        shutil.copytree(STANDIN / top, tmp_path / top, ignore=ignored, dirs_exist_ok=True)
    run = {"dataset": "shapes", "scenario": "4-1", "method": "dkd"}
    Path(tmp_path, "params.yaml").write_text(yaml.safe_dump({"runs": [run]}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DKD_TRACE", str(tmp_path / "trace"))
    output, errors = start(
        f"import sys; sys.path[:0] = [{str(tmp_path)!r}, '{tmp_path}/src']\n{STANDINS}"
    ).communicate()
    assert output, errors
    standins = {path.stem for path in (STANDIN / "pipeline" / "stages").glob("*.py")}
    assert {rule: sorted(files) for rule, files in json.loads(output).items()} == {
        rule: sorted(RULES[rule].files) for rule in standins
    }
