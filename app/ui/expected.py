"""What to expect of a run with the form's settings, before it runs; and how far off that was, once it has."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import streamlit as st
from ui import style

from deltamask.base.paths import runs_dir
from deltamask.base.units import byte_size
from deltamask.config import RunConfig
from deltamask.runs.reader import Run
from deltamask.studies.forecast import SHARE, Forecast, Hindsight, Memory, Range, Time, hindsight, learn
from deltamask.studies.measured import measured_runs

PATIENCE = 1.0  # seconds that the browser gets to show the page as it is, before anything is learnt
TICK = 2.0  # seconds after which the page asks whether there is anything to learn


@dataclass
class Shelf:
    """What every visitor's page predicts from. known: the runs that it was learnt from."""

    known: tuple[tuple[str, str], ...] = ()
    memory: Memory | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


@st.cache_resource(show_spinner=False)
def _shelf() -> Shelf:
    return Shelf()


def memory() -> Memory | None:
    """Everything that was measured, here and in the studies, when `learn_new` was last here; None before."""
    return _shelf().memory


def learn_new(runs: Iterable[Run]) -> None:
    """A moment after this page was drawn, learn from these runs and from the studies, and draw the page again: on the
    first visit, and when a run has finished since."""
    finished = [run for run in runs if run.state == "finished"]
    known = tuple((run.id, str(run.provenance.get("created"))) for run in finished)
    if _shelf().memory is None or _shelf().known != known:
        st.session_state.drawn_at = time.monotonic()
        st.fragment(_learn, run_every=TICK)(finished, known)


def _learn(finished: list[Run], known: tuple[tuple[str, str], ...]) -> None:
    if time.monotonic() - st.session_state.drawn_at < PATIENCE:
        return  # this is the page's own drawing
    shelf = _shelf()
    with shelf.lock:
        if shelf.memory is None or shelf.known != known:
            shelf.memory, shelf.known = learn([*finished, *measured_runs()], runs_dir()), known
            gc.collect()
            gc.freeze()  # as the frame does with what the first page has read
    st.rerun()


def of_form() -> Forecast | None:
    """The forecast for the settings in the form, None while they are not valid."""
    config, known = st.session_state.get("form_config"), memory()
    return known.forecast(config) if known and config is not None else None


def start() -> None:
    """Before the form is drawn by the whole page: what the other panels show is what it says."""
    st.session_state.pop("form_drawn", None)


def follow(config: RunConfig | None) -> None:
    """Keep the form's settings for the other panels; where they show others, draw the whole page again."""
    st.session_state.form_config = config
    if st.session_state.setdefault("form_drawn", config) != config:
        st.rerun()


def draw(config: RunConfig) -> None:
    """What a run with these settings will probably send, reach and take, and from what that is judged."""
    known = memory()
    if known is None:
        st.markdown(":small[**Predicted** as soon as this page has read what was measured]")
        return
    forecast = known.forecast(config)
    lines = [*_figures(forecast), *([seconds(forecast.time.seconds)] if forecast.time else [])]
    if forecast.accuracy is None:
        lines.append("nothing like it was measured")
    st.markdown(f":small[**Predicted** {' · '.join(lines)}]", help=_why(forecast))


def _figures(forecast: Forecast) -> list[str]:
    message, accuracy = forecast.message, forecast.accuracy
    return [
        *([f"{size(message)} a message"] if message else []),
        *([f"accuracy {share(accuracy)}"] if accuracy else []),
    ]


def size(range: Range) -> str:
    """Bytes with their range."""
    return f"≈ {byte_size(range.value)} ({byte_size(range.low)} to {byte_size(range.high)})"


def share(range: Range) -> str:
    """An accuracy with its range: the range is what counts."""
    return f"{range.low:.2f} to {range.high:.2f}"


def seconds(range: Range) -> str:
    """A time with its range, where more than one run tells of it."""
    ends = f" ({style.duration(range.low)} to {style.duration(range.high)})" if range.errors else ""
    return f"≈ {style.duration(range.value)}{ends}"


def _why(forecast: Forecast) -> str:
    """Where the figures come from, and what their ranges mean."""
    parts = [
        f"Predicted, not measured. {SHARE:.0%} of the measured runs that were predicted in the same way, each as if it "
        "had not been run, came within such a range."
    ]
    if forecast.like:
        how = "These very settings were run:" if forecast.distance == 0 else "The nearest settings that were run:"
        parts.append(f"{how} {', '.join(style.markdown(name) for name in forecast.like[:3])}.")
    if forecast.message:
        parts.append(f"**Bytes** that one client sends in a round, {forecast.message.errors} runs predicted so: κ and "
                     "the codec's bits an entry are computed, the number of flips is theirs.")  # fmt: skip
    elif forecast.accuracy:
        parts.append("**Bytes:** no run of this method with as many masked blocks was measured.")
    if forecast.accuracy:
        parts.append(f"**Accuracy** over the last ten rounds, {forecast.accuracy.errors} runs predicted so.")
    else:
        config = forecast.config
        lying = "" if config.attack == "none" else f", with the attack {config.attack}"
        private = "" if config.dp == "none" else ", with differential privacy"
        what = style.markdown(f"{config.backbone} on {config.dataset}{lying}{private}")
        parts.append(f"**Bytes and accuracy:** no run of {what} was measured.")
    return "\n\n".join([*parts, *([_whose_time(forecast.time)] if forecast.time else [])])


def _whose_time(time: Time) -> str:
    where = "on this machine" if time.local else "on the machine that recorded them"
    scaled = ", scaled by what this one took for other networks" if time.calibrated and not time.local else ""
    judged = f"{time.seconds.errors} predicted so" if time.seconds.errors else "a single one, so no range"
    return (
        f"**Time** of the whole run, start-up and features included, from {time.runs} run"
        f"{'s' if time.runs > 1 else ''} {where}{scaled}; {judged}."
    )


def draw_hindsight(run: Run) -> None:
    """How far off a prediction of this finished run was, made as if its setting had never been run."""
    known = memory()
    if known and (found := hindsight(known, run, runs_dir())):
        st.caption(
            f"**Predicted without this setting's runs:** {'; '.join(map(_off, found))}.",
            help=f"A range should hold {SHARE:.0%} of such runs.",
        )


def _off(each: Hindsight) -> str:
    said, measured = each.said, each.measured
    inside = "inside" if said.holds(measured) else "outside"
    if each.of == "bytes":
        return f"{size(said)} a message, was {byte_size(measured)}, {measured / said.value - 1:+.0%}, {inside}"
    if each.of == "accuracy":
        off = f"{100 * (measured - said.value):+z.1f} points"
        return f"accuracy {said.value:.3f} ({share(said)}), was {measured:.3f}, {off}, {inside}"
    return f"{seconds(said)}, took {style.duration(measured)}" + (f", {inside}" if said.errors else "")
