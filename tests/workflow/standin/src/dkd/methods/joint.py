from dkd import losses

NAME = "joint"
SCALE = losses.SCALE
