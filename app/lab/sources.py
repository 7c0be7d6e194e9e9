"""Where backbone and dataset come from: what is here, and what is fetched only when somebody says so."""

from __future__ import annotations

import streamlit as st
from lab import controls, fetching
from ui.style import markdown

from deltamask import backbones, datasets
from deltamask.backbones import BackboneSpec
from deltamask.base.paths import download_dir
from deltamask.base.units import byte_size
from deltamask.config import RunConfig
from deltamask.datasets import DatasetSpec

TO_FETCH, MISSING = ":material/cloud_download:", ":material/cloud_off:"


def lacking(config: RunConfig) -> list[str]:
    """What a run with this config has to wait for: what is not here, and may not be fetched by the run itself."""
    lacks = []
    if _lacks_weights(config.backbone, config.weights) and not _may_fetch(config.backbone):
        lacks.append(f"the weights of {markdown(config.backbone)}")
    if lacks_dataset(config.dataset):
        lacks.append(f"the dataset {markdown(config.dataset)}")
    return lacks


def lacks_dataset(name: str) -> bool:
    """Is there no such dataset here, or nowhere? A folder that a link names is not looked into unasked."""
    if _is_from_link(name):
        return True
    try:
        return datasets.get(name).fault() is not None
    except KeyError:
        return True


def _is_from_link(dataset: str) -> bool:
    """Is it a folder that the address named when the page was opened, and nobody has confirmed?"""
    return dataset == st.session_state.get("folder_of_link")


def _confirm_folder() -> None:
    del st.session_state.folder_of_link


def _spec(backbone: str) -> BackboneSpec | None:
    """None for `timm:NAME`: to know whether timm has it would load torch into the dashboard; the run will say."""
    return None if backbone.startswith(backbones.TIMM) else backbones.get(backbone)


def _lacks_weights(backbone: str, weights: str) -> bool:
    """Is something to be fetched for it, or does nobody know it?"""
    try:
        spec = _spec(backbone)
    except KeyError:
        return True
    return spec.lacks(weights) if spec else weights == "pretrained"


def _may_fetch(backbone: str) -> bool:
    """Has somebody said that its weights may be fetched?"""
    return bool(st.session_state.get(f"fetch_{backbone}"))


def draw_backbone() -> None:
    """Size and licence of the backbone's weights, and how to get them if they are not here."""
    name, weights = (st.session_state[controls.key(field)] for field in ("backbone", "weights"))
    try:
        spec = _spec(name)
    except KeyError as error:
        st.error(markdown(error.args[0]))
        return
    if weights == "random":
        st.caption("Random weights: nothing is fetched.")
    elif weights != "pretrained":
        st.caption(f"Weights from {markdown(weights)}.")
    elif spec and spec.where():
        size = f", images of {st.session_state[controls.key('image_size')]} px" if spec.patch > 1 else ""
        st.caption(f"{byte_size(spec.size_bytes)}, {_brief(spec.license)}{size}", help=spec.license)
    elif spec and not spec.host:
        st.caption(f"{MISSING} Not on this machine: {spec.how_to_get}.")
    else:
        what = f"{byte_size(spec.size_bytes)}. Licence: {spec.license}" if spec else "size and licence stand there"
        st.caption(f"{TO_FETCH} Not on this machine; {spec.host if spec else backbones.HUB} has it: {what}.")
        st.checkbox(
            "Fetch it when the run starts", key=f"fetch_{name}",
            help="Or set Weights, under Network and data, to a file that you have, or to `random`.",
        )  # fmt: skip


def _brief(license: str) -> str:
    """A licence without what stands in brackets behind it."""
    return license.partition(" (")[0]


def draw_dataset() -> None:
    """Size and licence of the dataset, and how to get it if it is not here."""
    name = st.session_state[controls.key("dataset")]
    fetch = fetching.of(name)
    if fetch is not None and fetch.running:
        st.fragment(_draw_progress, run_every=1.0)(name)
        return
    if _is_from_link(name):
        st.caption(f"{MISSING} The link names a folder of this machine. Nothing in it has been read.")
        st.button("Read this folder", icon=":material/folder_open:", on_click=_confirm_folder, width="stretch")
        return
    try:
        spec = datasets.get(name)
    except KeyError as error:
        st.error(markdown(error.args[0]))
        return
    fault = spec.fault()
    if fault is None:
        size = f"{byte_size(spec.size_bytes)}, " if spec.size_bytes else "Licence: "
        st.caption(f"{size}{_brief(spec.license)}", help=None if _brief(spec.license) == spec.license else spec.license)
        return
    _draw_missing(name, spec, fault)
    if fetch is not None and fetch.fault:
        st.error(markdown(fetch.fault))


def _draw_missing(name: str, spec: DatasetSpec, fault: str) -> None:
    if spec.download is None:
        st.caption(f"{MISSING} {markdown(fault)}")
        return
    size, hosts = byte_size(spec.download.size), markdown(spec.download.hosts)
    st.caption(f"{TO_FETCH} Not on this machine; {hosts} has it: {size}. Licence: {spec.license}.")
    st.button(
        "Download", icon=":material/download:", key="download_dataset", width="stretch",
        on_click=fetching.start, args=(name,),
        help=f"Into {download_dir()}. It goes on when you close this tab, and from where it broke off.",
    )  # fmt: skip


def _draw_progress(name: str) -> None:
    fetch = fetching.of(name)
    if fetch is None or not fetch.running:
        st.rerun()
    share = min(1.0, fetch.done / max(1, fetch.total))
    st.progress(share, text=f"{fetch.what}: {byte_size(fetch.done)} of {byte_size(fetch.total)}")
    st.button(
        "Cancel", icon=":material/close:", key="cancel_download", width="stretch",
        disabled=fetch.cancelled, on_click=fetching.cancel, args=(name,),
    )  # fmt: skip
