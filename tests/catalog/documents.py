"""Documents of a catalog as projects write them, for tests."""

from datetime import UTC, datetime

from headrace.catalog.document import (
    ColumnEntry,
    Document,
    FeatureUse,
    ModelEntry,
    TableEntry,
    VersionEntry,
)

MOMENT = datetime(2026, 3, 1, 6, 30, tzinfo=UTC)


def table(name="stats.customers", **other):
    return TableEntry(
        **{
            "name": name,
            "location": f"file:///lake/{name.replace('.', '/')}",
            "key": ("customer",),
            "time": "at",
            "description": "",
            "owner": "",
            "columns": (ColumnEntry(column="orders", type="int64", null_percent=0.5),),
            "rows": 10,
            "newest": MOMENT,
            "online": False,
            "used_by": (),
            "content": "a1",
            **other,
        }
    )


def model(name="churn", **other):
    return ModelEntry(
        **{
            "name": name,
            "description": "",
            "owner": "",
            "task": "binary",
            "label": "gold.churn.left",
            "features": (),
            "functions": (),
            "versions": (version(),),
            **other,
        }
    )


def version(number=1, stage="Production"):
    return VersionEntry(version=number, stage=stage, metric="roc_auc", value=0.75, created=MOMENT, by="ann")


def use(table="stats.customers", **other):
    location = f"file:///lake/{table.replace('.', '/')}"
    return FeatureUse(**{"table": table, "location": location, "columns": ("orders",), **other})


def document(project="shop", environment="dev", **other):
    return Document(
        **{
            "project": project,
            "environment": environment,
            "rank": 0,
            "state": "state-1",
            "written": MOMENT,
            "as_of": None,
            "remote": None,
            "commit": None,
            "feature_tables": (),
            "models": (),
            **other,
        }
    )
