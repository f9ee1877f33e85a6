"""Checkpoints on the Hugging Face Hub: upload with a model card, and download. A thin layer over huggingface_hub.

Only model.safetensors, step.json and the card travel: provenance.json names machines and folders, and the card has what
of it others need.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, HfApi, errors

from dkd import checkpoint, json_file
from dkd.checkpoint import Step
from dkd.errors import InputError

CARD, RECORD = "README.md", "provenance.json"
FILES = (checkpoint.WEIGHTS, checkpoint.STEP)
HEAD = """---
library_name: dkd
pipeline_tag: image-segmentation
tags: [image-segmentation, semantic-segmentation, continual-learning, class-incremental]
---

# {title}

A network for semantic segmentation that learned its classes in steps (class-incremental), trained with
[dkd](https://arxiv.org/abs/2210.05941).
"""


def push(folder: Path, repo: str, *, public: bool) -> str:
    """Upload the checkpoint in `folder` to `repo` ("NAME/MODEL") in one commit; returns its address.

    The repository is created if it does not exist, private unless `public`. Raises InputError where the folder is not a
    checkpoint, or the Hub refuses or cannot be reached.
    """
    step, weights = checkpoint.describe(folder), folder / checkpoint.WEIGHTS
    if not weights.is_file():
        raise InputError(f"{folder}: not a checkpoint, {checkpoint.WEIGHTS} is missing")
    content = {**{name: folder / name for name in FILES}, CARD: card(step, _record(folder), repo).encode()}
    files = [CommitOperationAdd(name, str(each) if isinstance(each, Path) else each) for name, each in content.items()]
    api = HfApi()
    with _explained(repo):
        api.create_repo(repo, private=not public, exist_ok=True)
        return api.create_commit(repo, files, commit_message=f"Upload {_title(step)}").repo_url


def pull(repo: str, revision: str | None, out: Path) -> Step:
    """Download the checkpoint in `repo` ("NAME/MODEL") into the folder `out`; returns its step.json.

    `revision`: a branch, tag or commit, or None for the newest. Raises InputError where there is no such checkpoint, or
    the Hub cannot be reached.
    """
    api = HfApi()
    with _explained(repo):
        for name in FILES:
            api.hf_hub_download(repo, name, revision=revision, local_dir=out)
    # The library's notes on what it downloaded.
    shutil.rmtree(out / ".cache", ignore_errors=True)
    return checkpoint.describe(out)


def card(step: Step, record: dict[str, Any], repo: str) -> str:
    """The model card in Markdown; `record` is the content of provenance.json, empty where it is not known."""
    names, learned = [step.class_names[label] for label in step.order], []
    for number, size in enumerate(step.sizes):
        first = sum(step.sizes[:number])
        learned.append(f"| {number} | {', '.join(names[first : first + size])} |")
    facts = {
        "data set": step.dataset,
        "setting": step.setting,
        "method": step.method,
        "step": f"{len(step.sizes) - 1} of a scenario with {' + '.join(map(str, step.sizes))} classes so far",
        "seed": step.seed,
        "backbone": step.model["backbone"],
        "commit": (record.get("git") or {}).get("commit"),
        "versions": ", ".join(f"{name} {value}" for name, value in (record.get("versions") or {}).items() if value),
    }
    lines = [HEAD.format(title=_title(step))]
    lines += ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in facts.items() if value is not None)]
    lines += ["", "| step | classes learned |", "|---|---|", *learned, ""]
    lines += ["## Use", "", "```python", "import dkd", "", f"# dkd pull {repo} --out checkpoint"]
    lines += ['predict = dkd.load("checkpoint")', 'labels = predict("photo.jpg")', "```", ""]
    if "params" in record:
        params = json.dumps(record["params"], indent=1, ensure_ascii=False)
        lines += ["## Parameters of the training", "", "```json", params, "```", ""]
    return "\n".join(lines)


def _title(step: Step) -> str:
    return f"{step.dataset}, {step.method}, step {len(step.sizes) - 1}"


def _record(folder: Path) -> dict[str, Any]:
    path = folder / RECORD
    return json_file.read(path, "restore the file, or remove it") if path.exists() else {}


@contextmanager
def _explained(repo: str) -> Iterator[None]:
    """Turn what the Hub refuses into one line."""
    try:
        yield
    except errors.HFValidationError:
        raise InputError(f"{repo!r} is no name of a repository; write NAME/MODEL") from None
    except errors.LocalTokenNotFoundError:
        raise InputError("no token for the Hub; call `hf auth login`, or set HF_TOKEN") from None
    except errors.RevisionNotFoundError:
        raise InputError(f"{repo}: has no such revision; name a branch, tag or commit of it") from None
    except errors.RepositoryNotFoundError:
        advice = "check the name; for a private one call `hf auth login`, or set HF_TOKEN"
        raise InputError(f"{repo}: no such repository, or no access to it; {advice}") from None
    except errors.LocalEntryNotFoundError:
        raise InputError(f"{repo}: the Hub cannot be reached; check the network") from None
    except errors.EntryNotFoundError:
        raise InputError(f"{repo}: no checkpoint of dkd, {' or '.join(FILES)} is missing") from None
    except errors.HfHubHTTPError as error:
        code = error.response.status_code
        advice = "call `hf auth login`, or set HF_TOKEN to a token that may write there" if code in (401, 403) else ""
        raise InputError(f"{repo}: the Hub refused ({code}); {advice or 'try again later'}") from None
    except (errors.HTTPError, errors.OfflineModeIsEnabled, ConnectionError, TimeoutError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"{repo}: the Hub cannot be reached ({reason}); check the network") from None
