import json

from dkd.trace import number, trace


def evaluate(params, checkpoint, out):
    trace(out)
    (out / "metrics.json").write_text(json.dumps({"value": number(params, checkpoint / "step.json") / 100}))
    (out / "confusion.npz").write_bytes(b"x")
