"""Run folders: written atomically, read as data, carried out, exported and imported."""


class StoreError(RuntimeError):
    """A run folder cannot be made, read or continued; the message says what to do."""
