"""Run folders: queued and started, carried out, written atomically, read as data, exported and imported."""


class StoreError(RuntimeError):
    """A run folder cannot be made, read or continued; the message says what to do."""
