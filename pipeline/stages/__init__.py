"""One module per rule: takes a node's params, the runtime section and the paths of its inputs to a call of `dkd`."""
