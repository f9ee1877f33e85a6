from dkd.methods import joint
from dkd.training import loop as train


def run(params, runtime, inputs, out):
    return train.fit(joint, params, inputs["tasks"], None, out)
