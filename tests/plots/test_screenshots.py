"""The pictures in docs/ are those that a document shows."""

from __future__ import annotations

from scripts.screenshots import EVERY, ROOT, Shot, shown


def test_docs_hold_the_shown_pictures_and_no_others() -> None:
    assert {path.name for path in (ROOT / "docs").glob("*.png")} == {shot.file for shot in shown()}


def test_what_documents_show_is_found() -> None:
    assert Shot("lab", "light", "") in shown()  # README's first picture
    assert len(EVERY) == len({shot.file for shot in EVERY}) == 20
