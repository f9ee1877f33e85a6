from dkd import losses

NAME = "kd"
SCALE = losses.SCALE
