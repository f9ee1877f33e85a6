import pytest

from dkd.errors import InputError
from pipeline import plan_file


def test_what_is_written_is_read(workplace):
    folder = workplace.folder("made/shapes")
    run = plan_file.Run(workplace.plan, {folder: "missing"}, [folder], ["base"])
    plan_file.write(run)
    assert plan_file.read() == run
    node = run.plan.of("index")[0]
    assert plan_file.read().plan.node(node.folder).inputs["data"].path == folder
    assert [path.name for path in plan_file.FILE.parent.iterdir()] == [plan_file.FILE.name]


def test_the_last_run_is_the_one_that_counts(workplace):
    plan_file.write(workplace.run())
    workplace.params(runs=[{"dataset": "shapes", "scenario": "4-1", "method": "joint"}])
    plan_file.write(workplace.run())
    assert plan_file.read().plan == workplace.plan


@pytest.mark.parametrize("content", [None, "", "{"])
def test_jobs_need_a_run(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        plan_file.FILE.parent.mkdir()
        plan_file.FILE.write_text(content)
    with pytest.raises(InputError, match=r"plan\.json is not readable: jobs are started by snakemake"):
        plan_file.read()
