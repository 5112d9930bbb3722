"""Channels that tell people of events: one contract (`base`), one file for each kind, and the list of kinds (`registry`).

Which channels an environment has is said by `environments.config`; which events each of them has taken is kept by
`core.events`. Not for servers and MLflow, which follow stages by projections.
"""

from headrace.core.channels.base import Channel, ChannelSetting

__all__ = ["Channel", "ChannelSetting"]
