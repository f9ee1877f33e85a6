"""Metrics from confusion matrices: intersection over union (IoU) per class and its means, in per cent.

Knows nothing of networks or images. A class that neither occurs nor is predicted has no IoU (None) and is left out of
means, unless absent classes count as zero (as released).
"""

from collections.abc import Sequence

import numpy as np


def confusion(truth: np.ndarray, prediction: np.ndarray, ids: int) -> np.ndarray:
    """Counts (ids, ids) int64, rows = truth, columns = prediction; truth outside 0..ids-1 (void) is left out.

    Both integer arrays of one shape.
    """
    # Void gets a row of its own: dropping that is cheaper than dropping its pixels.
    pairs = np.minimum(truth, ids).astype(np.int64) * ids + prediction
    return np.bincount(pairs.ravel(), minlength=(ids + 1) * ids).reshape(ids + 1, ids)[:ids]


def iou(counts: np.ndarray, absent: str) -> list[float | None]:
    """IoU per id in per cent; where the union is empty None (`absent` = `leave_out`) or 0 (`zero`)."""
    hits = np.diag(counts)
    union = counts.sum(0) + counts.sum(1) - hits
    empty = 0.0 if absent == "zero" else None
    return [100 * int(hit) / int(whole) if whole else empty for hit, whole in zip(hits, union, strict=True)]


def mean(values: Sequence[float | None]) -> float | None:
    """Mean of the values that are not None; None if there is none."""
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if present else None


def harmonic(a: float | None, b: float | None) -> float | None:
    """Harmonic mean; None if either is, 0 if both are 0."""
    if a is None or b is None:
        return None
    return 2 * a * b / (a + b) if a + b else 0.0


def summary(counts: np.ndarray, names: Sequence[str], base: int, count_background: bool, absent: str) -> dict:
    """The metrics of one protocol.

    counts (1+K, 1+K) and `names` of background and the K classes learned so far; `base`: number of classes of step 0;
    `absent`: see `iou`. In the result, base = mean over the classes of step 0, with background if `count_background`
    (paper: "old"); new = over all later ones; all = over both; harmonic = harmonic mean of base and new. `foreground`
    holds the same without background.
    """
    per_id = iou(counts, absent)
    total = int(counts.sum())
    return {
        **_means(per_id, base, first=0 if count_background else 1),
        "pixel_accuracy": 100 * int(np.trace(counts)) / total if total else None,
        "foreground": _means(per_id, base, first=1),
        "per_class": dict(zip(names, per_id, strict=True)),
    }


def _means(per_id: Sequence[float | None], base: int, first: int) -> dict[str, float | None]:
    old, new = mean(per_id[first : base + 1]), mean(per_id[base + 1 :])
    return {"all": mean(per_id[first:]), "base": old, "new": new, "harmonic": harmonic(old, new)}
