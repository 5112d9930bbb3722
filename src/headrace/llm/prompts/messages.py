"""What a prompt renders to: chat messages, each with a role."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["system", "user", "assistant"]
ROLES: tuple[Role, ...] = ("system", "user", "assistant")


@dataclass(frozen=True)
class Message:
    """One message of a chat.

    Attributes:
        role: who speaks: `"system"` instructs, `"user"` asks, `"assistant"` answers.
        content: the text.
    """

    role: Role
    content: str

    def as_dict(self) -> dict[str, str]:
        """The message as chat completion requests carry it: `{"role": …, "content": …}`."""
        return {"role": self.role, "content": self.content}
