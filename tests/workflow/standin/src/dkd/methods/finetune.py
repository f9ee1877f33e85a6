from dkd import losses

NAME = "finetune"
SCALE = losses.SCALE
