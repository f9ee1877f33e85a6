import json
import logging

from dkd.trace import alone, number, trace

log = logging.getLogger("dkd")


def train(method, params, tasks, previous, out):
    trace(out)
    with alone():
        log.info("epoch 1 of 1")
    value = number(method.SCALE, params, tasks / "tasks.json", previous and previous / "step.json")
    (out / "model.safetensors").write_bytes(b"x" * 1000)
    (out / "step.json").write_text(json.dumps({"value": value}))
    (out / "train.csv").write_text("epoch,loss\n1,0.5\n")
    (out / "loss.csv").write_text("iteration,epoch,total\n1,1.0,0.5\n")
    return {"device": "cpu", "images": 3}
