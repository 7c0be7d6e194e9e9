"""RunConfig: what a run is, its presets, and the paper's study."""

from deltamask.config.run_config import (
    CodecName,
    Downlink,
    MethodName,
    RunConfig,
    Schedule,
    clamp_fields,
    explain_errors,
    field_bounds,
    field_range,
)

__all__ = [
    "CodecName", "Downlink", "MethodName", "RunConfig", "Schedule", "clamp_fields", "explain_errors", "field_bounds",
    "field_range",
]  # fmt: skip
