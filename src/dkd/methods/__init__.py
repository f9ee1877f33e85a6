"""Methods of class-incremental learning, one file each; `dkd.train` says what it asks of them."""
