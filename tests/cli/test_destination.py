"""Where predictions go, as it is typed: a credential in it is refused and not repeated."""

import pytest

from headrace.cli.run import destination
from headrace.core.errors import DeclarationError
from headrace.inference.declarations import Database, Files


@pytest.mark.parametrize(
    "typed",
    [
        "postgresql://u:hunter2@h/db",
        "postgresql://u:hunt'er2 @h/db",
        "oracle://scott/hunter2@h",
        "scott:hunter2@h/db",
        "parquet:s3://u:hunter2@b/x",
        "csv:s3://b/x?sig=hunter2",
        "warehouse:t;password=hunter2",
        "//u:hunter2@h/db",
    ],
)
def test_a_credential_in_the_destination_is_refused_and_not_repeated(typed):
    with pytest.raises(DeclarationError, match="--into holds a credential") as error:
        destination(typed)
    assert "er2" not in str(error.value)


@pytest.mark.parametrize(
    "made",
    [
        lambda: Database("warehouse", table="//u:hunter2@h/db"),
        lambda: Files("s3://u:hunter2@b/x", format="csv"),
    ],
)
def test_a_declared_destination_that_cannot_be_is_said_without_its_credential(made):
    with pytest.raises(DeclarationError, match="is not") as error:
        made()
    assert "hunter2" not in str(error.value)


def test_other_destinations_are_what_they_were():
    assert destination("gold.predictions") == "gold.predictions"
    assert destination("warehouse:app.days") == Database("warehouse", table="app.days")
