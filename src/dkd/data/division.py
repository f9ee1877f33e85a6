"""Divides the images of a data set between training and validation. Knows nothing of files."""

from collections.abc import Collection, Mapping

from dkd import seeds


def divide(shown: Mapping[str, Collection[int]], share: float, seed: int) -> tuple[list[str], list[str]]:
    """Ids for training, about `share` of all, and for validation; each list sorted. The same on every machine.

    `shown` has the classes of two images or more. The rarest class comes first; of each, in random order, images go
    to validation until it has its share there (one at least), at first only such that no other class gets more than its
    share. Every class keeps an image for training; one that has a single image has it there.
    """
    order = sorted(shown, key=lambda id: (seeds.derive(seed, "convert", id), id))
    showing: dict[int, list[str]] = {}
    for id in order:
        for label in shown[id]:
            showing.setdefault(label, []).append(id)

    def aim(images: int) -> int:
        return min(max(round(images * (1 - share)), 1), images - 1)

    most = {label: len(ids) - 1 for label, ids in showing.items()}
    aims = {label: aim(len(ids)) for label, ids in showing.items()}
    have = dict.fromkeys(showing, 0)
    val: set[str] = set()
    for label in sorted(showing, key=lambda label: (len(showing[label]), label)):
        for limit in (aims, most):
            for id in showing[label]:
                if have[label] >= aims[label]:
                    break
                if id not in val and all(have[each] < limit[each] for each in shown[id]):
                    val.add(id)
                    for each in shown[id]:
                        have[each] += 1
    plain = [id for id in order if not shown[id]]
    val.update(plain[: max(aim(len(order)) - len(val), 0)])
    # Nothing could be spared: every image is the only one of a class.
    val = val or {order[-1]}
    return sorted(set(shown) - val), sorted(val)
