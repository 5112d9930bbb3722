"""Which releases may run where a release needs evidence of its test: those that are attested, and those that an admin allowed."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from headrace.core.errors import RefusedError
from headrace.environments.code import tree_of
from headrace.releases import attestation_notes, overrides
from headrace.releases.evidence import NONE, Evidence, find_evidence

if TYPE_CHECKING:
    from headrace.core.state import State
    from headrace.environments.config import Config
    from headrace.environments.signing_keys import PublicKey
    from headrace.releases.overrides import Override


class AttestedReleases:
    """The evidence of the releases of a project, as one environment sees it.

    Args:
        config: the project.
        state: the environment's state database, which has the releases that an admin allowed.
    """

    def __init__(self, config: Config, state: State) -> None:
        self.config = config
        self.state = state
        self._found: dict[tuple[str, tuple[PublicKey, ...]], Evidence] = {}

    @cached_property
    def _annotated(self) -> frozenset[str]:
        """The commits that have a note: to ask for the note of each release takes longer."""
        return attestation_notes.annotated(self.config.folder)

    def evidence(self, commit: str, trusted: tuple[PublicKey, ...]) -> Evidence:
        """What speaks for a commit.

        Raises:
            RefusedError: the project is not in that commit.
        """
        if (commit, trusted) not in self._found:
            folder = self.config.folder
            if commit in self._annotated:
                found = find_evidence(folder, self.config.name, commit, tree_of(folder, commit), trusted)
            else:
                none = NONE if self._annotated else f"{NONE}, nor has any commit here (headrace release fetch)"
                found = Evidence(commit=commit, attestation=None, key=None, reasons=(none,))
            self._found[commit, trusted] = found
        return self._found[commit, trusted]

    def allowed(self, commit: str) -> Override | None:
        """What an admin said of a commit that has no attestation; None where nobody did."""
        return overrides.find_override(self.state, commit)

    def unproven(self, commit: str, trusted: tuple[PublicKey, ...]) -> str | None:
        """Why a commit may not run as a release; None where it may."""
        try:
            found = self.evidence(commit, trusted)
        except RefusedError as error:
            return error.what.rstrip(".")
        if found.attestation is not None or self.allowed(commit) is not None:
            return None
        return "; ".join(found.reasons[:3])
