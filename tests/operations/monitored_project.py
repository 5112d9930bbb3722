"""A project whose second version is in Production, with predictions, drift and an open alert of both versions."""

from tests.cli import mini

DEPLOYMENT = """
    gates=[hr.not_worse("rmse", margin=1.0, min_rows=5)],
    serve=hr.Serve(),
    monitor=hr.Monitor(window="1w", min_rows=5, slices=["amount"], alerts=[hr.alert("rmse", above=0.1, for_="1 of 1")]),
    retrain=hr.Retrain(on="alert", cool_down="1d", min_coverage=0.1),
"""
FIRST = (
    ("refresh",),
    ("train", "--as-of", "2024-02-01"),
    ("deploy", "--as-of", "2024-02-01"),
    ("score", "--since", "2024-02-01", "--as-of", "2024-02-25"),
    ("monitor", "--as-of", "2024-02-25"),
)
SECOND = (
    ("train", "--as-of", "2024-02-10"),
    ("deploy", "--as-of", "2024-02-25"),
    ("score", "--since", "2024-02-10", "--as-of", "2024-02-29"),
    ("monitor", "--as-of", "2024-02-29"),
)


def build(headrace, folder):
    """The project. Version 2 has other parameters than version 1, and does without the feature of `stats.customers`."""
    mini.write(folder, deployment=DEPLOYMENT)
    program = folder / "mini.py"
    text = program.read_text().replace("fit=fit,", 'fit=fit, params={"depth": 3, "rate": 0.1},')
    program.write_text(text)
    _run(headrace, folder, FIRST)
    text = text.replace('"depth": 3', '"depth": 4, "robust": True').replace(', features.select("orders")]', "]")
    program.write_text(text)
    _run(headrace, folder, SECOND)
    return folder


def _run(headrace, folder, pipelines):
    for arguments in pipelines:
        done = headrace.run(folder, "run", *arguments)
        assert done.code == (1 if arguments[0] == "monitor" else 0), done.stderr
