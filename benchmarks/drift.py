"""Drift and profile: a reference of 1M rows and a window of 1M rows, 15 numbers and 5 texts.

We go the way that monitoring goes: `Lakehouse.connect`, bins, histograms of both, every statistic, verdicts, profiles.
`headrace_kept` has the reference's bins and histograms already, as every window but the first one has. Beside us
Evidently with its two presets, `DataDriftPreset` and `DataSummaryPreset`, as they come, and the limit: one sum or one
longest text of every column of both tables. All read the same Parquet files within the job.

Some columns were made to drift, a little or much, one only in its share of missing values and one by a new category.
Our figures are held against NumPy and SciPy on the raw values, and against Evidently's where both measure the same.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import harness

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.monitoring.drift import DriftVerdict
    from headrace.monitoring.histograms import Histograms
    from headrace.monitoring.profile import Profile

SIZES = {"full": 1_000_000, "quick": 100_000}
BEFORE, AFTER = "gold.reference", "gold.window"
NUMBERS = [f"n{place:02d}" for place in range(15)]
TEXTS = [f"c{place}" for place in range(5)]
FILES = 4
NULLS = {"n01": (0.02, 0.02), "n05": (0.02, 0.02), "n09": (0.02, 0.08), "n13": (0.02, 0.02)}  # before, after
MOVED = {"n05": "mean + 0.2", "n06": "x 1.1", "n08": "x 1.3", "n14": "rate 6 for 5"}


# ---------------------------------------------------------------------------------------------- data


def make(folder: Path) -> None:
    """Two tables of a lakehouse: normal, lognormal, exponential, ties, counts; 2 to 10,000 categories."""
    from headrace.lakehouse.writes import Append

    lakehouse = _lakehouse(folder)
    for later, table in enumerate((BEFORE, AFTER)):
        rows = _rows(SIZES[folder.name], later=bool(later))
        for number in range(FILES):
            size = -(-rows.num_rows // FILES)
            part = rows.slice(number * size, size)
            lakehouse.commit(table, f"{table}.{number}", lambda _, part=part: Append(part))


def _rows(count: int, *, later: bool) -> Any:
    import numpy as np
    import pyarrow as pa

    chance = np.random.default_rng(2 if later else 1)
    made: dict[str, Any] = {}
    for place, name in enumerate(NUMBERS):
        moved = later and name in MOVED
        values = (
            lambda moved=moved: chance.normal(0.2 if moved else 0.0, 1, count),
            lambda moved=moved: chance.lognormal(0, 1, count) * (1.1 if moved else 1.0),
            lambda: chance.exponential(2, count),
            lambda moved=moved: np.round(chance.gamma(2, 2, count) * (1.3 if moved else 1.0), 1),
            lambda moved=moved: chance.poisson(6 if moved else 5, count).astype(float),
        )[place % 5]()
        holes = chance.random(count) < NULLS.get(name, (0.0, 0.0))[later]
        made[name] = pa.array(values, mask=holes)
    share = 1 / np.arange(1, 10_001) ** 0.7
    levels: dict[str, tuple[list[str], Any, float]] = {
        "c0": (["a", "b", "c"], [0.45, 0.35, 0.2] if later else [0.5, 0.3, 0.2], 0.0),
        "c1": ([f"k{level}" for level in range(12)] + ["new" if later else "old"], [0.999 / 12] * 12 + [0.001], 0.01),
        "c2": ([f"z{level:03d}" for level in range(100)], 1 / np.arange(1, 101), 0.0),
        "c3": ([f"id_{level:05d}" for level in range(10_000)], np.roll(share, 3) if later else share, 0.0),
        "c4": (["true", "false"], [0.9, 0.1], 0.05),
    }
    for name, (values, weights, missing) in levels.items():
        shares = np.asarray(weights) / np.sum(weights)
        codes = pa.array(chance.choice(len(values), count, p=shares), mask=chance.random(count) < missing)
        made[name] = pa.DictionaryArray.from_arrays(codes.cast(pa.int32()), pa.array(values)).cast(pa.string())
    return pa.table(made)


def _lakehouse(folder: Path) -> Lakehouse:
    from headrace.lakehouse.lakehouse import Lakehouse

    return Lakehouse("benchmark", str(folder))


# ---------------------------------------------------------------------------------------------- contestants


def headrace(folder: Path) -> Callable[[], object]:
    """Everything from nothing."""
    watch = _Watch(folder)

    def job() -> object:
        before = watch.reference()
        return before, *watch.window(before)

    return job


def headrace_kept(folder: Path) -> Callable[[], object]:
    """One more window, against a reference that is there."""
    watch = _Watch(folder)
    before = watch.reference()

    def job() -> object:
        return before, *watch.window(before)

    return job


class _Watch:
    """What the pipeline `monitor` does with a window, but for writing the rows."""

    def __init__(self, folder: Path) -> None:
        import pandas as pd  # noqa: F401 - pyarrow loads it when it is given a numpy array; the monitor has it loaded

        from headrace.lakehouse.identifiers import column, quoted
        from headrace.monitoring import binning, blocks, drift, histograms, profile

        self.drift, self.binning, self.histograms, self.profile = drift, binning, histograms, profile
        self.lakehouse, self.quoted = _lakehouse(folder), quoted
        numbers = [blocks.MonitoredColumn(name=name, expression=column(name), kind="number") for name in NUMBERS]
        texts = [blocks.MonitoredColumn(name=name, expression=column(name), kind="string") for name in TEXTS]
        self.columns = [*numbers, *texts]

    def reference(self) -> Histograms:
        with self.lakehouse.connect({BEFORE: None}) as connection:
            grids = self.binning.make_grids(connection, self.quoted(BEFORE), self.columns)
            return self.histograms.collect(connection, self.quoted(BEFORE), grids, self.columns)

    def window(self, before: Histograms) -> tuple[list[DriftVerdict], list[Profile]]:
        with self.lakehouse.connect({AFTER: None}) as connection:
            after = self.histograms.collect(connection, self.quoted(AFTER), before.grids, self.columns)
        judged = self.drift.judge(self.drift.compare(before, after), min_rows=500)
        return judged, self.profile.profiles(after)


def evidently(folder: Path) -> Callable[[], object]:
    """Both presets with their own choice of methods: scaled Wasserstein and Jensen-Shannon distances, over 0.1."""
    import warnings

    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset, DataSummaryPreset

    warnings.simplefilter("ignore")
    definition = DataDefinition(numerical_columns=NUMBERS, categorical_columns=TEXTS)

    def job() -> object:
        after, before = (
            Dataset.from_pandas(_frame(folder, table), data_definition=definition) for table in (AFTER, BEFORE)
        )
        found = Report([DataDriftPreset(), DataSummaryPreset()]).run(after, before).dict()["metrics"]
        drift = [each for each in found if each["config"]["type"].endswith(":ValueDrift")]
        return {each["config"]["column"]: float(each["value"]) for each in drift}

    return job


def scan(folder: Path) -> Callable[[], object]:
    """Decodes every column, and keeps one number of each."""
    asked = ", ".join([*(f"sum({name})" for name in NUMBERS), *(f"max(strlen({name}))" for name in TEXTS)])
    lakehouse = _lakehouse(folder)

    def job() -> object:
        for table in (BEFORE, AFTER):
            with lakehouse.connect({table: None}) as connection:
                connection.sql(f"select {asked} from {table}").to_arrow_table()
        return None

    return job


def raw(folder: Path) -> Callable[[], object]:
    """No contestant: the figures by NumPy and SciPy from the raw values, by their definitions."""
    import numpy as np
    from scipy import stats

    def numbers(before: pd.Series, after: pd.Series) -> dict[str, float]:
        p, q = before.dropna().to_numpy(), after.dropna().to_numpy()
        shape = stats.ks_2samp(p, q, method="asymp")
        return {
            "ks": float(shape.statistic),
            "wasserstein": float(stats.wasserstein_distance(p, q)),
            "psi": _index(before, after),
            "mean": float(q.mean()),
            "stddev": float(q.std(ddof=1)),
            "median": float(np.median(q)),
            "spread": float(p.std(ddof=0)),
            "nulls": int(after.isna().sum()),
        }

    def texts(before: pd.Series, after: pd.Series) -> dict[str, float]:
        p, q = before.value_counts(), after.value_counts()
        both = np.array(
            [p.reindex(p.index.union(q.index), fill_value=0), q.reindex(p.index.union(q.index), fill_value=0)]
        )
        return {
            "chi_squared": float(stats.chi2_contingency(both, correction=False).statistic),
            "distinct": len(q),
            "nulls": int(after.isna().sum()),
        }

    def job() -> object:
        before, after = _frame(folder, BEFORE), _frame(folder, AFTER)
        return {name: (numbers if name in NUMBERS else texts)(before[name], after[name]) for name in [*NUMBERS, *TEXTS]}

    return job


def _index(before: pd.Series, after: pd.Series) -> float:
    """The population stability index over deciles of the values, a group for missing ones; equal edges fall together."""
    import numpy as np

    edges = np.unique(np.quantile(before.dropna(), np.arange(0.1, 1, 0.1)))
    counts = [
        np.append(
            np.bincount(np.searchsorted(edges, each.dropna(), side="left"), minlength=len(edges) + 1), each.isna().sum()
        )
        for each in (before, after)
    ]
    used = (counts[0] + counts[1]) > 0
    p, q = ((each[used] + 0.5) / (each[used] + 0.5).sum() for each in counts)
    return float(((q - p) * np.log(q / p)).sum())


def _frame(folder: Path, table: str) -> pd.DataFrame:
    import pyarrow.dataset as ds

    files = sorted(str(file) for file in folder.joinpath(*table.split(".")).glob("*.parquet"))
    return ds.dataset(files).to_table(columns=[*NUMBERS, *TEXTS]).to_pandas()


CONTESTANTS: dict[str, harness.Contestant] = {
    "headrace": headrace,
    "headrace_kept": headrace_kept,
    "evidently": evidently,
    "scan": scan,
}


# ---------------------------------------------------------------------------------------------- answers


def _answer(found: Any) -> harness.Answer:
    """What a job found, as plain values; of the scan nothing."""
    if not isinstance(found, tuple):
        return found or {}
    before, judged, profiles = found
    drifts = {each.drift.column: each.drift for each in judged}
    columns = {
        each.column: {
            **{
                name: getattr(drifts[each.column], name)
                for name in ("psi", "ks", "ks_at_most", "wasserstein", "chi_squared")
            },
            "mean": each.avg,
            "stddev": each.stddev,
            "median": each.median,
            "distinct": each.distinct_count,
            "nulls": each.num_nulls,
        }
        for each in profiles
    }
    told = {each.drift.column: [each.verdict, *each.reasons] for each in judged if each.verdict != "ok"}
    widths = {
        name: None if grid.scale == "log" else grid.width for name, grid in before.grids.items() if name in NUMBERS
    }
    return {"columns": columns, "told": told, "widths": widths}


def _differences(ours: Any, true: Any, theirs: dict[str, float] | None) -> list[str]:
    """Where our figures are not what the raw values say, or what Evidently says."""
    found: list[str] = []

    def check(name: str, what: str, mine: float, real: float, slack: float) -> None:
        if not abs(mine - real) <= slack:
            found.append(f"{name}: {what} {mine!r}, not {real!r} (± {slack:.2g})")

    for name in NUMBERS:
        mine, real = ours["columns"][name], true[name]
        if not mine["ks"] - 1e-12 <= real["ks"] <= mine["ks_at_most"] + 1e-12:
            found.append(f"{name}: KS {real['ks']} is not between {mine['ks']} and {mine['ks_at_most']}")
        width = ours["widths"][name] or 0.02 * real["spread"]
        check(name, "wasserstein", mine["wasserstein"], real["wasserstein"], width)
        check(name, "psi", mine["psi"], real["psi"], 0.05 * real["psi"] + 0.01)  # groups are snapped to bins
        check(name, "mean", mine["mean"], real["mean"], 1e-9 * abs(real["mean"]) + 1e-12)
        check(name, "stddev", mine["stddev"], real["stddev"], 1e-9 * real["stddev"])
        check(name, "median", mine["median"], real["median"], width)
        check(name, "nulls", mine["nulls"], real["nulls"], 0)
        if theirs:
            check(name, "scaled distance", mine["wasserstein"] / real["spread"], theirs[name], 0.01)
    for name in TEXTS:
        mine, real = ours["columns"][name], true[name]
        check(name, "chi²", mine["chi_squared"], real["chi_squared"], 1e-9 * real["chi_squared"])
        for what in ("distinct", "nulls"):
            check(name, what, mine[what], real[what], 0)
    return found


def main() -> int:
    parser = harness.arguments(__doc__)
    parser.add_argument("--without-peer", action="store_true", help="leave Evidently out")
    options = parser.parse_args()
    if options.child:
        who, data = options.child
        if who == "data":
            make(Path(data))
        else:
            harness.be_contestant({**CONTESTANTS, "raw": raw}[who], Path(data), _answer)
        return 0
    size = "quick" if options.quick else "full"
    data = harness.WORK / "drift" / size
    harness.made(__file__, data)
    chosen = [who for who in CONTESTANTS if who != "evidently" or not options.without_peer]
    pythons = {} if options.without_peer else {"evidently": harness.environment("evidently")}
    truth = harness.compete(__file__, ["raw"], data, 1)["raw"][0].answer
    found = harness.compete(__file__, chosen, data, options.runs, pythons=pythons)
    return _tell(size, found, truth, options.runs, as_json=options.json)


def _tell(
    size: str, found: dict[str, list[harness.Figures]], truth: harness.Answer, runs: int, *, as_json: bool
) -> int:
    middle = {
        who: {figure: harness.median(each, figure) for figure in ("wall_s", "cpu_s", "peak_rss_mb")}
        for who, each in found.items()
    }
    us, kept, limit = middle["headrace"], middle["headrace_kept"], middle["scan"]
    ratios = {"limit": limit["cpu_s"] / us["cpu_s"], "limit_kept": limit["cpu_s"] / 2 / kept["cpu_s"]}
    theirs: dict[str, float] | None = None
    if "evidently" in found:
        peer, theirs = middle["evidently"], found["evidently"][0].answer  # type: ignore[assignment]
        ratios = {
            "evidently": peer["cpu_s"] / us["cpu_s"],
            "evidently_kept": peer["cpu_s"] / kept["cpu_s"],
            "evidently_wall": peer["wall_s"] / us["wall_s"],
            "evidently_peak_rss": peer["peak_rss_mb"] / us["peak_rss_mb"],
            **ratios,
        }
    answers = [each.answer for who in ("headrace", "headrace_kept") for each in found[who]]
    differences = [difference for answer in answers for difference in _differences(answer, truth, theirs)]
    for difference in sorted(set(differences)):
        print(difference, file=sys.stderr)
    told: Any = answers[0]["told"]
    if not as_json:
        for name, (verdict, *reasons) in told.items():
            print(f"{verdict:5} {name}: {'; '.join(reasons)}")
        print(f"evidently: {', '.join(sorted(name for name, score in (theirs or {}).items() if score > 0.1))}")
    rows = [{"who": who, **figures} for who, figures in middle.items()]
    name = f"drift and profile, {SIZES[size]:,} + {SIZES[size]:,} rows x 20 columns"
    return harness.tell(name, rows, ratios=ratios, agreed=not differences, runs=runs, as_json=as_json)


if __name__ == "__main__":
    sys.exit(main())
