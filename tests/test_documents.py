"""What the documents say of the project: the map is the folders', examples run, and nothing stands twice."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from sklearn.datasets import load_digits

from deltamask.methods import methods
from scripts.house import BEGIN, END, PAGE, ROOT, section
from tests.support.outside import blocks

PAGES = [ROOT / "README.md", PAGE, *sorted((ROOT / "docs").glob("*.md")), ROOT / "flower_app" / "README.md"]
SOURCES = [
    path
    for folder in ("deltamask", "app", "tests", "scripts", "benchmarks", "flower_app")
    for path in sorted((ROOT / folder).rglob("*.py"))
]


def test_the_map_of_the_house_is_made_from_its_docstrings() -> None:
    written = PAGE.read_text().partition(BEGIN)[2].partition(END)[0].strip()
    assert written == section(), "python scripts/house.py makes it again"


def test_every_folder_and_file_says_what_it_is() -> None:
    for line in section().splitlines()[::2]:
        assert len(line.partition("/`**")[2].strip()) > 15, line


def test_the_ten_questions_are_answered_with_places_that_exist() -> None:
    asked = PAGE.read_text().partition("### Ten questions")[2].partition("\n## ")[0]
    answers = re.findall(r"^\d+\. .*?\? (.*)$", asked, re.MULTILINE)
    assert len(answers) == 10
    for answer in answers:
        for place in re.findall(r"`([a-z_*]+/[a-z_./*]*)`", answer):
            assert list((ROOT / "deltamask").glob(place.rstrip("/"))), place


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_no_paragraph_and_no_heading_stands_twice(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    paragraphs = Counter(
        " ".join(part.split()) for part in re.split(r"\n\s*\n", text) if len(part) > 40 and part[0] != "<"
    )
    leads = Counter(re.findall(r"^\*\*[^*\n]+\.\*\*", text, re.MULTILINE))
    headings = Counter(re.findall(r"^#+ .+$", text, re.MULTILINE))
    for found in (paragraphs, leads, headings):
        assert [what for what, times in found.items() if times > 1] == []


def test_the_examples_of_bringing_your_own_run_as_they_stand(capsys: pytest.CaptureFixture[str]) -> None:
    digits = load_digits()
    x, y = digits.data.astype("float32") / 16, digits.target
    scope: dict[str, Any] = {"x": x[:400], "y": y[:400], "test_x": x[400:600], "test_y": y[400:600]}
    for block in blocks():
        if "register" not in block:  # that one is the package of tests/conformance/test_outside.py
            exec(block, scope)
    printed = capsys.readouterr().out
    for method in ("deltamask", "fedpm", "finetune"):
        assert re.search(rf"^{method} +accuracy 0\.\d{{4}}, \d+\.\d{{3}} bpp up a round$", printed, re.MULTILINE)
    assert printed.count("bytes") == 16  # four clients, rounds 0 to 3
    assert len(scope["flips"]) > 0


def test_no_file_is_longer_than_350_lines() -> None:
    long = {
        path.relative_to(ROOT).as_posix(): count
        for path in SOURCES
        if (count := len(path.read_text().splitlines())) > 350
    }
    assert long == {}


def test_what_is_common_to_all_methods_names_none() -> None:
    """Downlink, inspection, the config's fields and the dashboard ask a method what it is; only a default is a name."""
    names = "|".join(map(re.escape, methods))
    places = ["deltamask/downlink", "deltamask/inspection", "deltamask/plots", "app"]
    files = [path for place in places for path in (ROOT / place).rglob("*.py")]
    files += [path for path in (ROOT / "deltamask" / "config").glob("*.py") if path.stem not in ("presets", "paper")]
    found = {
        f"{path.relative_to(ROOT).as_posix()}:{number}: {line.strip()}"
        for path in files
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(rf"[\"']({names})[\"']", line)
    }
    assert {place.partition(":")[0] for place in found} <= {"deltamask/config/task_fields.py"}, found
    assert len(found) <= 1
