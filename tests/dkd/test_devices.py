"""What is said of a device."""

import pytest
import torch
from accelerate.state import AcceleratorState

from dkd import devices


@pytest.mark.parametrize("cpu, said", [("AVX2", True), ("AVX512", False)])
def test_emulated_bf16_is_a_warning(cpu, said, monkeypatch, caplog):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: cpu)
    for precision in ("bf16", "fp32"):
        AcceleratorState._reset_state(reset_partial_state=True)
        devices.accelerator("cpu", None, precision)
    AcceleratorState._reset_state(reset_partial_state=True)
    assert [record.levelname for record in caplog.records if "bf16" in record.message] == ["WARNING"] * said
