"""The Learn page: one round, step by step, on a small real example whose numbers can be changed."""

from __future__ import annotations

import time
from dataclasses import asdict

import pandas as pd
import streamlit as st
from learn.grids import as_html
from learn.scenes import SCENES
from ui.style import markdown

from deltamask.teaching.predictions import question
from deltamask.teaching.walkthrough import CHOICES, RANGES, Settings, Walkthrough, example, play_round, read_settings

PACE = 5.0  # seconds a step while playing
LAST = len(SCENES) - 1
NOISE_NAMES = {"shared": "one u for all (paper)", "per_client": "one u for each client"}


def start() -> None:
    """Fill the session from the link, once."""
    if "learn_step" in st.session_state:
        for name, value in asdict(Settings()).items():
            st.session_state.setdefault(f"learn_{name}", value)  # widgets forget when another page was shown
        return
    settings, notes = read_settings(st.query_params.to_dict())
    for name, value in asdict(settings).items():
        st.session_state[f"learn_{name}"] = value
    step, asked = 0, st.query_params.get("step")
    if asked is not None:
        step_of = {scene.key: index for index, scene in enumerate(SCENES)}
        if asked in step_of:
            step = step_of[asked]
        else:
            text = asked.lstrip("+-")
            number = int(asked) - 1 if text.isascii() and text.isdigit() and len(text) < 9 else 0
            step = min(max(number, 0), LAST)
            if not text.isdigit() or step != number:
                notes.append(f"step = {asked!r} is out of range (1 to {LAST + 1}): using {step + 1}")
    st.session_state.learn_step = step
    st.session_state.learn_notes = notes
    st.session_state.learn_playing = False


def go(step: int) -> None:
    """Show a step."""
    st.session_state.learn_step = min(max(step, 0), LAST)
    st.session_state.learn_since = time.monotonic()


def play() -> None:
    st.session_state.learn_playing = not st.session_state.learn_playing
    go(0 if st.session_state.learn_playing and st.session_state.learn_step == LAST else st.session_state.learn_step)


def press(step: int) -> None:
    st.session_state.learn_playing = False
    go(step)


def settings() -> Settings:
    """Draw the controls; returns their values, always within range."""
    st.markdown("**Change the numbers**")
    st.slider("κ, share of flips sent", *RANGES["kappa"], step=0.05, key="learn_kappa")
    st.slider(
        "Learning strength", *RANGES["strength"], step=0.25, key="learn_strength",
        help="Multiplies the real steps that training made on the scores. 1 is as it was; 0: nothing was learnt.",
    )  # fmt: skip
    st.slider(
        "Shift of logit θ_g", *RANGES["shift"], step=0.25, key="learn_shift",
        help="Added to every score, in nats. 0 is as it was; lower makes all bits less likely.",
    )  # fmt: skip
    st.segmented_control("Bits per entry", CHOICES["bpe"], key="learn_bpe", required=True)
    st.radio("Public noise", CHOICES["noise"], key="learn_noise", format_func=NOISE_NAMES.__getitem__)
    st.slider("Clients", int(RANGES["clients"][0]), int(RANGES["clients"][1]), key="learn_clients")
    clients = st.session_state.learn_clients
    st.session_state.learn_client = min(st.session_state.learn_client or 0, clients - 1)
    st.segmented_control("Client shown", range(clients), key="learn_client", required=True)
    defaults = asdict(Settings())
    values = {name: st.session_state[f"learn_{name}"] for name in defaults}
    # On a busy machine a browser may report before it has received the state of its buttons.
    return Settings(**{name: defaults[name] if value is None else value for name, value in values.items()})


@st.cache_resource(show_spinner=False, max_entries=200)
def cached_round(settings: Settings) -> Walkthrough:
    return play_round(settings)


