from dkd.trace import SALT, trace


def run(params, runtime, inputs, out):
    trace(out)
    (out / "classes.txt").write_text("background\ndisc\n")
    (out / "splits").mkdir()
    (out / "splits" / "train.txt").write_text(f"{params}{SALT}")
