"""A number between 0 and 1 for each row, by a hash of its values: the same in every process, independent of other rows."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from headrace.core.errors import DeclarationError

if TYPE_CHECKING:
    import pandas as pd

PERSON = b"headrace.split"


def places(values: pd.DataFrame, seed: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The place of each row, from 0 to 1 (not included), even over different values.

    Args:
        values: what a row is known by, as texts; two rows with the same have the same place.
        seed: another one gives other places.
    """
    columns = [values[name].astype(str) for name in values.columns]
    texts = ("\x1f".join(parts) for parts in zip(*columns, strict=True))
    salt = seed.to_bytes(8, "little", signed=True)
    numbers = [blake2b(text.encode(), digest_size=8, salt=salt, person=PERSON).digest() for text in texts]
    return np.frombuffer(b"".join(numbers), dtype="<u8").astype(np.float64) / 2.0**64


def check_share(what: str, share: object, seed: object) -> None:
    """Refuses a share that holds out nothing or everything, and a seed that is no whole number.

    Raises:
        DeclarationError: it is one of these.
    """
    if not isinstance(share, float | int) or isinstance(share, bool) or not 0 < share < 1:
        raise DeclarationError(f"{what}(share={share!r}) is not possible.", hint="A share between 0 and 1: 0.2.")
    if not isinstance(seed, int) or isinstance(seed, bool) or abs(seed) >= 2**63:
        raise DeclarationError(f"{what}(seed={seed!r}) is not possible.", hint="A whole number: 0.")