def draw(chosen: Settings) -> None:
    """The step that is shown. While playing, its timer moves to the next."""
    state = st.session_state
    if state.learn_playing and time.monotonic() - state.get("learn_since", 0) >= PACE - 0.5:
        go(state.learn_step + 1)
        state.learn_playing = state.learn_step < LAST
        st.rerun()  # the row of buttons above marks the step
    round, scene = cached_round(chosen), SCENES[state.learn_step]
    at = state.learn_step
    st.header(f"{at + 1}. {scene.title}")
    st.markdown(scene.text(round))
    answered = ask(round, scene.key)
    st.html(as_html(scene.grids(round), blurred=not answered))
    if answered:
        with st.expander("The numbers as a table"):
            st.dataframe(pd.DataFrame(scene.table(round)), hide_index=True)
    st.caption(f"Deeper: `notebooks/{scene.notebook}.ipynb` (`make notebooks` opens it).")
    link = {name: f"{value:g}" if isinstance(value, float) else str(value) for name, value in asdict(chosen).items()}
    st.query_params.update({"step": str(at + 1)} | link)


def ask(round: Walkthrough, step: str) -> bool:
    """Draw the step's question, if it has one. Returns whether its answer may be seen."""
    asked = question(round, step)
    if asked is None or st.session_state.learn_playing:
        return True
    seen = st.session_state.setdefault("learn_seen", set())
    with st.container(border=True):
        choice = st.radio(f"**Predict.** {asked.text}", asked.options, index=None, key=f"answer_{step}_{asked.text}")
        if choice is None and step not in seen:
            st.button("Show me", key=f"show_{step}", type="tertiary", on_click=seen.add, args=(step,))
            return False
        if choice is None:
            st.info(asked.why)
        elif asked.options.index(choice) == asked.right:
            st.success(f"Right. {asked.why}", icon=":material/check:")
        else:
            st.warning(f"Not here. It is: {asked.options[asked.right]}. {asked.why}", icon=":material/lightbulb:")
    return True


start()
st.title("Why send a picture?")
origin = example().origin
st.markdown(
    "A hospital wants to help train a network, but neither its images nor a million weights shall leave it in every "
    "round. So it sends a small grey picture that says only where its *mask*, one bit a weight, has changed. Here a "
    f"block of {len(example().theta)} real weights goes through one such round, step by step; every "
    "number is computed by the package's own code when you change a setting."
)
for note in st.session_state.learn_notes:
    st.info(f"From the link: {markdown(note)}", icon=":material/link:")
with st.container(horizontal=True, gap="small", vertical_alignment="center"):
    for index, scene in enumerate(SCENES):
        st.button(
            scene.sign,
            key=f"learn_go_{scene.key}",
            on_click=press,
            args=(index,),
            type="primary" if index == st.session_state.learn_step else "secondary",
            help=scene.title,
        )
with st.container(horizontal=True, gap="small", vertical_alignment="center"):
    at, playing = st.session_state.learn_step, st.session_state.learn_playing
    st.button("Back", icon=":material/arrow_back:", key="learn_back", on_click=press, args=(at - 1,), disabled=at == 0)
    st.button(
        "Next", icon=":material/arrow_forward:", key="learn_next", type="primary", on_click=press, args=(at + 1,),
        disabled=at == LAST,
    )  # fmt: skip
    st.button(
        "Pause" if playing else "Play",
        icon=":material/pause:" if playing else ":material/play_arrow:",
        key="learn_play",
        on_click=play,
    )
scene_place, controls_place = st.columns([3, 1], gap="large")
with controls_place:
    chosen = settings()
    st.caption(
        f"From layer `{origin['layer']}` of the run `{origin['preset']}`, "
        f"rows {origin['rows'][0]} to {origin['rows'][1] - 1}, "
        f"columns {origin['columns'][0]} to {origin['columns'][1] - 1}: the block where the five clients flip most "
        f"({origin['flips_in_block']} flips; a usual block has {origin['flips_in_block_mean']:.0f})."
    )
with scene_place:
    st.fragment(draw, run_every=PACE if st.session_state.learn_playing else None)(chosen)
