from dkd import losses

NAME = "dkd"
SCALE = losses.SCALE
OPTIONS = {"start": ("random", "auxiliary"), "kd": 5.0}
