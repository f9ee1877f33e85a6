import pytest
import yaml

from dkd.config import read
from dkd.report.method_labels import method_labels

FIRST = {"dataset": "shapes", "scenario": "4-1", "setting": "overlap", "seed": 0}
PLAIN = {"method": ["finetune", "dkd"], "seed": [0, 1], "order": ["default", "reversed"]}


@pytest.fixture
def called(tmp_path):
    """What tables call the method of each of some runs, by the run's name."""

    def called(*runs):
        path = tmp_path / "params.yaml"
        path.write_text(yaml.safe_dump({"runs": [{**FIRST, **run} for run in runs]}))
        resolved = [run.model_dump(mode="json") for run in read.load(path).runs]
        called.lr = resolved[0]["increment"]["lr"]
        return dict(zip([run["name"] for run in resolved], method_labels(resolved), strict=True))

    return called


def test_seeds_and_orders_share_a_label(called):
    labels = called(PLAIN)
    assert len(labels) == 8 and set(labels.values()) == {"finetune", "dkd"}


def test_runs_of_one_method_are_told_by_the_values_in_which_they_differ(called):
    labels = called(
        PLAIN,
        {"method": "dkd", "name": "no-dkd", "set": {"methods": {"dkd": {"dkd": 0.0, "start": "random"}}}},
        {"method": "dkd", "name": "faster", "set": {"increment": {"lr": 0.5}}},
        {"method": "finetune", "name": "same", "set": {"evaluate": {"protocol": "full_image"}}, "seed": 2},
    )
    assert labels["no-dkd"] == f"dkd[dkd=0.0 increment.lr={called.lr} start=random]"
    assert labels["faster"] == "dkd[dkd=5.0 increment.lr=0.5 start=auxiliary]"
    assert labels["shapes_4-1_overlap_dkd_s0_default"] == f"dkd[dkd=5.0 increment.lr={called.lr} start=auxiliary]"
    assert labels["same"] == "finetune[evaluate.protocol=full_image]"
    assert len(set(labels.values())) == 5


def test_runs_of_other_scenarios_are_not_compared(called):
    labels = called(
        {"method": "dkd"},
        {"method": "dkd", "scenario": "4-2", "name": "scenario", "set": {"increment": {"lr": 0.5}}},
        {"method": "dkd", "setting": "disjoint", "name": "setting", "set": {"increment": {"lr": 0.5}}},
    )
    assert set(labels.values()) == {"dkd"}


def test_options_of_other_methods_are_not_compared(called):
    labels = called({"method": "kd"}, {"method": "kd", "seed": 1, "set": {"methods": {"dkd": {"dkd": 0.0}}}})
    assert set(labels.values()) == {"kd"}
