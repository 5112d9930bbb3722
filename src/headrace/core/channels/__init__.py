"""Channels that notify people of events: one contract (`base`), one file for each kind, and the list of kinds (`registry`).

`environments.config` has the channels of an environment; `core.events` records which events each channel has accepted.
Not for servers and MLflow, which are updated by projections of the stages.
"""

from headrace.core.channels.base import Channel, ChannelSetting

__all__ = ["Channel", "ChannelSetting"]
