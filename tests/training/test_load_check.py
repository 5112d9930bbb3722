"""A package is asked in a process that has nothing but its requirements, before it is logged."""

import ctypes
import json
import textwrap
from importlib import metadata

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from headrace.environments.importing import load_tree, namespace
from headrace.features.matrix import compute, encode, fit_categories, read
from headrace.features.plan import on_demand_functions, plan
from headrace.training import code, distributions, load_check, package
from headrace.training.code import pinned
from headrace.training.estimator import adopt
from headrace.training.output import output

PLAIN = """\
@hr.on_demand(hr.Schema(x="float64"))
def feature(a: pd.Series) -> pd.Series:
    return a * 2


class Fitted:
    def predict(self, X):
        return X["x"].to_numpy()
"""
PROGRAM = """\
import json
import os
from importlib import import_module, metadata, resources
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd

import headrace as hr

HERE = Path(__file__).parent
{text}

spine = hr.Table("s.t", key="id", sql="select 1")
model = hr.Model(
    "small", fit=print, task=hr.Regression(label=hr.Table("s.l", key="id", time="at", sql="select 1")["y"]),
    spine=spine.at("at"), features=[spine.select("a"), feature],
)
"""
SPINE = pa.schema({"id": pa.int64(), "at": pa.timestamp("us", "UTC"), "a": pa.float64()})


@pytest.fixture
def ask(tmp_path):
    """Packs a small project, and asks the package elsewhere."""

    def ask(text="", *, whole=False, after=None, **files):
        project = tmp_path / "project"
        (project / "shop").mkdir(parents=True)
        text = textwrap.dedent(text)
        parts = [
            PLAIN.split("\n\n\n")[place]
            for place, name in enumerate(("def feature", "class Fitted"))
            if name not in text
        ]
        (project / "shop" / "project.py").write_text(PROGRAM.replace("{text}", "\n\n\n".join([text, *parts])))
        for name, content in {"__init__.py": "", **files}.items():
            (project / "shop" / name.replace("_json", ".json")).write_text(content)
        version = f"load_check{abs(hash(str(tmp_path)))}"
        module = load_tree(project, "shop.project", version=version)
        model, functions = module.model, on_demand_functions(module.model.features)
        planned = plan(model.spine, model.features, {"s.t": SPINE})
        inputs = read(planned, pd.DataFrame({"a": np.arange(20.0)}))
        computed = compute(planned, functions, inputs)
        categories = fit_categories(planned, computed)
        X = encode(planned, categories, computed)
        estimator = adopt(module.Fitted(), task="Regression", classes=(), X=X, y=pd.Series(np.zeros(len(X))))
        top = namespace(version)
        written = package.write(
            tmp_path,
            model="small",
            task="Regression",
            classes=(),
            plan=planned,
            categories=categories,
            estimator=estimator,
            calibration=None,
            params={},
            origin=package.Origin(folder=project, module="shop.project", commit=None, tree="1"),
            by_value=[f"{top}.shop", f"{top}.shop.project"],
            functions=None if whole else functions,
        )
        expected = output("Regression", (), estimator, X)
        if after is not None:
            after(project)
        seen = load_check.ask(
            written.folder,
            inputs,
            expected,
            loader="headrace.scoring.pyfunc",
            distributions=["headrace", *written.distributions],
            project=project,
        )
        return seen, written

    return ask


def reading(expression):
    return f"""
        class Fitted:
            def predict(self, X):
                return X["x"].to_numpy() * {expression}
    """


def test_a_plain_one_predicts_elsewhere_with_a_few_requirements(ask):
    seen, written = ask()

    assert (seen.problem, seen.distributions) == ("", ())
    assert {line.split("==")[0] for line in code.pinned(written.distributions)} == {
        "cloudpickle",
        "headrace",
        "mlflow-skinny",
        "numpy",
        "pandas",
    }
    assert written.spec.code.functions == {"feature": "shop.project:feature"}
    assert "hr.Table" not in (written.folder / "code" / "shop" / "project.py").read_text()


WAYS = {
    "read_text": "(HERE / 'factor.json').read_text()",
    "numpy": "np.loadtxt(HERE / 'number.json')",
    "pandas": "pd.read_csv(HERE / 'table.json')",
    "a list": "os.listdir(HERE.parent)",
    "glob": "list(HERE.glob('*.json'))",
    "a descriptor": "os.open(HERE / 'raw.json', os.O_RDONLY)",
    "sqlite": "__import__('sqlite3').connect(f'file:{HERE}/base.json?mode=ro', uri=True)",
}


