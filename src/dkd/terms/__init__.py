"""Terms of methods other than the paper's: losses and labels, as functions of tensors.

`bands` is what they have in common: losses over logits at full size, in little memory.
"""
