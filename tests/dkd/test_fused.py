"""The kernel of the losses against their definition: by Triton's interpreter, and on a GPU where there is one."""

import importlib.util
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from dkd import losses
from dkd.losses import Target
from tests import plain

ROOT = Path(__file__).parents[2]
needs_triton = pytest.mark.skipif(not importlib.util.find_spec("triton"), reason="triton is not installed")


def compare(device: str, kernel) -> None:
    """Each term and its gradient by the kernel, and in the textbook form in double precision."""
    assert kernel.works(torch.device(device))
    calls = []

    class Counted:
        fits = kernel.fits

        @staticmethod
        def total_and_gradient(*args, **options):
            calls.append(options)
            return kernel.total_and_gradient(*args, **options)

    losses._kernel = lambda device: Counted
    torch.manual_seed(0)

    def check(form, definition, shape, size):
        # As a network gives them: another order in memory.
        x = (torch.randn(shape) * 4).to(memory_format=torch.channels_last)
        ours = x.to(device).requires_grad_()
        exact = x.double().requires_grad_()
        before = len(calls)
        total = form(ours)
        assert len(calls) == before + 1, "the kernel was not used"
        expected = definition(plain.upsample(exact, size))
        assert total.dtype == torch.float32 and total.item() == pytest.approx(expected.item(), rel=1e-6)
        (found,), (known,) = torch.autograd.grad(3 * total, ours), torch.autograd.grad(3 * expected, exact)
        assert (found.cpu() - known).abs().max() <= 3e-6 * known.abs().max()

    size = (8, 4)
    teacher = torch.randn(1, 2, 2, 1)
    check(
        lambda x: losses.soft_bce(x, teacher.to(device), size),
        lambda full: plain.soft_bce(full, plain.upsample(teacher.double(), size)),
        (1, 2, 2, 1),
        size,
    )
    check(lambda x: losses.auxiliary(x, (5, 10)), plain.auxiliary, (1, 1, 1, 2), (5, 10))
    labels = torch.tensor([0, 3, 4, 5, 255], dtype=torch.uint8)[torch.randint(0, 5, (2, 4, 8))]
    for void in ("negative", "ignore"):
        target = Target(labels.to(device), 4, 2.5, void, None)
        on_cpu = target._replace(labels=labels)
        check(
            lambda x, target=target: losses.mbce(x, target), lambda y, t=on_cpu: plain.mbce(y, t), (2, 2, 1, 2), (4, 8)
        )
    seen = torch.tensor([[True, False], [False, True]])
    target = Target(labels.to(device), 4, 2.5, "negative", seen.to(device))

    def where_labelled(full):
        truth = plain.one_hot(labels, 4, 2, full.dtype)
        weight = torch.tensor(2.5, dtype=full.dtype)
        terms = F.binary_cross_entropy_with_logits(full, truth, pos_weight=weight, reduction="none")
        return (terms * seen[..., None, None]).mean((0, 2, 3)).sum()

    check(lambda x: losses.mbce(x, target), where_labelled, (2, 2, 1, 2), (4, 8))


@pytest.mark.slow
@needs_triton
def test_the_kernel_gives_what_the_definition_gives():
    work = "from dkd import fused; from tests.dkd.test_fused import compare; compare('cpu', fused)"
    given = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(map(str, (ROOT / "src", ROOT)))}
    done = subprocess.run([sys.executable, "-c", work], env=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@needs_triton
def test_the_kernel_gives_it_on_a_gpu(monkeypatch):
    kernel = losses._kernel(torch.device("cuda"))
    assert kernel, "it does not work here"
    monkeypatch.setattr(losses, "_kernel", None)
    compare("cuda", kernel)


@needs_triton
@pytest.mark.parametrize("arch", [80, 90])
def test_the_kernel_compiles_for_gpus(arch, tmp_path, monkeypatch):
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, compile

    from dkd import fused

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    given = {"factor": 16, "side": 16, "soft": True, "hard": True, "masked": True}
    kinds = dict.fromkeys(fused._kernel.arg_names, "i32") | dict.fromkeys(given, "constexpr")
    kinds |= {"logits": "*fp32", "teacher": "*fp32", "labels": "*u8", "visible": "*u8", "parts": "*fp32"}
    kinds |= {"pos_weight": "fp32"}
    options = {"num_warps": 1, "enable_fp_fusion": True}
    built = compile(ASTSource(fused._kernel, kinds, given), target=GPUTarget("cuda", arch, 32), options=options)
    assert built.asm["cubin"]


def test_without_a_gpu_there_is_no_kernel():
    assert losses._kernel(torch.device("cpu")) is None


@needs_triton
def test_sizes_that_the_kernel_leaves_to_the_other_form():
    from dkd import fused

    x = torch.zeros(1, 2, 3, 4)
    assert fused.fits(x, (48, 64)) and fused.fits(x, (15, 20))
    assert not fused.fits(x, (48, 65)) and not fused.fits(x, (48, 60)) and not fused.fits(x, (3, 4))
    assert not fused.fits(x.double(), (48, 64)) and not fused.fits(x[:, :0], (48, 64))


@needs_triton
def test_a_gpu_on_which_the_kernel_does_not_run_or_errs_is_told(monkeypatch, caplog):
    from dkd import fused

    monkeypatch.setattr(logging.getLogger("dkd"), "propagate", True)

    def fails(*args, **options):
        raise RuntimeError("Failed to find C compiler.\nSet CC.")

    monkeypatch.setattr(fused, "total_and_gradient", fails)
    assert not fused.works(torch.device("cpu"))
    monkeypatch.setattr(fused, "total_and_gradient", lambda *args: (torch.zeros(()), torch.zeros(())))
    assert not fused.works(torch.device("cpu"))
    first, second = (record.getMessage() for record in caplog.records)
    assert "(RuntimeError: Failed to find C compiler.)" in first and "(its result is wrong)" in second
