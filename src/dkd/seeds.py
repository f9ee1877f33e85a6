"""Seeds of independent random streams, derived from their purpose; knows nothing of what is drawn."""

import hashlib


def derive(*parts: int | str) -> int:
    """A 63-bit seed determined by all parts, in order: derive(seed, step, epoch, image_id)."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
