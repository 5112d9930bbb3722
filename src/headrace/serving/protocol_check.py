"""`python -P -m headrace.serving.protocol_check CODE ANSWER NAME…`: loads protocols as a server does, in a process of its own.

What it found is written into the file ANSWER, since modules may print whatever they like when they are imported.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from headrace.core.errors import HeadraceError, UserCodeError
from headrace.serving.declared_routes import declared_routes


@dataclass(frozen=True, kw_only=True)
class ProtocolRefusal:
    """Why a server could not start with the protocols.

    Attributes:
        reason: what is wrong, beginning with the name of the protocol that is at fault.
        hint: what to do; empty where only the module's author knows.
        findings: one line each.
        raised: the module itself raised.
        missing: the module that could not be imported; empty where that was not the reason.
    """

    reason: str
    hint: str = ""
    findings: tuple[str, ...] = ()
    raised: bool = False
    missing: str = ""


def main(code: Path, answer: Path, names: list[str]) -> None:
    """Writes `null`, or the fields of a ProtocolRefusal."""
    refusal = None
    try:
        declared_routes(names, code)
    except HeadraceError as error:
        cause = error.__cause__
        refusal = ProtocolRefusal(
            reason=error.what,
            hint=error.hint,
            findings=error.findings,
            raised=isinstance(error, UserCodeError),
            missing=cause.name or "" if isinstance(cause, ModuleNotFoundError) else "",
        )
    answer.write_text(json.dumps(None if refusal is None else asdict(refusal)), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
