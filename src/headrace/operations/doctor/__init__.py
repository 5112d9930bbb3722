"""Checks of an installation, a project and an environment: each reports what is there and, where that is wrong, the fix.

A check posts nothing, and ends: each has a time limit, after which that is its finding. Nothing is changed but that
runs of dead processes are closed. Not for other repairs, which are commands of their own.
"""

from headrace.operations.doctor.examine import diagnose, examine
from headrace.operations.doctor.finding import CheckFinding

__all__ = ["CheckFinding", "diagnose", "examine"]
