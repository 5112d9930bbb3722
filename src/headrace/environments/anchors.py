"""`[env.<name>.audit]`: where heads of the audit record are stored outside of the state database."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from headrace.core.channels.webhook import Webhook
from headrace.core.errors import ConfigError
from headrace.environments.secret import Secret

if TYPE_CHECKING:
    from headrace.environments.secret import Value
    from headrace.environments.section import Section


@dataclass(frozen=True, kw_only=True)
class Anchors:
    """Where heads of the audit record are kept outside of the state database.

    Attributes:
        git_note: whether they are kept in `refs/notes/headrace-audit` of the project's repository. Defaults to False.
        file: a file to which a line is appended for each head, or the URL of a folder that gets an object for each head.
            Defaults to none.
        webhook: the URL that each head is posted to; nothing can be read back from it. Defaults to none.
    """

    git_note: bool = False
    file: str | None = None
    webhook: Value | None = field(default=None, repr=False)

    @property
    def any(self) -> bool:
        """Whether there is at least one anchor."""
        return self.git_note or self.file is not None or self.webhook is not None


def read_anchors(section: Section) -> Anchors:
    """Reads `audit = {git_note = true, file = "…", webhook = "https://…"}`.

    Args:
        section: the environment's section.

    Raises:
        ConfigError: a key or a value is not possible.
    """
    inner = section.inner("audit", ("git_note", "file", "webhook"), example="audit = {git_note = true}")
    if not isinstance(git_note := inner.table.get("git_note", False), bool):
        raise inner.wrong("git_note", git_note, "is neither true nor false.")
    return Anchors(
        git_note=git_note,
        file=inner.place("file", section.folder) if "file" in inner.table else None,
        webhook=_read_webhook(inner) if "webhook" in inner.table else None,
    )


def _read_webhook(section: Section) -> Value:
    """A URL that a webhook takes, or a reference to a secret that is one."""
    value = section.secret_or_text("webhook", section.table["webhook"])
    if isinstance(value, Secret):
        return value
    try:
        Webhook(url=value)
    except ConfigError as error:
        raise section.error("webhook", error.what, hint=error.hint) from None
    return value
