from dkd import train
from dkd.methods import joint


def run(params, runtime, inputs, out):
    return train.fit(joint, params, inputs["tasks"], None, out)
