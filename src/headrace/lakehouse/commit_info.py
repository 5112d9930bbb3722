"""Entries in the Delta log for each version that Headrace writes: the id of the commit, its writer, widened columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from deltalake import CommitProperties, PostCommitHookProperties

from headrace.core.system import user
from headrace.lakehouse import log

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deltalake import Transaction

NO_CLEANING = PostCommitHookProperties(cleanup_expired_logs=False)


class CommitInfo(TypedDict):
    """The arguments about the log that every writing call of delta-rs takes."""

    commit_properties: CommitProperties
    post_commithook_properties: PostCommitHookProperties


def commit_info(
    id: str,  # noqa: A002 - the id of a commit
    transactions: Sequence[Transaction] = (),
    widened: Sequence[str] = (),
) -> CommitInfo:
    """Returns the arguments about the log for one version. Retries of delta-rs are off, for they would double rows.

    Args:
        id: the id of the commit, or what the version is for.
        transactions: the app transactions that are written with the version. Defaults to none.
        widened: the columns that the version widens, in words. Defaults to none.
    """
    metadata = {"headrace.id": id, "userName": user(), **({log.WIDENED: "\n".join(widened)} if widened else {})}
    return {
        "commit_properties": CommitProperties(
            custom_metadata=metadata, max_commit_retries=0, app_transactions=list(transactions)
        ),
        "post_commithook_properties": NO_CLEANING,
    }
