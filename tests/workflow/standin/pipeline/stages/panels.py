from dkd.trace import number, trace


def run(params, runtime, inputs, out):
    trace(out)
    value = number(params, [inputs[name] / "step.json" for name in ("checkpoint", "previous") if name in inputs])
    (out / "panels.json").write_text(str(value))
    (out / "sheet.png").write_bytes(b"x")
