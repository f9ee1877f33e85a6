"""Which devices are taken, and what is said of others."""

import pytest
import torch
from accelerate.state import AcceleratorState

from dkd import devices
from dkd.errors import InputError


@pytest.mark.parametrize("cpu, said", [("AVX2", True), ("AVX512", False)])
def test_emulated_bf16_is_a_warning(cpu, said, monkeypatch, caplog):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: cpu)
    for precision in ("bf16", "fp32"):
        AcceleratorState._reset_state(reset_partial_state=True)
        devices.accelerator("cpu", None, precision)
    AcceleratorState._reset_state(reset_partial_state=True)
    assert [record.levelname for record in caplog.records if "bf16" in record.message] == ["WARNING"] * said


def machine(monkeypatch, cuda=0, mps=False):
    """This machine as if it had so many CUDA devices, and Apple's GPU or not."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("device", "cuda", "mps", "line"),
    [
        ("mps", 0, False, "device 'mps': no MPS device is available; this machine has auto, cpu"),
        ("mps", 1, False, "device 'mps': no MPS device is available; this machine has auto, cpu, cuda, cuda:0"),
        ("cuda", 0, False, "device 'cuda': no CUDA device is available; this machine has auto, cpu"),
        ("cuda", 0, True, "device 'cuda': no CUDA device is available; this machine has auto, cpu, mps"),
        ("cuda:0", 0, False, "device 'cuda:0': no CUDA device is available; this machine has auto, cpu"),
        ("cuda:2", 2, False, "device 'cuda:2': no such CUDA device is available; this machine has auto, cpu, cuda, c"),
        ("cuda:-1", 2, False, "device 'cuda:-1': unknown device; this machine has auto, cpu, cuda, cuda:0, cuda:1"),
        ("cuda:00", 2, False, "device 'cuda:00': no such CUDA device is available; this machine has "),
        ("mps:0", 0, True, "device 'mps:0': unknown device; this machine has auto, cpu, mps"),
        ("cdua", 0, False, "device 'cdua': unknown device; this machine has auto, cpu"),
        ("", 0, False, "device '': unknown device; this machine has auto, cpu"),
    ],
)
def test_a_device_that_is_not_there_is_one_line(device, cuda, mps, line, monkeypatch):
    machine(monkeypatch, cuda, mps)
    with pytest.raises(InputError) as caught:
        devices.accelerator(device, 1, "fp32")
    assert str(caught.value).startswith(line) and "\n" not in str(caught.value)
