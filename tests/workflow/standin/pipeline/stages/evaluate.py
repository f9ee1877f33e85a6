from dkd import evaluate


def run(params, runtime, inputs, out):
    evaluate.evaluate(params, inputs["checkpoint"], out)
