from dkd.trace import number, trace

FIGURES = ("miou", "classes", "forgetting", "confusion", "training", "drift")
DRAWN = ("run", "step", "epoch", "value", "term", "class", "forgetting", "truth", "prediction", "share")
NUMBERS = ("forgetting", "confusion", "training", "drift", "cost")


def run(params, runtime, inputs, out):
    trace(out)
    files = {"evaluate": "metrics.json", "checkpoint": "step.json", "panels": "panels.json", "summary": "summary.json"}
    kinds = {name: name if name == "summary" else [*name.split("/"), "evaluate"][2] for name in inputs}
    there = [inputs[name] / files[kind] for name, kind in kinds.items() if inputs[name].is_dir()]
    value = number(params, there)
    (out / "index.html").write_text(f"<p>{value} of {len(there)} {runtime.get('failed')}</p>")
    for name in FIGURES:
        (out / f"{name}.png").write_bytes(b"x")
        (out / f"{name}.pdf").write_bytes(b"x")
    for name in NUMBERS:
        (out / f"{name}.csv").write_text(f"{','.join(DRAWN)}\n{','.join([str(value)] * len(DRAWN))}\n")
