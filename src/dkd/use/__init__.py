"""Uses of a trained network: label images, explain predictions, learn further classes, import released weights."""
