"""The gallery: one file with all that was measured, safe and complete."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import pytest
from markupsafe import escape
from PIL import Image

from deltamask.base.paths import recorded_dir
from deltamask.cli import main
from deltamask.plots.gallery import MOST_PICTURES, film_of, gallery, step_for
from deltamask.plots.run_charts import group_names
from deltamask.runs.folder import RunFolder
from deltamask.runs.reader import list_runs, load_run
from deltamask.studies import views
from deltamask.studies.comparison import group_by_seed
from deltamask.studies.measured import measured_runs
from tests.support.records import finished_run


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("gallery") / "gallery.html"
    assert main(["gallery", "--out", str(path)]) == 0
    assert path.stat().st_size < 8_000_000
    return path.read_text()


def kept(page: str) -> list[list[dict[str, object]]]:
    (found,) = re.findall(r'<script type="application/json" id="pictures">(.*?)</script>', page, re.DOTALL)
    return list(json.loads(found))


def test_every_view_is_there_with_its_sentence(page: str) -> None:
    runs = [*list_runs(recorded_dir()), *measured_runs()]
    for name in views.ordered():
        groups = group_by_seed(views.prepared(name, runs))
        sentence = views.get(name).finds(groups, group_names(groups))
        assert sentence
        assert f'<section id="{name}">' in page
        assert f"<p>{escape(sentence)}</p>" in page
        for chart in (f"{name}-bits", f"{name}-rounds"):
            assert page.count(f'id="{chart}"') == 1
    assert page.count("plotly.js v") == 1  # the library once


def test_the_pictures_are_what_crossed_the_wire(page: str) -> None:
    films = kept(page)
    recorded = [run for run in list_runs(recorded_dir()) if film_of(run)]
    assert len(films) == len(recorded) >= 9
    at = [run.id for run in recorded].index("fashion")
    payload = {each.round: each for each in reversed(recorded[at].payloads())}
    rounds = [each["round"] for each in films[at]]
    assert rounds[:2] == [1, 3]
    for each in films[at]:
        data = base64.b64decode(str(each["png"]))
        assert data == payload[each["round"]].read()
        assert each["sent"] == len(data)
    widths = [Image.open(io.BytesIO(base64.b64decode(str(film[0]["png"])))).width for film in films]
    scales = {round(film[0]["side"] / width, 1) for film, width in zip(films, widths, strict=True)}  # type: ignore[operator]
    assert len(scales) == 1


def test_nothing_is_fetched(page: str) -> None:
    outside = re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=[\"']?(?!data:|#)([^\"' >]+)", page)
    assert not outside


def test_names_are_escaped_in_text_and_in_the_script(tmp_path: Path) -> None:
    """A folder's name may be anybody's."""
    name = "<img src=x onerror=alert(1)>&{{7*7}}"
    folder = RunFolder(finished_run(tmp_path / name, method="fedpm").path)
    folder.write_payload(2, 0, ".bin", b"</script><script>alert(2)</script>")
    page = gallery([load_run(folder.path)])
    assert "<img src=x" not in page
    assert "alert(2)" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;&amp;{{7*7}}" in page
    assert [each["round"] for each in kept(page)[0]] == [2]


def test_as_many_rounds_are_kept_as_there_is_room_for() -> None:
    film = film_of(load_run("fashion"))
    size = sum(len(picture.png) for _, picture in film)
    assert [round for round, _ in film] == list(range(1, 41))
    assert step_for([film]) == 1
    many = [film] * (MOST_PICTURES // size + 1)
    assert step_for(many) == 2
    assert step_for([film] * 1000) == 40
    assert step_for([]) == 1
