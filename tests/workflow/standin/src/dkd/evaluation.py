import json

from dkd.trace import alone, number, trace


def evaluate(params, checkpoint, out):
    trace(out)
    with alone():
        value = number(params, checkpoint / "step.json") / 100
    (out / "metrics.json").write_text(json.dumps({"value": value}))
    (out / "confusion.npz").write_bytes(b"x")
