from dkd import evaluation


def run(params, runtime, inputs, out):
    evaluation.evaluate(params, inputs["checkpoint"], out)
