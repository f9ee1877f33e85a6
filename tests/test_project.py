"""The files around the code name commands, files and versions that exist; no image is built here."""

import json
import re
import shutil
import subprocess
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TARGETS = set(re.findall(r"^([\w./-]+):(?!=)", (ROOT / "Makefile").read_text(), re.M))
WORDS = {"FROM", "RUN", "ARG", "WORKDIR", "COPY", "ENV", "CMD"}


def instructions() -> list[tuple[str, str]]:
    """Words and arguments of the Dockerfile, without comments, continued lines joined."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.M).replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in text.splitlines() if line.strip()]


def arguments(word: str) -> list[str]:
    return [rest for each, rest in instructions() if each == word]


def ours() -> list[str]:
    """Files under version control, or all of them where there is none."""
    listed = subprocess.run(["git", "-C", ROOT, "ls-files"], capture_output=True, text=True, check=False)
    return listed.stdout.splitlines() or pytest.skip("no git here")


def assert_python_is_supported(image: str) -> None:
    version = re.match(r"python:(\d+)\.(\d+)", image)
    lowest = re.match(r">=(\d+)\.(\d+)", PROJECT["requires-python"])
    assert tuple(map(int, version.groups())) >= tuple(map(int, lowest.groups()))


def test_the_image_is_made_of_what_exists():
    assert {word for word, _ in instructions()} <= WORDS
    base, final = arguments("FROM")
    assert_python_is_supported(base)
    assert base.endswith(" AS tools") and final == "tools AS dkd"
    assert arguments("COPY") == [". ."] and arguments("WORKDIR") == ["/dkd"]
    made = re.findall(r"\bmake (\S+)", " ".join(arguments("RUN"))) + json.loads(arguments("CMD")[0])[1:]
    assert made and set(made) <= TARGETS
    assert set(arguments("ARG")[0].split("=")[:1]) == set(re.findall(r"\$(\w+)", " ".join(arguments("RUN"))))


def test_the_image_gets_all_files_and_nothing_that_is_made():
    """Files under version control reach the image, apart from settings of git and the empty folder of raw data."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]

    def is_left_out(path: str) -> bool:
        parts = [path, *(parent.as_posix() for parent in Path(path).parents)]
        return any(
            fnmatch(part, pattern.removeprefix("**/")) for pattern in patterns for part in (*parts, Path(path).name)
        )

    assert [path for path in ours() if is_left_out(path)] == ["data/raw/.gitignore"]
    ignored = [line.strip("/") for line in (ROOT / ".gitignore").read_text().splitlines()]
    assert [path for path in ignored if not is_left_out(path)] == []


def test_the_development_container_is_the_first_stage():
    content = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    build, folder = content["build"], ROOT / ".devcontainer"
    assert (folder / build["dockerfile"]).resolve() == ROOT / "Dockerfile"
    assert (folder / build["context"]).resolve() == ROOT
    assert f" AS {build['target']}" in arguments("FROM")[0]
    assert content["postCreateCommand"].split()[0] == "make" and content["postCreateCommand"].split()[1] in TARGETS


def test_github_runs_the_script_that_every_checkout_runs():
    content = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    # YAML reads the key `on` as true.
    assert set(content[True]) == {"push", "pull_request"} and content["permissions"] == {"contents": "read"}
    [job] = content["jobs"].values()
    assert_python_is_supported(job["container"])
    assert [step["run"] for step in job["steps"] if "run" in step] == ["bash .ci/run"]
    script = (ROOT / ".ci" / "run").read_text()
    assert set(re.findall(r"^make (\S+)", script, re.M)) <= TARGETS


@pytest.mark.parametrize("name", ["bug", "wish"])
def test_forms_ask_once_for_each_thing(name):
    content = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / f"{name}.yml").read_text())
    fields = [field["id"] for field in content["body"]]
    assert content["name"] and content["description"] and len(set(fields)) == len(fields) > 1
    assert any(field.get("validations", {}).get("required") for field in content["body"])


def test_the_catalog_of_workflows_is_told_what_is_there():
    content = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    deployment = content["software-stack-deployment"]
    environments = [path for path in ours() if path.endswith("environment.yaml")]
    assert deployment["conda"] is True and environments
    assert content["mandatory-flags"]["flags"] == "" and (ROOT / "Snakefile").is_file()
    assert content["report"] is True and "report(" in (ROOT / "Snakefile").read_text()


def test_every_extra_that_a_page_names_exists():
    pages = "\n".join((ROOT / path).read_text() for path in ours() if path.endswith((".md", ".py")))
    named = {word for words in re.findall(r'-e "?\.\[([\w,]+)\]', pages) for word in words.split(",")}
    assert {"heic", "onnx", "video"} <= named <= set(PROJECT["optional-dependencies"])


def test_make_image_builds_the_dockerfile_where_docker_is(tmp_path):
    """Docker itself is pretended: it writes down what it is asked for."""
    docker, asked = tmp_path / "docker", tmp_path / "asked"
    without = subprocess.run(
        [shutil.which("make"), "image"],
        cwd=ROOT,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert without.returncode and without.stdout.startswith("docker is missing")
    docker.write_text(f'#!/bin/sh\necho "$@" > {asked}\n')
    docker.chmod(0o755)
    found = subprocess.run(
        ["make", "image", "TORCH_INDEX=address"], cwd=ROOT, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, check=False
    )
    assert found.returncode == 0
    assert asked.read_text() == "build --tag dkd --build-arg TORCH_INDEX=address .\n"
    assert "TORCH_INDEX" in arguments("ARG")[0]