def test_an_estimator_that_reads_files_of_the_project_is_refused(ask, tmp_path):
    tries = "\n".join(
        f"            try:\n                {way}\n            except OSError: pass" for way in WAYS.values()
    )
    text = f"class Fitted:\n    def predict(self, X):\n        if True:\n{tries}\n        return X['x'].to_numpy()\n"
    named = ("factor", "number", "raw", "base")
    seen, _ = ask(text, table_json="a\n1\n", **{f"{name}_json": "3" if name != "base" else "" for name in named})

    told = "\n".join([seen.problem, *seen.findings])
    assert seen.reads
    shop = tmp_path / "project" / "shop"
    places = (shop.parent, shop, *(shop / f"{name}.json" for name in (*named, "table")))
    assert [place for place in places if f"reads {place}, at line" not in told] == []
    assert "fit() returns" in str(seen.refuse("small"))


@pytest.mark.skipif(ctypes.CDLL(None).syscall(444, None, 0, 1) < 0, reason="the kernel has no Landlock")
def test_so_is_one_whose_library_opens_the_file_without_python(ask):
    seen, _ = ask(
        reading("__import__('pyarrow.csv').csv.read_csv(str(HERE / 'factor.json')).num_columns"), factor_json="a\n1\n"
    )

    assert seen.problem


def test_a_file_beside_the_on_demand_function_is_packed_and_stays_as_it_was(ask):
    text = """
        @hr.on_demand(hr.Schema(x="float64"))
        def feature(a: pd.Series) -> pd.Series:
            return a * json.loads((HERE / "factor.json").read_text())
    """
    seen, written = ask(text, factor_json="3", after=lambda project: (project / "shop" / "factor.json").write_text("5"))

    assert seen.problem == ""
    assert json.loads((written.folder / "code" / "shop" / "factor.json").read_text()) == 3


def test_a_file_of_another_place_is_refused(ask, tmp_path):
    (tmp_path / "factor.json").write_text("3")
    seen, _ = ask(f"""
        @hr.on_demand(hr.Schema(x="float64"))
        def feature(a: pd.Series) -> pd.Series:
            return a * json.loads(Path({str(tmp_path)!r}, "factor.json").read_text())
    """)

    assert seen.reads
    assert "factor.json" in seen.problem


def test_what_it_reads_of_the_environment_is_not_there(ask, monkeypatch):
    monkeypatch.setenv("SHOP_FACTOR", "3")
    seen, _ = ask(reading("float(os.environ.get('SHOP_FACTOR', 1))"))

    assert "19 of 20 rows differ (row 1: [2.0] for [6.0];" in seen.problem


def test_a_connection_is_refused(ask):
    seen, _ = ask("""
        class Fitted:
            def predict(self, X):
                import socket
                try:
                    socket.create_connection(("127.0.0.1", 9), 1).close()
                except OSError:
                    pass
                return X["x"].to_numpy()
    """)

    assert seen.reads
    assert "connects to 127.0.0.1:9" in seen.problem


def test_a_program_is_refused(ask):
    seen, _ = ask(reading("len(__import__('subprocess').run(['true']).args)"))

    assert seen.reads
    assert "starts the program true" in seen.problem


@pytest.mark.parametrize("expression", ["(find_spec('orjson') is not None)", "len(metadata.version('orjson')) // 9"])
def test_a_library_that_is_asked_for_in_whichever_way_is_a_requirement(expression, ask):
    assert "orjson" not in distributions.closure(["headrace", "numpy", "pandas", "mlflow-skinny"])

    seen, written = ask(reading(f"(import_module('orjson') is not None) * {expression}"))

    assert (seen.problem, seen.distributions) == ("", ("orjson",))
    assert f"orjson=={metadata.version('orjson')}" in pinned({*written.distributions, *seen.distributions})


def test_a_library_that_a_function_imports_lazily_is_one_too(ask):
    _, written = ask("""
        @hr.on_demand(hr.Schema(x="float64"))
        def feature(a: pd.Series) -> pd.Series:
            if (a > 1e9).any():
                import orjson
            return a * 2
    """)

    assert "orjson" in written.distributions


def test_a_module_of_no_distribution_is_told(ask, tmp_path, monkeypatch):
    (tmp_path / "loose").mkdir()
    (tmp_path / "loose" / "loose_module.py").write_text("ONE = 1")
    monkeypatch.syspath_prepend(str(tmp_path / "loose"))

    seen, _ = ask(reading("import_module('loose_module').ONE"))

    assert "'loose_module' is of no installed distribution" in seen.problem


def test_the_whole_project_is_taken_where_what_is_needed_cannot_be_told(ask):
    seen, written = ask("""
        FACTOR = 2

        @hr.on_demand(hr.Schema(x="float64"))
        def feature(a: pd.Series) -> pd.Series:
            return a * globals()["FACTOR"]
    """)

    assert seen.problem == ""
    assert written.spec.code.functions is None
    assert "hr.Table" in (written.folder / "code" / "shop" / "project.py").read_text()


def test_one_that_ends_the_process_is_told(ask):
    seen, _ = ask("""
        class Fitted:
            def __init__(self):
                self.times = 0

            def predict(self, X):
                if not HERE.exists() or os.environ.get("HOME", "").endswith("home"):
                    os._exit(3)
                return X["x"].to_numpy()
    """)

    assert "ended the process" in seen.problem
