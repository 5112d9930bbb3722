"""What commands that run a pipeline share: the release whose code runs, and the story of its steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from headrace.cli.output import Story, say

if TYPE_CHECKING:
    from headrace.operations.job import Announcement

release_option = click.option(
    "--release", default=None, metavar="TAG", help="The release whose code runs, where only releases may."
)


class PipelineStory(Story):
    """The story of a pipeline, whose heading says where it runs and which code."""

    def __init__(self, pipeline: str, *, as_json: bool) -> None:
        super().__init__(quiet=as_json)
        self._name = pipeline

    def announce(self, what: Announcement) -> None:
        """The heading."""
        self.begin(f"{self._name} in {what.env}, from {what.code}")
        if what.uncommitted:
            say(f"  Uncommitted changes do not run here; {what.code} does.")
