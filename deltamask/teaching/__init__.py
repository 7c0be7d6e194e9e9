"""What the notebooks share, and the Learn page's walkthrough: checks of exercises, figures, one round step by step.

    from deltamask.teaching import check, figures

`check(answer)` checks a reader's function and prints whether it is right, or a hint. The checks stand in one module for
each subject (`bits.py`, `wire.py`, `server.py`); importing this package registers them.
"""

from deltamask.teaching import bits, figures, server, wire
from deltamask.teaching.checks import check, check_answer, exercises

__all__ = ["bits", "check", "check_answer", "exercises", "figures", "server", "wire"]
