"""ONNX graphs, run by ONNX Runtime in one thread, in the same way on every path.

A graph takes the matrix as one tensor of rows by features, or features by name, one tensor each. In the matrix a text
is the index of its value among the learned ones, and missing is NaN; by name it is the text, and missing is empty. Its
result is its last tensor of floating point numbers: classifiers return the labels before the probabilities.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.core.errors import UserCodeError
from headrace.core.extras import need

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FILE = "model.onnx"
FLOATS = {"tensor(float)": "float32", "tensor(double)": "float64"}
WHOLE = {"tensor(int64)": "int64", "tensor(int32)": "int32"}
TEXT = "tensor(string)"
Numbers = np.ndarray[Any, np.dtype[np.float64]]


class Graph:
    """A graph, ready to run; several threads may.

    Args:
        content: the serialised model.

    Raises:
        UserCodeError: the runtime does not take it, or it cannot take rows and give numbers.
        MissingExtraError: ONNX Runtime is not installed.
    """

    def __init__(self, content: bytes) -> None:
        runtime = need("onnxruntime", "onnx", "this model")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session: Any = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise UserCodeError(f"ONNX Runtime does not take the graph: {_line(error)}") from error
        self._inputs: list[Any] = list(self._session.get_inputs())
        for each in self._inputs:
            if each.type not in FLOATS | WHOLE and each.type != TEXT:
                raise UserCodeError(
                    f"the graph's input {each.name!r} is {each.type}; it may be floats, integers or texts."
                )
            if each.shape and isinstance(each.shape[0], int):
                raise UserCodeError(
                    f"the graph's input {each.name!r} has {each.shape[0]} rows; the first dimension must be open.",
                    hint="Export it with a dynamic first axis: dynamic_axes={'X': {0: 'rows'}}.",
                )
        floats = [each.name for each in self._session.get_outputs() if each.type in FLOATS]
        if not floats:
            kinds = ", ".join(f"{each.name} {each.type}" for each in self._session.get_outputs())
            raise UserCodeError(
                f"the graph gives no tensor of floating point numbers: {kinds}.",
                hint="A converter of scikit-learn gives maps unless zipmap=False.",
            )
        self._output = floats[-1]

    def numbers(self, block: Numbers, names: Sequence[str], texts: Mapping[str, Sequence[str]]) -> Numbers:
        """What the graph gives, as float64: one row a row of the block.

        Args:
            block: the matrix.
            names: of its columns.
            texts: text feature → its values, in the order of their places.

        Raises:
            UserCodeError: the graph asks for something else, or raised.
        """
        feeds = self._feeds(block, names, texts)
        try:
            (given,) = self._session.run([self._output], feeds)
        except Exception as error:
            raise UserCodeError(f"the graph raised {type(error).__name__}: {_line(error)}") from error
        numbers = np.asarray(given, dtype="float64")
        return numbers[:, 0] if numbers.ndim == 2 and numbers.shape[1] == 1 else numbers

    def _feeds(self, block: Numbers, names: Sequence[str], texts: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        first = self._inputs[0]
        if len(self._inputs) == 1 and first.name not in names:
            return {first.name: _tensor(first, block)}
        feeds: dict[str, Any] = {}
        for each in self._inputs:
            if each.name not in names:
                raise UserCodeError(
                    f"the graph's input {each.name!r} is no feature.",
                    hint=f"One input takes the matrix; several are named as features: {', '.join(names[:20])}.",
                )
            values = block[:, names.index(each.name)]
            made = _texts(each, values, texts) if each.type == TEXT else _tensor(each, values)
            feeds[each.name] = made[:, None] if len(each.shape) == 2 else made
        return feeds


def _tensor(given: Any, values: Numbers) -> Any:
    if given.type in FLOATS:
        with np.errstate(over="ignore"):  # beyond float32 is infinite, as the graph would compute it
            return values.astype(FLOATS[given.type])
    if given.type == TEXT:
        raise UserCodeError(f"the graph's input {given.name!r} takes texts, and the matrix has numbers.")
    whole = np.isfinite(values).all() and (values == np.trunc(values)).all()
    limits = np.iinfo(WHOLE[given.type])
    if not whole or (len(values) and not limits.min <= values.min() <= values.max() <= limits.max):
        raise UserCodeError(
            f"the graph's input {given.name!r} takes whole numbers, and some are missing, broken or too large."
        )
    return values.astype(WHOLE[given.type])


def _texts(given: Any, values: Numbers, texts: Mapping[str, Sequence[str]]) -> Any:
    if given.name not in texts:
        raise UserCodeError(f"the graph's input {given.name!r} takes texts, and the feature is a number.")
    known = np.asarray([*texts[given.name], ""], dtype=object)
    return known[np.where(np.isnan(values), len(known) - 1, values).astype("int64")]


def _line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
