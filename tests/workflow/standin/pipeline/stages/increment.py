from importlib import import_module

from dkd.training import loop as train


def run(params, runtime, inputs, out):
    method = import_module(f"dkd.methods.{params['method']}")
    return train.fit(method, params, inputs["tasks"], inputs["previous"], out)
