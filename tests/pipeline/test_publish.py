import json
from pathlib import Path

import pytest

from pipeline import publish, store
from pipeline.publish import METRICS, REPORT
from pipeline.rules import RULES

OTHER = {"dataset": "shapes", "scenario": "4-1", "method": "dkd", "seed": 1}


@pytest.fixture
def made(workplace):
    workplace.make()
    return workplace


def published():
    return {path: path.stat().st_mtime_ns for top in (METRICS, REPORT) for path in top.glob("*") if path.is_file()}


def test_nothing_is_published_while_a_node_is_missing(workplace):
    assert not publish.outdated(workplace.plan) and not publish.publish(workplace.plan)
    workplace.make(*[folder for folder, node in workplace.plan.nodes.items() if node.rule != "page"])
    assert not publish.outdated(workplace.plan) and not publish.publish(workplace.plan)
    assert published() == {}


def test_tables_and_figures_lie_in_metrics_and_the_page_in_report(made):
    assert publish.outdated(made.plan) and publish.publish(made.plan)
    summary, page = Path(made.folder("summary/report")), Path(made.folder("report/page"))
    stamp = f"provenance-{page.name[-12:]}.json"
    names = {*RULES["summary"].files, *RULES["page"].files, stamp} - {"index.html"}
    assert {path.name for path in METRICS.iterdir()} == names
    assert {path.name for path in published() if path.parent == REPORT} == {"index.html", stamp}
    assert (METRICS / "steps.csv").read_bytes() == (summary / "steps.csv").read_bytes()
    assert (METRICS / "cost.csv").read_bytes() == (page / "cost.csv").read_bytes()
    assert (REPORT / "index.html").read_bytes() == (page / "index.html").read_bytes()
    assert json.loads((METRICS / stamp).read_text())["key"] == page.name[-12:]


def test_what_is_published_is_left_alone(made):
    publish.publish(made.plan)
    before = published()
    assert not publish.outdated(made.plan) and not publish.publish(made.plan)
    assert published() == before


@pytest.mark.parametrize("change", [Path.unlink, lambda path: path.write_text(path.read_text().upper())])
def test_only_what_differs_in_content_is_copied(made, change):
    publish.publish(made.plan)
    before = published()
    change(METRICS / "table.txt")
    assert publish.outdated(made.plan) and publish.publish(made.plan)
    after = published()
    assert {path.name for path in before if before[path] != after[path]} == {"table.txt"}
    assert (METRICS / "table.txt").read_bytes() == Path(made.folder("summary/report"), "table.txt").read_bytes()


def test_links_into_the_cache_of_dvc_are_replaced_not_written_through(made, tmp_path):
    publish.publish(made.plan)
    target, cached = METRICS / "table.txt", tmp_path / "cached"
    target.unlink()
    cached.write_text("of another run")
    cached.chmod(0o444)
    target.symlink_to(cached)
    assert publish.publish(made.plan)
    assert cached.read_text() == "of another run" and not target.is_symlink()
    target.write_text("old")
    target.chmod(0o444)
    assert publish.publish(made.plan)
    assert not publish.outdated(made.plan)


def test_stamps_of_other_pages_go(made):
    publish.publish(made.plan)
    first = {path for path in published() if path.name.startswith("provenance-")}
    made.params(runs=[OTHER])
    made.make()
    assert publish.publish(made.plan)
    second = {path for path in published() if path.name.startswith("provenance-")}
    assert len(first) == len(second) == 2 and not first & second
    for place in (METRICS, REPORT):
        (place / "provenance-000000000000.json").write_text("{}")
    assert publish.outdated(made.plan) and publish.publish(made.plan)
    assert {path for path in published() if path.name.startswith("provenance-")} == second


def test_other_peoples_files_stay(made):
    METRICS.mkdir()
    (METRICS / "notes.txt").write_text("mine")
    publish.publish(made.plan)
    assert (METRICS / "notes.txt").read_text() == "mine"


@pytest.fixture
def page(workplace):
    """The stage of the page, as far as it tells of failures."""

    def write(params, runtime, inputs, out):
        (out / "index.html").write_text(json.dumps(runtime["failed"]))

    workplace.stage("page", write)


def fail(workplace, place, words):
    folder = workplace.folder(place)
    store.FAILED.mkdir(parents=True, exist_ok=True)
    (store.FAILED / folder[-12:]).write_text(words)
    return folder


def test_what_failed_is_told_by_folder(workplace):
    assert publish.failures(workplace.plan) == {}
    folder = fail(workplace, "base/shapes/overlap/4/s0", "dkd: no memory")
    (store.FAILED / "000000000000").write_text("of another plan")
    assert publish.failures(workplace.plan) == {folder: "dkd: no memory"}


def test_the_page_of_a_run_that_failed_says_what_and_is_no_longer_that_of_a_finished_one(made, page):
    publish.publish(made.plan)
    before = published()
    fail(made, "base/shapes/overlap/4/s0", "dkd: no memory")
    publish.show_failed(made.plan)
    [node] = made.plan.of("page")
    failed = json.loads((REPORT / "index.html").read_text())
    assert set(failed.values()) == {"dkd: no memory"}
    assert all("/s0-" in node.inputs[name].path for name in failed)
    assert not list(REPORT.glob("provenance-*"))
    # Tables of before are still what metrics/ says that they are.
    assert {path for path in before if path.parent == METRICS} == published().keys() - {REPORT / "index.html"}
    assert not list(store.SCRATCH.iterdir())
    assert publish.publish(made.plan)
    assert (REPORT / "index.html").read_text() != json.dumps(failed)


def test_a_page_of_what_is_there_can_be_written_anywhere(workplace, page, tmp_path):
    (tmp_path / "out").mkdir()
    publish.write_page(workplace.plan, tmp_path / "out")
    assert (tmp_path / "out" / "index.html").read_text() == "{}"
    assert published() == {}
