"""Two revisions of a real repository of git, side by side."""

import json
import subprocess

import pytest
import yaml

from dkd.errors import InputError
from dkd.report import statistics, tables
from pipeline.compare import HERE, compare, doubt, lines
from tests.pipeline.conftest import SHAPES

PARAMS = {"runs": [{"dataset": "shapes", "scenario": "4-1", "method": "dkd", "seed": [0, 1]}], "increment": {"lr": 0.1}}


class Repository:
    """A repository whose metrics a test writes."""

    def __init__(self, path):
        self.path = path
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments):
        who = [f"user.{key}={value}" for key, value in (("name", "A Person"), ("email", "person@example.org"))]
        options = [word for each in (*who, "commit.gpgsign=false") for word in ("-c", each)]
        return subprocess.run(
            ["git", *options, *arguments], cwd=self.path, check=True, capture_output=True, text=True
        ).stdout.strip()

    def write(self, runs, params=PARAMS, group="shapes_4-1_overlap_dkd"):
        """Tables of runs of one group that have the same value of all metrics, and params."""
        final = {f"{group}_{name}": dict.fromkeys(tables.HEADLINE, value) for name, value in runs.items()}
        spreads = {key: statistics.spread(list(runs.values())) for key in tables.HEADLINE}
        (self.path / "metrics").mkdir(exist_ok=True)
        (self.path / "metrics" / "summary.json").write_text(json.dumps(final))
        (self.path / "metrics" / "groups.json").write_text(json.dumps({group: {"runs": list(final), **spreads}}))
        (self.path / "params.yaml").write_text(yaml.safe_dump(params))

    def commit(self, *given, **params):
        self.write(*given, **params)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "run")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Repository(tmp_path)


def test_groups_are_set_side_by_side_and_runs_of_one_name_are_paired(repository):
    old = repository.commit({"s0": 50.0, "s1": 60.0, "s2": 10.0})
    repository.write({"s0": 51.0, "s1": 63.0, "s3": None})
    found = compare("HEAD", None)
    assert found["revisions"] == [{"name": "HEAD", "commit": old}, {"name": HERE, "commit": None}]
    measured = found["groups"]["shapes_4-1_overlap_dkd"]["harmonic"]
    assert measured["values"] == [statistics.spread([50.0, 60.0, 10.0]), statistics.spread([51.0, 63.0])]
    low, high = statistics.interval([1.0, 3.0])
    assert measured["difference"] == {"mean": 2.0, "low": low, "high": high, "n": 2, "same": False}
    assert found["only"] == [["shapes_4-1_overlap_dkd_s2"], ["shapes_4-1_overlap_dkd_s3"]]
    text = list(lines(found))
    assert text[2].split() == "all 40.0 ± 26.5 (3) 57.0 ± 8.5 (2) +2.0 [+1.0, +3.0] (2)".split()
    assert text[-4:] == [
        "only in HEAD:",
        "  shapes_4-1_overlap_dkd_s2",
        f"only in {HERE}:",
        "  shapes_4-1_overlap_dkd_s3",
    ]


def test_what_is_the_same_and_what_has_no_pair_is_said(repository):
    repository.commit({"s0": 50.0})
    assert list(lines(compare("HEAD", None)))[2].endswith("50.0 (1)  the same (1)")
    repository.write({"s1": 52.0})
    assert list(lines(compare("HEAD", None)))[2].endswith("52.0 (1)  no pairs")
    repository.write({"s0": 52.0}, group="shapes_4-1_overlap_kd")
    text = list(lines(compare("HEAD", None)))
    assert [line.split()[1:] for line in text if "harmonic" in line] == [
        ["50.0", "(1)", "-", "no", "pairs"],
        ["-", "52.0", "(1)", "no", "pairs"],
    ]


def test_params_that_differ_are_named_one_by_one(repository):
    repository.commit({"s0": 50.0})
    [run] = PARAMS["runs"]
    changed = {"runs": [{**run, "seed": [0]}], "increment": {"lr": 0.2}, "base": {"epochs": 3}}
    second = repository.commit({"s0": 50.0}, params=changed)
    expected = {"runs.1.seed": [[0, 1], [0]], "increment.lr": [0.1, 0.2], "base.epochs": [None, 3]}
    assert compare("HEAD~1", second)["params"] == expected
    assert compare(second, "HEAD~1")["params"] == {key: values[::-1] for key, values in expected.items()}
    text = list(lines(compare("HEAD~1", "HEAD")))
    assert "  increment.lr: 0.1 -> 0.2" in text and "  base.epochs: - -> 3" in text
    assert "params: the same" in lines(compare("HEAD", None))


