"""The SELECT of the feature table."""

from pathlib import Path
from shutil import copy

from headrace.examples.flights.flights import project

for sql in Path(project.__file__).parent.glob("*.sql"):
    copy(sql, ".")
