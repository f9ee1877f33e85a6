from dkd import losses

NAME = "finetune"
SCALE = losses.SCALE
OPTIONS = {"start": ("random", "auxiliary"), "kd": 5.0}