def test_code_that_differs_is_named(repository):
    losses = repository.path / "src" / "dkd" / "losses.py"
    losses.parent.mkdir(parents=True)
    losses.write_text("A = 1\n")
    repository.commit({"s0": 50.0})
    losses.write_text("A = 2\n")
    assert compare("HEAD", None)["code"] == ["src/dkd/losses.py"]
    repository.commit({"s0": 50.0})
    assert "code that differs: src/dkd/losses.py" in lines(compare("HEAD~1", "HEAD"))
    assert compare("HEAD", None)["code"] == []


def test_a_study_in_a_folder_of_a_repository_is_read_where_it_lies(repository, monkeypatch):
    study = repository.path / "study"
    study.mkdir()
    repository.path = study
    repository.commit({"s0": 50.0})
    monkeypatch.chdir(study)
    assert compare("HEAD", None)["groups"]


def test_nothing_is_written(repository):
    repository.commit({"s0": 50.0})
    repository.commit({"s0": 51.0})
    before = {path: path.stat().st_mtime_ns for path in repository.path.rglob("*")}
    compare("HEAD~1", "HEAD")
    assert {path: path.stat().st_mtime_ns for path in repository.path.rglob("*")} == before


def test_experiments_of_one_name_are_told_apart(repository):
    commits = [repository.commit({"s0": 50.0}), repository.commit({"s0": 51.0})]
    refs = [f"refs/exps/{commit[:2]}/{commit[2:]}/slower" for commit in commits]
    repository.git("update-ref", refs[0], commits[0])
    repository.git("update-ref", "refs/exps/exec/EXEC_HEAD", commits[0])
    assert compare("slower", None)["revisions"][0] == {"name": "slower", "commit": commits[0]}
    repository.git("update-ref", refs[1], commits[1])
    with pytest.raises(InputError, match="slower: 2 experiments have this name; write one of refs/exps/"):
        compare("slower", None)
    assert compare(refs[1], None)["revisions"][0]["commit"] == commits[1]
    with pytest.raises(InputError, match="EXEC_HEAD: neither a revision"):
        compare("EXEC_HEAD", None)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("metrics/summary.json", None, "has no metrics/summary.json; a run writes metrics/"),
        ("metrics/groups.json", "<<<<<<< HEAD", "metrics/summary.json and metrics/groups.json are not those of a run"),
        ("metrics/groups.json", '{"group": {"runs": ["lost"]}}', r"\(KeyError: 'lost'\); make them again"),
        ("metrics/summary.json", '{"run": {"all": 1}}', r"\(KeyError: 'base'\)"),
        ("metrics/summary.json", "[]", "not those of a run"),
        ("params.yaml", "a: [", "params.yaml: not readable as YAML: "),
    ],
)
def test_faulty_files_are_one_line(repository, name, text, words):
    first = repository.commit({"s0": 50.0})
    (repository.path / name).unlink() if text is None else (repository.path / name).write_text(text)
    with pytest.raises(InputError, match=f"^{HERE}: .*{words}") as error:
        compare("HEAD", None)
    assert "\n" not in str(error.value)
    repository.git("add", "-A")
    repository.git("commit", "-q", "-m", "faulty")
    with pytest.raises(InputError, match=f"^HEAD: .*{words}"):
        compare(first, "HEAD")


def test_a_metric_that_is_no_percentage_is_refused(repository):
    repository.commit({"s0": 50.0})
    repository.write({"s0": 500.0})
    with pytest.raises(InputError, match="a metric is not a percentage"):
        compare("HEAD", None)


@pytest.mark.parametrize("name", ["lost", "--all", "HEAD~9", ""])
def test_an_unknown_revision_is_one_line(repository, name):
    repository.commit({"s0": 50.0})
    with pytest.raises(InputError, match=f"^{name}: neither a revision of git nor an experiment of DVC"):
        compare(name, None)


def test_without_a_repository_or_git_it_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(InputError, match=r"^git: fatal: not a git repository"):
        compare("HEAD", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="git is not installed"):
        compare("HEAD", None)


def test_metrics_of_the_working_tree_that_are_older_than_its_params_are_told(workplace):
    workplace.make()
    summary, page = workplace.plan.of("summary", "page")
    metrics = workplace.path / "metrics"
    metrics.mkdir()
    (metrics / "summary.json").write_text((workplace.path / summary.folder / "summary.json").read_text())
    assert doubt() is None
    workplace.params(runs=[SHAPES], increment={"lr": 0.5})
    assert doubt().startswith("metrics/ was not made with params.yaml and the code as they are in the working tree")
    page = workplace.plan.of("page")[0]
    (metrics / f"provenance-{page.key}.json").touch()
    assert doubt() is None
    (workplace.path / "params.yaml").write_text("runs: 1")
    assert doubt().startswith("cannot tell whether metrics/ belongs to params.yaml as it is: params.yaml: runs: ")
