from importlib import import_module

from dkd.training.loop import train


def run(params, runtime, inputs, out):
    method = import_module(f"dkd.methods.{params['method']}")
    return train(method, params, inputs["tasks"], inputs["previous"], out)
