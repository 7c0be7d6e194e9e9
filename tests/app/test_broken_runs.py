"""Pages over a folder of runs from anywhere: the good ones are drawn, and the bad ones named."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from deltamask.runs.folder import write_json
from deltamask.runs.status import read_json
from tests.runs.test_broken import BAD, make_bad
from tests.support.records import finished_run

PAGES = Path(__file__).resolve().parents[2] / "app" / "pages"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two good runs, one of them uploaded, and fifty bad ones."""
    monkeypatch.setenv("DELTAMASK_RUNS", str(tmp_path))
    finished_run(tmp_path / "good")
    status = finished_run(tmp_path / "theirs").path / "status.json"
    write_json(status, {**read_json(status), "uploaded": True})
    for number, (file, content, _) in enumerate(BAD):
        make_bad(tmp_path / f"bad-{number:02d}", file, content)
    return tmp_path


def draw(page: str, **address: str) -> AppTest:
    """A page as somebody sees it who opens this address."""
    # Not from_file: it would put pages/ before the folders of the same names that the pages import.
    code = f"import runpy; runpy.run_path({str(PAGES / page)!r})"
    test = AppTest.from_string(code, default_timeout=300)
    test.query_params.update(address)
    return test.run()


@pytest.mark.parametrize("page", ["lab.py", "compare.py", "wire.py", "privacy.py"])
def test_a_page_is_drawn_beside_bad_folders(root: Path, page: str) -> None:
    assert not draw(page).exception


def test_the_lab_lists_the_good_runs_and_names_the_bad_ones(root: Path) -> None:
    page = draw("lab.py")
    options = page.selectbox(key="focus").options
    assert any(option.endswith("· good") for option in options)
    assert any(option.endswith("· theirs (uploaded)") for option in options)
    assert not any("bad-" in option for option in options)
    assert f"{len(BAD)} folders among the runs cannot be read" in [each.label for each in page.expander]
    captions = [each.value for each in page.caption]
    assert any(text.startswith("**bad\\-00**: ") and "config\\.json is damaged" in text for text in captions)
    assert any(f"and {len(BAD) - 20} more" in text for text in captions)
