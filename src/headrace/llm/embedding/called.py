"""Embedders that call something: a user's function, or an endpoint behind a route."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from threading import Lock
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from headrace.core.errors import HeadraceError, UserCodeError
from headrace.llm.embedding.base import check_texts, unit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from headrace.llm.embedding.base import Vectors


# function → its lock, however many indexes use it
_locks: WeakKeyDictionary[Callable[..., object], Lock] = WeakKeyDictionary()
_guard = Lock()


class CalledEmbedder:
    """An embedder that calls a function for each list of texts.

    Args:
        name: what messages call it.
        dimension: how many numbers its vectors have.
        digest: the identity of the vectors.
        call: takes texts and returns as many vectors.
        in_turn: whether threads call it one after the other, also those of other embedders with the same function. Defaults to
            no: it takes several calls at once.
    """

    def __init__(
        self,
        name: str,
        dimension: int,
        digest: str,
        call: Callable[[Sequence[str]], object],
        *,
        in_turn: bool = False,
    ) -> None:
        self.name, self.dimension, self.digest, self._call = name, dimension, digest, call
        self._turn: AbstractContextManager[object] = _lock(call) if in_turn else nullcontext()

    def embed(self, texts: Sequence[str]) -> Vectors:
        """See `Embedder.embed`.

        Raises:
            UserCodeError: the function raised.
            DataError: what it returned is not as many vectors of the dimension.
        """
        check_texts(self.name, texts)
        if not texts:
            return unit(self.name, [], 0, self.dimension)
        try:
            with self._turn:
                vectors = self._call(list(texts))
        except HeadraceError:
            raise
        except Exception as error:
            raise UserCodeError(f"the embedding {self.name} raised {type(error).__name__}: {error}") from error
        return unit(self.name, vectors, len(texts), self.dimension)


def _lock(function: Callable[..., object]) -> Lock:
    with _guard:
        return _locks.setdefault(function, Lock())
