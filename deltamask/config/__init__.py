"""RunConfig: what a run is, its presets, and the paper's study."""

from deltamask.config.located import located
from deltamask.config.message_fields import Downlink
from deltamask.config.ranges import choices, clamp_fields, explain_errors, field_bounds, field_range
from deltamask.config.readers import is_unread, readers_of
from deltamask.config.run_config import RunConfig, default
from deltamask.config.setting import GROUPS
from deltamask.config.training_fields import Schedule

__all__ = [
    "GROUPS", "Downlink", "RunConfig", "Schedule", "choices", "clamp_fields", "default", "explain_errors",
    "field_bounds", "field_range", "is_unread", "located", "readers_of",
]  # fmt: skip
