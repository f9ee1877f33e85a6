from dkd import losses

NAME = "kd"
SCALE = losses.SCALE
OPTIONS = {"start": ("random", "auxiliary"), "kd": 5.0}
