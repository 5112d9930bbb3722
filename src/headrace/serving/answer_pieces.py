"""The pieces of an answer that streams, and its record in the log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, cast

from headrace.core.errors import HeadraceError
from headrace.serving.answer_errors import refused
from headrace.serving.messages import RefusedRequestError

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.serving.answer_threads import AnswerStream
    from headrace.serving.predictors.chain import TimedAnswer

LOG = logging.getLogger(__name__)


class AnswerPieces:
    """The pieces of an answer that streams, which is in the log before its end is told.

    Where the log is required, the last piece waits for it. Of an answer that fails, or whose caller leaves, the log has what there
    is of it.

    Args:
        pieces: of the answer.
        keep: writes the answer into the log; it raises RefusedRequestError where a log that is required cannot take it.
        required: whether the log is.
    """

    def __init__(self, pieces: AnswerStream, keep: Callable[[TimedAnswer], None], *, required: bool) -> None:
        self._pieces, self._to_log, self._required = pieces, keep, required
        self._begun = self._kept = False
        self._next: str | None = None  # where the log is required, the piece that is held until another one is there

    def __aiter__(self) -> AnswerPieces:
        return self

    async def __anext__(self) -> str:
        """The next piece."""
        self._begun = True
        try:
            if self._required and self._next is None:
                self._next = await anext(self._pieces)
            piece = await anext(self._pieces)
        except StopAsyncIteration:
            self._keep(self._pieces.answer)
            if self._next is None:
                raise
            piece, self._next = self._next, None
            return piece
        except HeadraceError as error:
            self._keep(self._pieces.so_far("error"))
            raise refused(error) from error
        if self._required:
            piece, self._next = cast("str", self._next), piece
        return piece

    def cancel(self) -> None:
        """Nobody waits for what still comes."""
        self._pieces.cancel()
        if not self._begun:
            return  # it failed before its first piece
        try:
            self._keep(self._pieces.so_far("cancelled"))
        except RefusedRequestError as error:
            LOG.error("an answer whose caller has left is not in the log: %s", error)  # noqa: TRY400  # its place says nothing

    def _keep(self, answer: TimedAnswer | None) -> None:
        """Once."""
        if answer is not None and not self._kept:
            self._kept = True
            self._to_log(answer)
