from dkd import losses

NAME = "dkd"
SCALE = losses.SCALE
