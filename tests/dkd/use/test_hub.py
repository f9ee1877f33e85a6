"""Checkpoints travel to the Hub and back; nothing here has a network: a folder stands in for the Hub."""

import json
import shutil

import pytest
from huggingface_hub import CommitInfo, errors

from dkd.use import hub
from tests.dkd.command import run

from .conftest import save

NAME = "somebody/shapes-4-1"


class Hub:
    """Repositories in a folder, with the calls of HfApi that are used; `fails` is raised by the next one."""

    def __init__(self, top):
        self.top, self.private, self.fails = top, {}, None

    def _check(self):
        if self.fails is not None:
            raise self.fails

    def create_repo(self, repo, *, private, exist_ok):
        self._check()
        assert exist_ok
        self.private.setdefault(repo, private)
        (self.top / repo).mkdir(parents=True, exist_ok=True)

    def create_commit(self, repo, operations, *, commit_message):
        for each in operations:
            with each.as_file() as file:
                (self.top / repo / each.path_in_repo).write_bytes(file.read())
        return CommitInfo(f"https://huggingface.co/{repo}/commit/1", commit_message, "", "1")

    def hf_hub_download(self, repo, name, *, revision, local_dir):
        self._check()
        if not (self.top / repo / name).exists():
            raise errors.EntryNotFoundError(name)
        (local_dir / ".cache" / "huggingface").mkdir(parents=True, exist_ok=True)
        (local_dir / ".cache" / "huggingface" / ".gitignore").write_text("*")
        shutil.copyfile(self.top / repo / name, local_dir / name)


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    made = Hub(tmp_path / "hub")
    monkeypatch.setattr(hub, "HfApi", lambda: made)
    return made


def test_a_checkpoint_comes_back_as_it_was_pushed(stand_in, tmp_path, monkeypatch, capsys):
    folder = save(tmp_path / "net", (3, 1, 6), (2, 1))
    record = {"params": {"recipe": {"lr": 0.25}}, "git": {"commit": "abc123"}, "versions": {"torch": "2.9", "av": None}}
    record |= {"machine": {"node": "secret7"}, "inputs": {"data": {"path": "/home/somebody"}}}
    (folder / "provenance.json").write_text(json.dumps(record))
    run(monkeypatch, "push", folder, NAME)
    assert capsys.readouterr().out == f"https://huggingface.co/{NAME}\n"
    there = {path.name: path for path in (stand_in.top / NAME).iterdir()}
    assert set(there) == {"model.safetensors", "step.json", "README.md"} and stand_in.private == {NAME: True}
    card = there["README.md"].read_text()
    assert card.startswith("---\nlibrary_name: dkd\npipeline_tag: image-segmentation\n")
    for words in (
        "# shapes, dkd, step 1",
        "| 0 | triangle, disc |\n| 1 | star |",
        "| commit | abc123 |",
        "| versions | torch 2.9 |",
        '"lr": 0.25',
        f"# dkd pull {NAME} --out checkpoint",
    ):
        assert words in card
    assert "secret7" not in card and "/home" not in card
    run(monkeypatch, "pull", NAME, "--out", tmp_path / "again")
    assert capsys.readouterr().out == f"{tmp_path / 'again'}: shapes, dkd, step 1, 3 classes\n"
    assert {path.name for path in (tmp_path / "again").iterdir()} == {"model.safetensors", "step.json"}
    assert all((tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes() for name in hub.FILES)


def test_a_checkpoint_without_a_record_has_a_card_and_a_new_repository_may_be_public(stand_in, tmp_path, monkeypatch):
    run(monkeypatch, "push", save(tmp_path / "net", (1, 2), (2,)), NAME, "--public")
    card = (stand_in.top / NAME / "README.md").read_text()
    assert "| 0 | disc, square |" in card and "commit" not in card and "Parameters" not in card
    assert stand_in.private == {NAME: False}


class Response:
    """What an error of the Hub has."""

    status_code, headers, request = 403, {}, None


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (errors.LocalTokenNotFoundError("x"), "no token for the Hub; call `hf auth login`, or set HF_TOKEN"),
        (errors.HFValidationError("x"), f"'{NAME}' is no name of a repository; write NAME/MODEL"),
        (errors.RepositoryNotFoundError("x", response=Response), f"{NAME}: no such repository, or no access to it; "),
        (errors.RevisionNotFoundError("x", response=Response), f"{NAME}: has no such revision; "),
        (errors.HfHubHTTPError("x", response=Response), f"{NAME}: the Hub refused (403); call `hf auth login`, or "),
        (errors.HTTPError("no route\nto host"), f"{NAME}: the Hub cannot be reached (no route); check the network"),
        (errors.LocalEntryNotFoundError("x"), f"{NAME}: the Hub cannot be reached; check the network"),
        (errors.OfflineModeIsEnabled("offline"), f"{NAME}: the Hub cannot be reached (offline); check the network"),
    ],
)
def test_what_the_hub_refuses_is_one_line_and_leaves_nothing(stand_in, tmp_path, monkeypatch, fault, words):
    folder, stand_in.fails = save(tmp_path / "net", (1, 2), (2,)), fault
    for command in (("push", folder, NAME), ("pull", NAME, "--out", tmp_path / "out")):
        with pytest.raises(AssertionError) as caught:
            run(monkeypatch, *command)
        assert caught.value.code.startswith(f"dkd: {words}") and "\n" not in caught.value.code
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net"]


def test_what_is_no_checkpoint_is_one_line(stand_in, tmp_path, monkeypatch):
    (stand_in.top / NAME).mkdir(parents=True)
    with pytest.raises(AssertionError, match=r"^dkd: somebody/shapes-4-1: no checkpoint of dkd, model.safetensors or "):
        run(monkeypatch, "pull", NAME, "--out", tmp_path / "out")
    with pytest.raises(AssertionError, match=r"none: not a checkpoint, step.json is missing"):
        run(monkeypatch, "push", tmp_path / "none", NAME)
    folder = save(tmp_path / "net", (1, 2), (2,))
    (folder / "model.safetensors").unlink()
    with pytest.raises(AssertionError, match=r"net: not a checkpoint, model.safetensors is missing"):
        run(monkeypatch, "push", folder, NAME)
    with pytest.raises(AssertionError, match="net: exists already"):
        run(monkeypatch, "pull", NAME, "--out", folder)
