"""The two functions and the SELECTs that the README leaves out."""

from pathlib import Path
from shutil import copy

from headrace.examples.flights.flights import project

for sql in Path(project.__file__).parent.glob("*.sql"):
    copy(sql, ".")
fit, hour_of_day = project.fit, project.hour_of_day
