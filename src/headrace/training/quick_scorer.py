"""LightGBM's trees for many rows at a time, by bit vectors instead of by walking each tree: the same bits in a quarter of
the time of one core.

The method is QuickScorer (Lucchese et al., SIGIR 2015). The leaves of a tree, from left to right, are bits of a number. Each
split that a row takes to the right rules out the leaves on its left; what a value rules out depends on nothing but between
which two thresholds of its feature it lies. So a row's leaf in each tree is the lowest bit that remains when the numbers of
all its features are combined by AND, which numpy does for all trees at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from headrace.training.difference import Numbers

    Link = Callable[[Numbers], Numbers]

BLOCK = 1024  # rows whose numbers stay in the core's own cache
PIECE = 8 * BLOCK  # rows whose values are brought between thresholds at a time
CELLS = 4096  # that the range of a feature is divided into
MOST_STEPS = 6  # from the first cut of a cell to the last; with more, a binary search is quicker
MOST_FEATURES = 64  # with more, walking the trees is quicker
MOST_BYTES = 2**25  # of tables; larger ones lie outside of the cache
MOST_LEAVES = 64  # bits of the largest number
FEW = 1_000  # rows that are computed at once
TESTED = 2_000  # rows on which the bits are compared with LightGBM's own
ZERO = float(np.float32(1e-35))  # LightGBM takes what is not further from 0 as 0
CUT_OFF = 1e300  # LightGBM tells larger numbers as this one
IDENTITIES = frozenset({"regression", "regression_l1", "huber", "fair", "quantile", "mape"})


@dataclass(frozen=True, kw_only=True)
class _Split:
    """A split of one tree: values above the threshold go right, and rule out the leaves of `left`."""

    feature: int
    tree: int
    threshold: float
    missing: str
    default_left: bool
    left: int


class _Grid:
    """Equal cells over the range of a feature's cuts. A larger value is never in a lower cell, so that all cuts of lower
    cells are below a value, and none of higher ones is.

    Args:
        cuts: in their order, the last one infinite.
    """

    def __init__(self, cuts: Numbers) -> None:
        known = cuts[:-1]
        inner = known[np.abs(known) < CUT_OFF]  # the others are in the first cell and the last one
        self._low, self._scale = inner[0], CELLS / (inner[-1] - inner[0])
        cells = self.cells(known)
        self.start = np.searchsorted(cells, np.arange(CELLS))  # how many cuts lower cells have
        self.steps = int(np.bincount(cells).max())

    def cells(self, values: Numbers) -> NDArray[np.int64]:
        """In which cell each value is; any for NaN."""
        with np.errstate(over="ignore", invalid="ignore"):
            place = (values - self._low) * self._scale
        np.fmax(place, 0.0, out=place)
        np.fmin(place, CELLS - 1.0, out=place)
        return place.astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class _Feature:
    """What the values of one feature rule out.

    Attributes:
        place: of its column in the matrix.
        cuts: the thresholds in their order; a value belongs to the first that is not below it. The last one is infinite.
        remaining: for each cut, and at the end for a missing value, the leaves of each tree that remain.
        grid: that finds a value's place among the cuts.
    """

    place: int
    cuts: Numbers
    remaining: NDArray[Any]
    grid: _Grid

    def places(self, values: Numbers) -> NDArray[np.int64]:
        """Of each value the row of `remaining`: which cut is the first that is not below it; the last row for NaN."""
        if self.grid.steps > MOST_STEPS:
            return np.searchsorted(self.cuts, values)  # NaN comes last
        places = self.grid.start.take(self.grid.cells(values))
        for _ in range(self.grid.steps):
            places += values > self.cuts.take(places)  # the last cut is infinite
        absent = np.isnan(values)
        if absent.any():
            places[absent] = len(self.cuts)
        return places


class _Scratch:
    """Memory that each block of rows is computed in; taking it anew each time takes longer than computing."""

    def __init__(self, trees: int, bits: np.dtype[Any]) -> None:
        self.remaining = np.empty((BLOCK, trees), bits)
        self.found = np.empty((BLOCK, trees), bits)
        self.exponents = np.empty((BLOCK, trees), np.float32)
        self.leaves = np.empty((trees, BLOCK), np.int32)


class QuickScorer:
    """See the module.

    Args:
        width: number of columns of the matrix.
        features: that are split on.
        values: of leaves, tree by tree.
        outputs: number of sums: the trees belong to these in turn.
        link: makes predictions of the sums.
    """

    def __init__(
        self, width: int, features: Sequence[_Feature], values: Sequence[Numbers], outputs: int, link: Link
    ) -> None:
        self.width = width
        self._features, self._values, self._outputs, self._link = features, values, outputs, link
        self._all_values = np.concatenate(values)
        self._starts = np.cumsum([0, *map(len, values[:-1])])  # of each tree's among them

    @classmethod
    def of(cls, booster: Booster) -> QuickScorer | None:
        """Of a booster; None where it is not made for this, or LightGBM itself predicts other bits on rows around the thresholds."""
        text = booster.model_to_string()
        if not 0 < max(_leaves(text), default=0) <= MOST_LEAVES:
            return None  # before trees that may be thousands of splits deep are taken apart
        model: Mapping[str, Any] = booster.dump_model()
        link = _link(str(model.get("objective", "")))
        if link is None or model.get("average_output"):
            return None
        trees = model["tree_info"]
        leaves = max(tree["num_leaves"] for tree in trees)
        thresholds = _thresholds(text)
        splits: list[_Split] = []
        values: list[Numbers] = []
        try:
            for place, tree in enumerate(trees):
                of_leaves: list[float] = []
                splits += _splits(tree["tree_structure"], place, thresholds[place], of_leaves)
                values.append(np.array(of_leaves))
        except _OtherKindError:
            return None
        used = sorted({split.feature for split in splits})
        bits = np.uint32 if leaves <= np.iinfo(np.uint32).bits else np.uint64
        if not used or len(used) > MOST_FEATURES or _size(splits, len(trees), bits) > MOST_BYTES:
            return None
        features = [
            _feature(place, [each for each in splits if each.feature == place], len(trees), bits) for place in used
        ]
        made = cls(model["max_feature_idx"] + 1, features, values, model["num_tree_per_iteration"], link)
        return made if made._agrees(booster) else None

    def predict(self, columns: Sequence[Numbers]) -> Numbers:
        """What the booster predicts, one number a row, or rows by classes.

        Args:
            columns: the matrix, column by column, as float64.
        """
        rows = len(columns[0])
        sums = np.zeros((self._outputs, rows))
        scratch = _Scratch(len(self._values), self._features[0].remaining.dtype)
        for first in range(0, rows, PIECE):
            piece = sums[:, first : first + PIECE]
            places = [each.places(columns[each.place][first : first + PIECE]) for each in self._features]
            for start in range(0, piece.shape[1], BLOCK):
                some = slice(start, start + BLOCK)
                self._add(piece[:, some], [each[some] for each in places], scratch)
        return self._link(sums)

    def predict_few(self, block: Numbers) -> Numbers:
        """The same of some hundred rows, in fewer steps, which take longer than what they compute.

        Args:
            block: rows by columns.
        """
        columns = np.ascontiguousarray(block.T)
        remaining: NDArray[Any] | None = None
        for feature in self._features:
            found = feature.remaining.take(feature.cuts.searchsorted(columns[feature.place]), axis=0)
            remaining = found if remaining is None else np.bitwise_and(remaining, found, out=remaining)
        assert remaining is not None
        lowest = np.bitwise_and(remaining, np.negative(remaining)).astype(np.float32)
        leaves = (lowest.view(np.int32) >> 23) - 127
        values = self._all_values.take(leaves + self._starts).reshape(len(block), -1, self._outputs)
        sums = np.add.accumulate(values, axis=1)[:, -1]  # one after the other; a sum would add in another order
        return self._link(np.ascontiguousarray(sums.T) + 0.0)  # as a sum that begins with 0.0: -0.0 becomes 0.0

    def _add(self, sums: Numbers, places: Sequence[NDArray[np.int64]], scratch: _Scratch) -> None:
        """Adds the values of the leaves in the order of the trees, which is what makes the last bit."""
        rows = sums.shape[1]
        remaining, found = scratch.remaining[:rows], scratch.found[:rows]
        for number, (feature, place) in enumerate(zip(self._features, places, strict=True)):
            out = found if number else remaining
            feature.remaining.take(place, axis=0, out=out, mode="clip")  # the other modes copy once more
            if number:
                np.bitwise_and(remaining, found, out=remaining)
        np.negative(remaining, out=found)
        np.bitwise_and(remaining, found, out=found)  # the lowest bit alone
        leaves, exponents = scratch.leaves[:, :rows], scratch.exponents[:rows]
        np.copyto(exponents, found, casting="same_kind")  # a float32 holds each power of two
        np.right_shift(exponents.view(np.int32).T, 23, out=leaves)
        np.subtract(leaves, 127, out=leaves)
        for tree, (values, leaf) in enumerate(zip(self._values, leaves, strict=True)):
            sums[tree % self._outputs] += values.take(leaf, mode="clip")

    def _agrees(self, booster: Booster) -> bool:
        """Whether LightGBM gives the same bits on drawn rows: of thresholds, their neighbours, zeros, infinities and NaN."""
        draw = np.random.default_rng(0)
        rows = draw.normal(size=(TESTED, self.width))
        for feature in self._features:
            cuts = feature.cuts
            beside = np.concatenate([cuts, np.nextafter(cuts, -np.inf), np.nextafter(cuts, np.inf), -cuts])
            odd = np.array([np.nan, 0.0, -0.0, -np.inf, ZERO, -ZERO, 5e-324, 1e300])
            kind = draw.integers(0, 3, TESTED)
            rows[:, feature.place] = np.select(
                [kind == 0, kind == 1], [draw.choice(beside, TESTED), draw.choice(odd, TESTED)], rows[:, feature.place]
            )
        theirs = booster.predict(rows)
        few = np.concatenate([self.predict_few(rows[:1]), self.predict_few(rows[1:FEW]), self.predict_few(rows[FEW:])])
        return all(
            each.shape == theirs.shape and each.tobytes() == theirs.tobytes()
            for each in (self.predict(list(rows.T)), few)
        )


class Booster(Protocol):
    """What is asked of a LightGBM, by whichever of its interfaces."""

    def dump_model(self) -> dict[str, Any]:
        """Its trees."""
        ...

    def model_to_string(self) -> str:
        """Its file."""
        ...

    def predict(self, block: Numbers, /) -> Any:
        """One number a row, or rows by classes."""
        ...


class _OtherKindError(Exception):
    """A tree has something other than numeric splits and constant leaves."""


def _link(objective: str) -> Link | None:
    """How predictions are made of the sums of leaves; None for an objective that is not made for this."""
    name, *settings = objective.split()
    given = {each.partition(":")[0]: each.partition(":")[2] for each in settings}
    if name in IDENTITIES and not settings:
        return lambda sums: sums[0]
    if name == "binary" and list(given) == ["sigmoid"]:
        factor = float(given["sigmoid"])
        return lambda sums: 1.0 / (1.0 + _exponential(-factor * sums[0]))
    return _softmax if name == "multiclass" and list(given) == ["num_class"] else None


def _softmax(sums: Numbers) -> Numbers:
    made = np.array([_exponential(each) for each in sums - sums.max(axis=0)])
    total = np.zeros(sums.shape[1])
    for each in made:  # in the order of the classes, which makes the last bit
        total += each
    return np.ascontiguousarray((made / total).T)


def _exponential(numbers: Numbers) -> Numbers:
    """By the C library, as LightGBM; what numpy has of its own may differ in the last bit."""
    return np.array([math.exp(each) for each in numbers.tolist()])


def _leaves(text: str) -> list[int]:
    """How many each tree has."""
    return [int(line.partition("=")[2]) for line in text.splitlines() if line.startswith("num_leaves=")]


def _thresholds(text: str) -> list[list[float]]:
    """Of each tree as they are, infinity included, which is where only missing values go right; `dump_model` cuts them off."""
    return [
        [float(each) for line in tree.splitlines() if line.startswith("threshold=") for each in line[10:].split()]
        for tree in text.split("\nTree=")[1:]
    ]


def _splits(node: Mapping[str, Any], tree: int, thresholds: Sequence[float], values: list[float]) -> Iterator[_Split]:
    """The splits below a node; the values of its leaves, from left to right, are appended.

    Raises:
        _OtherKindError: there is another kind of split or leaf.
    """
    if "split_feature" not in node:
        if "leaf_coeff" in node or abs(node["leaf_value"]) >= CUT_OFF:
            raise _OtherKindError
        values.append(float(node["leaf_value"]))
        return
    if node["decision_type"] != "<=":
        raise _OtherKindError
    first = len(values)
    yield from _splits(node["left_child"], tree, thresholds, values)
    end = len(values)
    yield from _splits(node["right_child"], tree, thresholds, values)
    yield _Split(
        feature=node["split_feature"],
        tree=tree,
        threshold=thresholds[node["split_index"]],
        missing=node["missing_type"],
        default_left=node["default_left"],
        left=(1 << end) - (1 << first),
    )


def _cuts(splits: Sequence[_Split]) -> Numbers:
    """What LightGBM takes as zero lies between two cuts of its own."""
    return np.unique([*(split.threshold for split in splits), np.nextafter(-ZERO, -np.inf), ZERO, np.inf])


def _size(splits: Sequence[_Split], trees: int, bits: type[np.unsignedinteger[Any]]) -> int:
    pairs = len({(split.feature, split.threshold) for split in splits})
    return (pairs + 4 * len({split.feature for split in splits})) * trees * np.dtype(bits).itemsize


def _feature(place: int, splits: Sequence[_Split], trees: int, bits: type[np.unsignedinteger[Any]]) -> _Feature:
    cuts = _cuts(splits)
    every = int(np.iinfo(bits).max)
    remaining = np.full((len(cuts) + 1, trees), every, bits)
    value = np.where(np.abs(cuts) <= ZERO, 0.0, cuts)
    for split in splits:
        right = value > split.threshold
        if split.missing == "Zero":
            right[value == 0.0] = not split.default_left
        absent = split.threshold < 0.0 if split.missing == "None" else not split.default_left
        remaining[np.append(right, absent), split.tree] &= bits(every ^ split.left)
    return _Feature(place=place, cuts=cuts, remaining=remaining, grid=_Grid(cuts))
