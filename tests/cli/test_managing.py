"""What a researcher types next: more rounds, other names, a study of one's own, a sweep's runs."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import filelock
import pytest

from deltamask import RunConfig, list_runs, load_run
from deltamask.cli import main
from deltamask.runs import StoreError, manage
from deltamask.runs.folder import RunFolder
from deltamask.runs.reader import Run
from deltamask.runs.status import LOCK
from tests.support import tiny
from tests.support.commands import quiet, uninterrupted
from tests.support.records import finished_run
from tests.support.tiny import flags, timeless

ROOT = Path(__file__).resolve().parents[2]
CONFIG = tiny.config(rounds=2, clients=2, train_samples=100, test_samples=50, probe_epochs=2, keep_payloads="none")


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DELTAMASK_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


def made(path: Path, config: RunConfig = CONFIG) -> Run:
    quiet(config, RunFolder.create(path, config))
    return load_run(path)


# More rounds


def test_more_rounds_are_those_of_a_run_that_had_them_from_the_start(tiny_cache: Path, runs: Path) -> None:
    made(runs / "mine")
    assert main(["resume", "mine", "--rounds", "4"]) == 0
    run = load_run("mine")
    assert (run.state, run.config.rounds) == ("finished", 4)
    assert [timeless(record) for record in run.records] == uninterrupted(CONFIG.replace(rounds=4))


@pytest.mark.parametrize("field", ["lr_schedule", "kappa_schedule"])
def test_a_cosine_schedule_has_ended_and_is_not_stretched(
    tiny_cache: Path, runs: Path, capsys: pytest.CaptureFixture[str], field: str
) -> None:
    made(runs / "mine", CONFIG.replace(**{field: "cosine"}))
    before = (runs / "mine" / "config.json").read_bytes()
    assert main(["resume", "mine", "--rounds", "4"]) == 1
    assert f"{field} = cosine has brought it down to 0 over 2" in capsys.readouterr().err
    assert (runs / "mine" / "config.json").read_bytes() == before
    assert main(["resume", "mine", "--rounds", "2"]) == 0  # as many as it has


def test_fewer_rounds_are_refused(tiny_cache: Path, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made(runs / "mine")
    assert main(["resume", "mine", "--rounds", "1"]) == 2
    assert "has 2 already" in capsys.readouterr().err


# Star and note


def test_a_star_comes_first_and_a_note_is_kept(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finished_run(runs / "old", rounds=2)
    finished_run(runs / "new", rounds=3)
    manage.mark(load_run("old"), star=True, note="  the best\none so far ")
    mark = load_run("old").mark
    assert (mark.star, mark.note) == (True, "the best one so far")
    assert main(["runs", "--json"]) == 0
    first, *others = json.loads(capsys.readouterr().out)
    assert (first["run"], first["star"], first["note"]) == ("old", True, "the best one so far")
    assert not any(run["star"] for run in others)
    main(["runs"])
    assert "★ old" in capsys.readouterr().out
    main(["show", "old"])
    assert "note: the best one so far" in capsys.readouterr().out
    manage.rename(load_run("old"), "renamed")
    assert load_run("renamed").mark == mark
    manage.mark(load_run("renamed"), star=False, note="")
    assert not load_run("renamed").mark.star


def test_what_is_no_note_is_refused(runs: Path) -> None:
    run = finished_run(runs / "mine")
    for note in ("x" * 501, "a\x1b[2Jb"):
        with pytest.raises(StoreError, match="cannot be a run's note, of at most 500 characters"):
            manage.mark(run, star=True, note=note)
    assert not (run.path / "mark.json").exists()
    with pytest.raises(StoreError, match="recorded run, which comes with the repository: it cannot be marked"):
        manage.mark(load_run("fashion"), star=True, note="")


# Delete and rename


def test_a_run_is_renamed_and_deleted(
    tiny_cache: Path, runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = made(runs / "mine").records
    made(runs / "other")
    assert main(["rename", "mine", "best", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"run": "best", "path": str(runs / "best")}
    assert load_run("best").records == before
    assert not (runs / "mine").exists()
    for taken in ("other", "fashion", "a/b", "..", "", ".hidden", "a\nb"):
        assert main(["rename", "best", taken]) == 1, taken
    assert load_run("best").records == before

    monkeypatch.setattr("sys.stdin", open("/dev/null"))  # noqa: SIM115
    assert main(["delete", "best"]) == 2
    assert "add --yes" in capsys.readouterr().err
    assert load_run("best").records == before
    assert main(["delete", "best", "--yes"]) == 0
    assert {path.name for path in runs.iterdir()} == {"other"}


def test_what_runs_or_is_recorded_is_left_alone(tiny_cache: Path, runs: Path) -> None:
    run = made(runs / "mine")
    with filelock.FileLock(run.path / LOCK):
        for refused in (manage.delete, lambda run: manage.rename(run, "best"), lambda run: manage.extend(run, 9)):
            with pytest.raises(StoreError, match="is running: stop it first"):
                refused(run)
    recorded = load_run("fashion-gap")
    for refused in (manage.delete, lambda run: manage.rename(run, "best")):
        with pytest.raises(StoreError, match="is a recorded run"):
            refused(recorded)
    assert (recorded.path / "config.json").exists()
    assert load_run(run.path).records == run.records


# Sweeps and studies


def study(folder: Path, name: str = "mine") -> Path:
    folder.mkdir(exist_ok=True)
    base = "\n".join(f"{key} = {json.dumps(value)}" for key, value in CONFIG.model_dump().items() if key != "seed")
    arms = '[arms.gap]\nlabel = "Gap"\ncodec = "gap"\n[arms.fedpm]\nmethod = "fedpm"\n'
    file = folder / f"{name}.toml"
    file.write_text(f'title = "My question"\nquestion = "Which?"\nseeds = [0, 1]\n[base]\n{base}\n{arms}')
    return file


def test_a_study_of_ones_own_from_its_file_to_its_document(
    tiny_cache: Path, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from deltamask.studies.experiments import read_experiment

    monkeypatch.chdir(tmp_path)
    for trial in read_experiment(study(tmp_path / "study")).trials:
        made(runs / "sweeps" / trial.folder, trial.config)

    names = ["mine/fedpm-s0", "mine/fedpm-s1", "mine/gap-s0", "mine/gap-s1"]
    assert sorted(run.id for run in list_runs() if "/" in run.id) == names
    assert main(["runs", "--json"]) == 0
    assert set(names) < {row["run"] for row in json.loads(capsys.readouterr().out)}
    assert main(["show", "mine/gap-s1"]) == 0
    assert "mine/gap-s1  finished" in capsys.readouterr().out
    for name in names:
        assert load_run(name).id == name
        with pytest.raises(StoreError, match="is a sweep's"):
            manage.rename(load_run(name), "best")
    assert main(["export", "mine/gap-s1"]) == 0
    assert (tmp_path / "gap-s1.zip").exists()

    assert main(["results", "--experiments", "study"]) == 0
    text = (tmp_path / "study" / "results.md").read_text()
    assert "## My question" in text
    assert "| Gap" in text
    assert "±" in text
    for figure in re.findall(r"\]\(([^)]+\.svg)\)", text):
        assert (tmp_path / "study" / figure).exists(), figure
    assert {path.name for path in (tmp_path / "study" / "tables").iterdir()} == {
        "runs.jsonl", "rounds.csv", "summary.csv", "images.jsonl",
    }  # fmt: skip

    (tmp_path / "study" / "results.md").write_text(text.replace("## My question", "## Mine\n\nMy words."))
    shutil.rmtree(runs)
    assert main(["results", "--experiments", "study"]) == 0  # from the tables
    assert (tmp_path / "study" / "results.md").read_text() == text.replace("## My question", "## Mine\n\nMy words.")


def test_what_another_sweep_runs_is_left_to_it(
    tiny_cache: Path, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from deltamask.studies.experiments import read_experiment

    file = study(tmp_path / "study")
    trials = read_experiment(file).trials
    for trial in trials[1:]:
        made(runs / "sweeps" / trial.folder, trial.config)
    path = runs / "sweeps" / trials[0].folder
    RunFolder.create(path, trials[0].config).write_status(state="running")
    with filelock.FileLock(path / LOCK):
        assert main(["sweep", str(file), "--json"]) == 0
    printed = capsys.readouterr()
    assert f"{trials[0]}: left to the other process" in printed.err
    (row,) = [json.loads(line) for line in printed.out.splitlines()]
    assert (row["state"], row["error"]) == ("left", None)


# What is said, and what is shown


@pytest.mark.parametrize(
    ("options", "unread"),
    [
        ({"method": "linear-probe", "kappa": 0.5}, ["kappa"]),
        ({"method": "fedpm", "codec": "gap", "lora_rank": 8}, ["codec", "lora_rank"]),
        ({"lr": 0.3, "kappa": 0.5}, []),
    ],
)
def test_options_without_effect_are_said_to_have_none(
    tiny_cache: Path, runs: Path, capsys: pytest.CaptureFixture[str], options: dict[str, object], unread: list[str]
) -> None:
    config = CONFIG.replace(rounds=1, **options)
    assert main(["run", *flags(config)]) == 0
    said = re.findall(r"note: (\w+) = \S+ has no effect here", capsys.readouterr().err)
    assert sorted(said) == sorted(unread)


def test_the_version_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("deltamask 0.1.0")


def test_a_run_says_in_a_line_what_it_is(tiny_cache: Path, runs: Path) -> None:
    run = made(runs / "<b>mine")
    assert repr(run) == "<Run <b>mine: finished, 2 of 2 rounds>"
    assert run._repr_html_().startswith("<b>&lt;b&gt;mine</b>: finished, 2 of 2 rounds<br>rounds 2, accuracy 0.")


def test_the_readme_plots_a_run_as_it_prints() -> None:
    """The first statement of its Python example; the second trains for minutes."""
    text = (ROOT / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    plot = next(line for line in code.splitlines() if ".plot(" in line)
    names: dict[str, object] = {"load_run": load_run}
    exec(compile(f"figure = {plot}", "README.md", "exec"), names)
    (line,) = names["figure"].data  # type: ignore[attr-defined]
    assert list(line.y) == list(load_run("fashion").rounds["accuracy"])


def test_a_run_that_was_put_aside_comes_back_as_it_was(runs: Path) -> None:
    run = finished_run(runs / "mine")
    records = run.records
    aside = manage.discard(run)
    assert list_runs(runs) == []
    finished_run(runs / "mine")
    with pytest.raises(StoreError, match="called 'mine' again"):
        manage.restore(aside)
    manage.delete(load_run("mine"))
    assert manage.restore(aside) == runs / "mine"
    assert load_run("mine").records == records
    with pytest.raises(StoreError, match="gone for good"):
        manage.restore(aside)


def test_what_was_put_aside_long_ago_is_removed(runs: Path) -> None:
    old = manage.discard(finished_run(runs / "old-one"))
    long_ago = old.with_name("1000.0-old-one")
    old.rename(long_ago)
    manage.discard(finished_run(runs / "new"))
    assert not long_ago.exists()


def test_a_recorded_run_is_not_put_aside() -> None:
    with pytest.raises(StoreError, match="recorded run"):
        manage.discard(load_run("fashion"))


# Which runs


def test_words_narrow_the_list(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finished_run(runs / "first", rounds=2, kappa=0.5)
    manage.mark(finished_run(runs / "second", rounds=2, kappa=0.25), star=False, note="for the talk #draft")
    assert main(["runs", "kappa<0.6", "rounds=2", "--json"]) == 0
    assert {row["run"] for row in json.loads(capsys.readouterr().out)} == {"first", "second"}
    assert main(["runs", "kappa<0.6", "#draft"]) == 0
    said = capsys.readouterr().out
    assert "second" in said
    assert "for the talk #draft" in said
    assert "first" not in said
    assert main(["runs", "kapa<1"]) == 2
    assert "is 'kappa' meant?" in capsys.readouterr().err
