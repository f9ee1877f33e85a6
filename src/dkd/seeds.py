"""Seeds for independent random streams, derived from what they are for; knows nothing of who draws."""

import hashlib


def derive(*parts: int | str) -> int:
    """A 63-bit seed that depends on every part and on nothing else: derive(seed, step, epoch, image_id)."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
