"""Methods of class-incremental learning, one file each; `dkd.training.loop` says what it asks of them."""
