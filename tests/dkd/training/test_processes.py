"""A training shared by two processes."""

import json
import multiprocessing
import os
import shutil
import socket
import sys
from multiprocessing import forkserver

import pytest
import torch

from dkd import checkpoint
from dkd.methods import dkd, joint, joint_unknown, plop, rcil_terms, ssul, star
from tests.dkd.conftest import LATER, SPEC
from tests.dkd.training.conftest import base_of, learn, recipe_of, watch

pytestmark = pytest.mark.slow
DIED = 9
METHODS = {"joint": joint, "dkd": dkd, "plop": plop, "rcil_terms": rcil_terms, "ssul": ssul, "star": star}


def work(rank, port, prepared, out, method, dies, changes):
    """One of two processes: train, write down the total of every iteration, and die at iteration `dies`."""
    here = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
    here |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in here.items()})
    losses = []

    def look(total):
        losses.append(total.item())
        if len(losses) == dies:
            os._exit(DIED)
        return total

    learn(prepared, out, watch(METHODS[method], look), **changes)
    out.with_name(f"{out.name}-{rank}.json").write_text(json.dumps(losses))


@pytest.fixture(scope="module")
def forks():
    """Starts forks of a process that has loaded torch and not yet used it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with pytest.MonkeyPatch.context() as patch:
        # That process loads the code under test, not what is installed.
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        forkserver.ensure_running()
    return context


def in_two(forks, prepared, out, method="joint", dies=None, **changes):
    """Train in two processes, the second of which may die; the exit statuses, and the mean total of every iteration."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    out.parent.mkdir(exist_ok=True)
    given = [(rank, port, prepared, out, method, dies if rank else None, changes) for rank in (0, 1)]
    ranks = [forks.Process(target=work, args=arguments, daemon=True) for arguments in given]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(120)
    files = [out.with_name(f"{out.name}-{rank}.json") for rank in (0, 1)]
    losses = [json.loads(file.read_text()) for file in files if file.exists()]
    return [rank.exitcode for rank in ranks], torch.tensor(losses, dtype=torch.float64).mean(0)


def test_two_processes_have_the_losses_of_one(forks, prepared, alone, soft_base, tmp_path):
    """dkd has frozen batch norms, plop synchronised ones, as has the base, here without dropout; ssul a frozen
    network.
    """
    step = {"previous": alone.folder, "recipe": LATER._replace(epochs=7)}
    soft, pooled = ({"previous": soft_base.folder, "recipe": recipe_of(x, epochs=7)} for x in (plop, rcil_terms))
    base = base_of(prepared, tmp_path / "unknown", method=joint_unknown).folder
    still = {"previous": base, "recipe": recipe_of(ssul, epochs=7)}
    plain = {"network": {**SPEC, "dropout": 0.0}}
    for method, options in ((dkd, step), (plop, soft), (rcil_terms, pooled), (ssul, still), (joint, plain)):
        one, name = [], method.__name__.rpartition(".")[2]
        learn(
            prepared,
            tmp_path / f"{name}1",
            watch(method, lambda total, one=one: one.append(total.item()) or total),
            **options,
        )
        codes, two = in_two(forks, prepared, tmp_path / f"{name}2", name, **options)
        one = torch.tensor(one, dtype=torch.float64)
        assert codes == [0, 0] and len(one) >= 20 and one.std() > 0.05
        apart = (one - two).abs()
        if method in (plop, rcil_terms):
            # Norms of what is all but 0 in the first iterations: their gradients amplify rounding, by how much depends
            # on the processor.
            apart /= one
            assert apart[:4].max() < 1e-5 and apart.max() < 2e-3, name
        else:
            assert apart.max() < 1e-5, name


def test_two_processes_replay_as_many_features_as_one(forks, prepared, alone, tmp_path):
    """Each process draws its own, so the losses are others; what is kept of old classes is the same."""
    options = {"previous": alone.folder, "recipe": recipe_of(star, epochs=2)}
    learn(prepared, tmp_path / "one", star, **options)
    codes, losses = in_two(forks, prepared, tmp_path / "two", "star", **options)
    assert codes == [0, 0] and losses.isfinite().all()
    one, two = (checkpoint.kept(tmp_path / name) for name in ("one", "two"))
    assert all(torch.equal(one[name][:4], two[name][:4]) for name in one if name != "background")
    assert torch.equal(one["cells"], two["cells"]) and torch.equal(one["background"], two["background"])


def test_two_processes_resume_two_exactly_and_one_resumes_two_with_a_warning(forks, prepared, tmp_path, caplog):
    assert in_two(forks, prepared, tmp_path / "undisturbed")[0] == [0, 0]
    state = {"work": tmp_path / "state", "save_minutes": 1e-9}
    codes, _ = in_two(forks, prepared, tmp_path / "died", dies=8, **state)
    assert codes[0] and codes[1] == DIED
    shutil.copytree(tmp_path / "state", tmp_path / "copy")
    codes, losses = in_two(forks, prepared, tmp_path / "again", **state)
    assert codes == [0, 0] and len(losses) == 20 - 7
    for name in ("model.safetensors", "train.csv", "loss.csv"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes()
    learn(prepared, tmp_path / "one", work=tmp_path / "copy")
    assert "the state was saved by 2 x cpu, this is 1 x cpu: continues with other" in caplog.text
