"""What the notebooks share: checks of their exercises, and the few figures that the dashboard has no need of.

    from deltamask.teaching import check, figures

`check(answer)` looks at a reader's function and says what is right, or hints at what is not. Exercises live beside the
subject they belong to (`bits.py`, `wire.py`, `server.py`); importing this package registers them.
"""

from deltamask.teaching import bits, figures, server, wire
from deltamask.teaching.checks import check, exercises, judge

__all__ = ["bits", "check", "exercises", "figures", "judge", "server", "wire"]
