"""The keys that describe a network (`model:` in params.yaml and step.json), and the range of each value.

Imported without torch; knows no network.
"""

from dkd.json_file import Check, listed, number, text, whole

STRIDES = (8, 16, 32)
MOST_CHANNELS, MOST_DILATION = 4096, 512
"""Bounds memory: of a network's weights, and of the padding of its convolutions."""
MOST_DILATIONS = 16

CHECKS: dict[str, Check] = {
    "backbone": (text, "the name of a timm model"),
    "pretrained": (lambda value: type(value) is bool, "true or false"),
    "frozen": (lambda value: type(value) is bool, "true or false"),
    "output_stride": (lambda value: type(value) is int and value in STRIDES, "8, 16 or 32"),
    "norm_momentum": (number(0, 1), "a number from 0 to 1"),
    "aspp_channels": (whole(1, MOST_CHANNELS), f"an integer from 1 to {MOST_CHANNELS}"),
    "aspp_dilations": (
        listed(whole(1, MOST_DILATION), 0, MOST_DILATIONS),
        f"a list of at most {MOST_DILATIONS} integers from 1 to {MOST_DILATION}",
    ),
    "dropout": (number(0, 1), "a number from 0 to 1"),
    "head": (lambda value: value in ("sigmoid", "softmax", "unknown"), "sigmoid, softmax or unknown"),
    "mean": (listed(number(-1e3, 1e3), 3, 3), "three numbers"),
    "std": (listed(number(1e-3, 1e3), 3, 3), "three positive numbers"),
}
OPTIONAL = ("frozen", "head", "mean", "std")
