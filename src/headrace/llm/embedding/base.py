"""The contract of embedders, and the checks of the vectors that one returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

from headrace.core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    Vectors: TypeAlias = npt.NDArray[np.float32]


class Embedder(Protocol):
    """Turns texts into vectors.

    The vector of a text does not depend on the other texts of the call. Several threads may use an embedder at once, as the
    answers of a server do; a function of a user, which promises nothing of the kind, is called by one of them after the other.
    """

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    @property
    def dimension(self) -> int:
        """How many numbers a vector has."""
        ...

    @property
    def digest(self) -> str:
        """The identity of the weights: two embedders with one digest give the same vectors."""
        ...

    def embed(self, texts: Sequence[str]) -> Vectors:
        """The vectors of texts, in their order.

        Args:
            texts: any texts, the empty one included.

        Returns:
            An array of shape (texts, `dimension`), float32, each row of length 1.

        Raises:
            DataError: an item is no text, or a vector has another dimension, no length, or a number that is not finite.
        """
        ...


def check_texts(name: str, texts: Sequence[object]) -> None:
    """Refuses items that are no texts, and a text where a list of them is needed.

    Raises:
        DataError: names the position of the first.
    """
    if isinstance(texts, str | bytes):
        raise DataError(f"{name} embeds a list of texts, not a single {type(texts).__name__}.", hint="Write [text].")
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(f"{name} embeds texts; item {position} is {type(text).__name__}.")


def unit(name: str, vectors: object, count: int, dimension: int) -> Vectors:
    """What an embedder computed, as unit vectors.

    Args:
        name: of the embedder.
        vectors: an array, or nested lists of numbers.
        count: how many texts were embedded.
        dimension: how many numbers a vector should have.

    Raises:
        DataError: another shape, with both numbers; a number that is not finite; a vector of length 0.
    """
    import numpy as np

    if count == 0:
        return np.empty((0, dimension), np.float32)
    try:
        array = np.asarray(vectors, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} returned no array of numbers: {error}.") from None
    if array.ndim != 2 or len(array) != count:
        raise DataError(
            f"{name} returned an array of shape {array.shape} for {count} texts.", hint=f"({count}, {dimension})"
        )
    if array.shape[1] != dimension:
        raise DataError(
            f"{name} returned vectors of {array.shape[1]} numbers, and {dimension} are declared.",
            hint=f"Declare dimension={array.shape[1]}, or use the model that the index was declared with.",
        )
    lengths = np.linalg.norm(array, axis=1)
    if bad := np.flatnonzero(~np.isfinite(array).all(axis=1) | ~np.isfinite(lengths)).tolist():
        raise DataError(f"{name} returned a number that is not finite, for text {bad[0]} of {count}.")
    if bad := np.flatnonzero(lengths == 0).tolist():
        raise DataError(f"{name} returned a vector of nothing but zeros, for text {bad[0]} of {count}.")
    return (array / lengths[:, None]).astype(np.float32)
