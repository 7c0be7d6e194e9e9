"""A backbone that is chosen in the Lab can be run as it is: images have a size that it reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from deltamask import backbones
from tests.app.test_broken_runs import draw

CUTTING = [name for name in backbones.names() if backbones.get(name).patch > 1]


@pytest.fixture(autouse=True)
def no_runs_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DELTAMASK_RUNS", str(tmp_path))
    monkeypatch.setattr("ui.expected.PATIENCE", 60.0)


def test_a_transformer_that_is_ticked_gets_images_of_whole_patches() -> None:
    page = draw("lab.py")
    assert page.session_state.field_image_size == 96
    page.selectbox(key="field_backbone").select("dinov2-small-focus").run()
    assert page.session_state.field_image_size == 98
    assert page.session_state.preset == "own settings"
    assert not page.exception


@pytest.mark.parametrize("name", CUTTING)
def test_a_link_to_one_has_a_size_that_it_reads_and_says_what_it_changed(name: str) -> None:
    patch = backbones.get(name).patch
    page = draw("lab.py", backbone=name)
    assert page.session_state.field_image_size % patch == 0
    assert draw("lab.py", backbone=name, image_size="32").session_state.field_image_size >= 32  # RunConfig's least
    page = draw("lab.py", backbone=name, image_size="100")
    assert page.session_state.field_image_size in (100 // patch * patch, 100 // patch * patch + patch)
    assert any("image_size = 100 fits no patches" in each.value for each in (*page.warning, *page.info, *page.caption))


def test_the_nearest_size_is_taken_and_never_none() -> None:
    spec = backbones.get("dinov2-small-focus")
    assert [spec.fitting(size) for size in (1, 20, 22, 96, 98, 104, 224)] == [14, 14, 28, 98, 98, 98, 224]
    assert backbones.get("efficientnet_lite0").fitting(97) == 97
