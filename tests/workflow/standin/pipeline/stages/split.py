import json

from dkd.trace import trace


def run(params, runtime, inputs, out):
    trace(out)
    index = (inputs["index"] / "index.csv").read_text()
    (out / "tasks.json").write_text(json.dumps({"index": index, **params}))
