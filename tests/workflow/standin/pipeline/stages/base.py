from dkd.methods import joint
from dkd.training.loop import train


def run(params, runtime, inputs, out):
    return train(joint, params, inputs["tasks"], None, out)
