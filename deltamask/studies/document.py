"""docs/results.md: hand-written prose around blocks that are made from the tables.

A block stands between `<!-- made: KIND EXPERIMENT … -->` and `<!-- /made -->`. Making the document again replaces what
is between such marks and nothing else.

    settings table statements     what was run; every measure of every arm; what follows from the figures
    short EXPERIMENT              accuracy and bits of every arm
    comparisons EXPERIMENT ARM    an arm against each other one: paired by seed and by image, corrected for their number
    clients                       how evenly each arm serves its clients; who is better off than alone
    attacks                       what a liar costs, without protection and with it
    choices EXPERIMENT [MEASURE]  for arms that list values: the accuracy, or measure, of each value, and the best one
    curves tradeoff worth         figures: accuracy against megabytes, against bits; what each option is worth
    value EXPERIMENT ARM MEASURE, difference EXPERIMENT ARM OTHER       one figure, within a sentence
    gain, ratio EXPERIMENT ARM OTHER MEASURE                            the same of another measure than accuracy
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from deltamask.studies import attacks as lies
from deltamask.studies import markdown as blocks
from deltamask.studies.experiments import Experiment
from deltamask.studies.tables import Results

BLOCK = re.compile(r"<!-- made: (?P<what>[^\n]*?) -->(?P<made>.*?)<!-- /made -->", re.DOTALL)
KINDS: dict[str, tuple[Callable[..., str], tuple[str, ...]]] = {
    "settings": (blocks.settings, ("EXPERIMENT",)),
    "table": (blocks.table, ("EXPERIMENT",)),
    "statements": (blocks.statements, ("EXPERIMENT",)),
    "short": (blocks.short, ("EXPERIMENT",)),
    "comparisons": (blocks.comparisons, ("EXPERIMENT", "ARM")),
    "clients": (blocks.clients, ("EXPERIMENT",)),
    "attacks": (blocks.attacks, ("EXPERIMENT",)),
    "choices": (blocks.choices, ("EXPERIMENT", "[MEASURE]")),
    "curves": (blocks.curves, ("EXPERIMENT",)),
    "tradeoff": (blocks.tradeoff, ("EXPERIMENT",)),
    "worth": (blocks.worth, ("EXPERIMENT",)),
    "value": (blocks.value, ("EXPERIMENT", "ARM", "MEASURE")),
    "difference": (blocks.difference, ("EXPERIMENT", "ARM", "OTHER")),
    "gain": (blocks.gain, ("EXPERIMENT", "ARM", "OTHER", "MEASURE")),
    "ratio": (blocks.ratio, ("EXPERIMENT", "ARM", "OTHER", "MEASURE")),
}
WITHIN_A_SENTENCE = ("value", "difference", "gain", "ratio")
FIGURES = ("curves", "tradeoff", "worth")


class DocumentError(ValueError):
    """The document's marks are wrong; the message says which, and what there is."""


def draft(experiments: Sequence[Experiment]) -> str:
    """A document for a study that has none yet: every experiment with its settings, table, statements and figures."""
    parts = ["# Results\n\nMade by `deltamask results`. What stands between two marks is made again each time; write "
             "around them.\n"]  # fmt: skip
    for experiment in experiments:
        kinds = ["settings", "table", "statements", "curves", "tradeoff"]
        if any(arm.chosen for arm in experiment.arms):
            kinds.insert(3, "choices")
        if lies.played({(experiment.name, arm.name): arm.config for arm in experiment.arms}):
            kinds.insert(2, "attacks")
        marks = [f"<!-- made: {kind} {experiment.name} --><!-- /made -->" for kind in kinds]
        parts.append("\n\n".join([f"## {blocks.quoted(experiment.title)}", *marks]) + "\n")
    return "\n".join(parts)


def render(document: str, results: Results) -> str:
    """The document with every block made anew."""
    return with_blocks(document, lambda what: _made(what, results))


def with_blocks(document: str, made: Callable[[str], str]) -> str:
    """The document with what `made` makes of each block's words between its marks."""
    _check_marks(document)
    return BLOCK.sub(lambda block: f"<!-- made: {block['what']} -->{made(block['what'])}<!-- /made -->", document)


def figures(document: str) -> list[tuple[str, str]]:
    """(kind, experiment) of each figure that the document shows."""
    marks = [block["what"].split() for block in BLOCK.finditer(document)]
    return [(words[0], words[1]) for words in marks if words[0] in FIGURES]


def _check_marks(document: str) -> None:
    for block in BLOCK.finditer(document):
        if "<!-- made:" in block["made"]:  # it would swallow the prose up to the next block's end
            raise DocumentError(f"<!-- made: {block['what']} --> has no <!-- /made --> of its own")
    if left := re.search(r"<!-- (made:|/made)[^\n]*", BLOCK.sub("", document)):
        raise DocumentError(f"{left[0]} has no other half")


def _made(what: str, results: Results) -> str:
    kind, *words = what.split()
    if kind not in KINDS:
        raise DocumentError(f"<!-- made: {what} -->: no such kind; kinds: {', '.join(KINDS)}")
    make, wanted = KINDS[kind]
    if not sum(word[0] != "[" for word in wanted) <= len(words) <= len(wanted):
        raise DocumentError(f"<!-- made: {what} -->: {kind} takes {' '.join(wanted)}")
    names = {experiment.name: experiment for experiment in results.experiments}
    if words[0] not in names:
        raise DocumentError(f"<!-- made: {what} -->: no experiment {words[0]!r}; there are: {', '.join(names)}")
    try:
        text = make(results, names[words[0]], *words[1:])
    except KeyError as error:
        raise DocumentError(f"<!-- made: {what} -->: {error.args[0]}") from None
    return text if kind in WITHIN_A_SENTENCE else f"\n\n{text}\n\n"
