"""A recipe run on a made tree of RAVDESS: from videos to a card that stands in the built page; what stops it, and how it goes on."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from recipe_samples import TINY, make_tree, pictures, ravdess_name, run_ravdess
from refusals import differs
from train_samples import Recorder
from video_samples import make_video

from est.cache import CacheWriter, open_cache
from est.commands.training.recipe import card_lines
from est.errors import EstError, UsageError
from est.extract.report import Report
from est.recipes import folder, running
from est.recipes.card import Card
from est.recipes.checking import check_card, read_cards
from est.recipes.clips import find_clips
from est.recipes.code import describe_code, sources_digest
from est.recipes.registry import recipe_named
from est.recipes.running import other_clips, run_recipe
from est.recipes.table import results_page
from est.train.runs.run import Run

ROOT = Path(__file__).parents[2]
PARTIAL = "19 of 1,440 clips; 6 folds of the 6 people that are there, others than those of all 24"


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return make_tree(tmp_path_factory.mktemp("data") / "RAVDESS", broken=True)


@pytest.fixture(scope="module")
def ran(tree, tmp_path_factory):
    """A run that Ctrl-C stopped in its third training, and that the same call went on with."""
    out = tmp_path_factory.mktemp("out") / "recipe-ravdess"
    watch = Recorder(interrupt_after=9)
    with pytest.raises(KeyboardInterrupt):
        run_ravdess(tree, out, watch=watch)
    assert "stopped; running the same command again resumes" in watch.said[-1]
    assert 0 < len(watch.results) < 12
    again = Recorder()
    return out, run_ravdess(tree, out, watch=again), watch, again


def test_it_says_before_it_starts_what_it_will_do(ran):
    _, _, watch, _ = ran
    said = "\n".join(watch.said)
    plan = said[: said.index("weights random: ")]
    assert "ravdess protocol 1: speech, 1,440 clips of 8 classes" in plan
    assert "1 extract   19 clips, 6 people (neutral 6, calm 6, happy 6, sad 1" in plan
    assert "about 57 frames" in plan
    assert "6 folds × 2 seeds = 12 trainings" in plan
    assert "partial: 19 of 1,440 clips" in said
    assert "folds: 6 folds of the 6 people that are there, others than those of all 24" in said


def test_the_same_call_goes_on_and_repeats_nothing(ran, tree, monkeypatch):
    out, outcome, watch, again = ran
    assert "extract   19 clips" in "\n".join(again.said)
    assert ": done" in next(line for line in again.said if line.startswith("1 extract"))
    trained = [result["part"] for result in (*watch.results, *again.results)]
    assert sorted(trained) == sorted(set(trained))  # each part once
    monkeypatch.setattr(folder, "describe_code", lambda: {"version": "9", "sources": "other", "commit": ""})
    third = Recorder()
    same = run_ravdess(tree, out, watch=third)
    assert same.card == outcome.card
    assert not third.parts
    assert (out / "cards" / "gru.json").read_text() == outcome.card.text()


def test_the_card_says_what_the_run_and_the_cache_say(ran):
    out, outcome, _, _ = ran
    card, run, cache = outcome.card, Run.open(out / "runs" / "gru"), open_cache(out / "cache.zarr")
    metrics = json.loads((run.path / "metrics.json").read_text())
    assert Card.read(out / "cards" / "gru.json") == card
    assert card.scores == metrics["pooled"]
    assert card.control == metrics["control"]
    assert card.difference == metrics["above_control"]
    assert card.counts == {
        "listed": 19, "clips": 19, "missing": 0, "failed": 1, "subjects": 6,
        "per_class": {"neutral": 6, "calm": 6, "happy": 6, "sad": 1, "angry": 0, "fearful": 0, "disgust": 0, "surprised": 0},
    }  # fmt: skip
    assert outcome.failed == 1  # the broken file: it is scored, as wrong
    assert card.scores["war"]["total"] == 19
    assert card.scores["unpredicted"] == 1
    assert card.folds["tested"] == {f"fold{number}": 4 if number == 6 else 3 for number in range(1, 7)}
    assert card.folds["independence"] == "by subject"
    assert card.fingerprints["cache"] == cache.recipes.fingerprints()
    assert card.encoder["weights_digest"] == cache.recipes.features["gap"].weights_digest
    assert card.code == {**describe_code(), "extracted_by": describe_code()["sources"]}
    assert card.model["settings"] == {
        "loop.epochs": 2, "loop.warmup": 1, "loop.threads": 1, "loop.stack": "off", "model.hidden": 8, "model.frames": 15,
    }  # fmt: skip
    assert card.machine["system"] in ("Linux", "macOS", "Darwin")  # and no build of it
    assert "platform" not in card.machine
    assert str(out) not in card.text()  # no place of anybody's disk


def test_a_partial_card_is_refused_and_shown_where_a_test_allows_it(ran, tmp_path):
    _, outcome, _, _ = ran
    assert f"It is partial ({PARTIAL})" in " ".join(check_card(outcome.path).problems)
    assert not check_card(outcome.path, allow_partial=True).problems
    shutil.copy(outcome.path, tmp_path)
    page = results_page(read_cards(tmp_path, allow_partial=True))
    section = page.split("## RAVDESS\n")[1].split("\n## ")[0]
    row = next(line for line in section.splitlines() if line.startswith("| gru |"))
    assert f"](#{outcome.card.name})" in row
    assert "**partial**" in row
    assert f"Partial: {PARTIAL}. This is no result of the data set." in page


def test_the_built_page_shows_the_card(ran, tmp_path):
    """Sphinx builds the page that the script makes of a folder of cards."""
    _, outcome, _, _ = ran
    cards, site = tmp_path / "cards", tmp_path / "site"
    cards.mkdir()
    site.mkdir()
    shutil.copy(outcome.path, cards)
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        import make_results
    finally:
        sys.path.pop(0)
    (site / "index.md").write_text(
        make_results.build(cards, allow_partial=True).replace("(recipes.md)", "").replace("(scores.md)", "")
    )
    (site / "conf.py").write_text('extensions = ["myst_parser"]\n')
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-q",
        "--fail-on-warning",
        "-b",
        "html",
        str(site),
        str(tmp_path / "html"),
    ]
    subprocess.run(command, check=True, capture_output=True)
    html = (tmp_path / "html" / "index.html").read_text(encoding="utf-8")
    assert f'href="#{outcome.card.name}"' in html
    assert f'id="{outcome.card.name}"' in html
    assert "19 of 1,440 clips" in html


def test_a_folder_of_something_else_is_refused(ran, tree, tmp_path):
    out, _, _, _ = ran

    def refused(match, **changes):
        options = {key: changes.pop(key) for key in ("limit",) if key in changes}
        with pytest.raises(UsageError, match=match) as caught:
            run_ravdess(tree, changes.pop("out", out), replace(TINY, **changes), **options)
        return caught.value.remedy

    assert "--out another folder" in refused(differs("--limit", "not set", 12), limit=12)
    assert "--out another folder" in refused(differs("weights", "random", "synface"), weights="synface")
    remedy = refused(
        differs("loop.epochs", 2, 3),
        settings=(*TINY.settings[:2], "loop.epochs=3", *TINY.settings[3:]),
    )
    assert "--out another folder" in remedy
    (tmp_path / "notes.txt").write_text("mine")
    refused("contains something other than the run of a recipe", out=tmp_path)
    with pytest.raises(UsageError, match="is of the recipe ravdess, found rendered"):
        run_recipe(recipe_named("rendered"), None, out, TINY)
    assert not (out / "videos").exists()
    with pytest.raises(UsageError, match="was started by ravdess protocol 1, and this est has ravdess protocol 2"):
        run_recipe(replace(recipe_named("ravdess"), version=2), tree, out, TINY)


def test_another_model_finds_the_cache_that_is_there(ran, tree):
    out, outcome, _, _ = ran
    settings = ("loop.epochs=1", "loop.warmup=0", "loop.threads=1", "loop.stack=off")
    other = run_ravdess(tree, out, replace(TINY, model="pooled", seeds=(1,), settings=settings))
    assert other.plan.extracted
    assert other.path == out / "cards" / "pooled.json"
    assert other.card.fingerprints == outcome.card.fingerprints
    assert other.card.intervals["over"] == "subjects"


def test_weights_that_cannot_be_had_are_said_before_anything_is_done(tree, tmp_path):
    with pytest.raises(EstError, match=r"there is no file 'mine.pth'"):
        run_ravdess(tree, tmp_path / "out", replace(TINY, weights="mine.pth"))
    assert not (tmp_path / "out").exists()


def test_an_extraction_that_was_stopped_is_gone_on_with(tree, tmp_path, monkeypatch):
    stopped = Report(
        clips=7, frames=21, unchanged=0, relabelled=[], removed=0, no_face=[], incomplete=[], failures=[], interrupted=True,
        left=12, seconds=2.0, running=0.5, stages={},
    )  # fmt: skip
    monkeypatch.setattr(running, "extract_videos", lambda *_, **__: stopped)
    watch, again = Recorder(), Recorder()
    with pytest.raises(KeyboardInterrupt):
        run_ravdess(tree, tmp_path / "out", watch=watch)
    assert "running the same command again resumes" in watch.said[-1]
    with pytest.raises(KeyboardInterrupt):
        run_ravdess(tree, tmp_path / "out", watch=again)
    assert "about 57 frames, about 1 s at 42 frames/s as before" in "\n".join(again.said)


def test_a_run_whose_clips_have_changed_is_set_aside(tree, tmp_path, ran, monkeypatch):
    """The broken file is mended, and a good one broken: neither is scored as it was."""
    out, outcome, _, _ = ran
    copy, moved = tmp_path / "RAVDESS", tmp_path / "out"
    shutil.copytree(tree, copy)
    shutil.copytree(out, moved)
    spoilt, mended = f"{ravdess_name(1, 3)}.mp4", f"{ravdess_name(6, 4)}.mp4"
    shutil.copy2(copy / "Actor_01" / spoilt, tmp_path / spoilt)
    (copy / "Actor_01" / spoilt).write_bytes(b"cut")
    make_video(copy / "Actor_06" / mended, pictures(6, 4))
    with CacheWriter.open(moved / "cache.zarr") as writer:  # a failure that an earlier release left beside its clip
        writer.fail(replace(open_cache(writer.path).failures[0], id=f"Actor_02/{ravdess_name(2, 1)[3:]}"))
    begun = []

    def fit(cache, path, config, *, resume, watch):
        begun.append((path, config, resume))
        raise KeyboardInterrupt

    watch = Recorder()
    monkeypatch.setattr(running, "fit", fit)
    with pytest.raises(KeyboardInterrupt):
        run_ravdess(copy, moved, watch=watch)
    ((path, config, resume),) = begun
    assert (path, config.model.name, resume) == (moved / "runs" / "gru", "gru", False)
    assert not path.exists()
    assert "2 to extract, 1 of them again" in "\n".join(watch.said)
    assert any("because their files can no longer be read" in said for said in watch.warned)
    (kept,) = (moved / "runs").glob("gru-until-*Z-clips-changed")
    assert (
        f"have changed since {path} was started. That run is kept as {kept}, and a new one is trained"
        in watch.warned[-1]
    )
    assert Run.open(kept).complete
    assert Card.read(moved / "cards" / f"{kept.name}.json") == outcome.card
    assert (moved / "cards" / f"{kept.name}.md").is_file()
    assert not (moved / "cards" / "gru.json").exists()
    cache = open_cache(moved / "cache.zarr")
    assert [failure.id for failure in cache.failures] == [f"Actor_01/{spoilt[3:-4]}"]
    assert len(cache) == 18


def test_a_cache_with_other_clips_makes_no_card(tree, tmp_path, ran):
    out, outcome, _, _ = ran
    fewer, moved = tmp_path / "RAVDESS", tmp_path / "out"
    shutil.copytree(tree, fewer)
    shutil.copytree(out, moved)
    (fewer / "Actor_01" / f"{ravdess_name(1, 1)}.mp4").unlink()  # and the cache has it
    with pytest.raises(
        EstError, match=r"does not hold the clips of the protocol: 1 are others \(.*01-01-01-01-01"
    ) as caught:
        run_ravdess(fewer, moved)
    assert "--out another folder" in caught.value.remedy
    assert (moved / "cards" / "gru.json").read_text() == outcome.card.text()  # the one of before


def test_clips_of_another_half_are_other_clips(tree, ran):
    out, _, _, _ = ran
    clips = find_clips(recipe_named("ravdess"), tree)
    assert not other_clips(out / "cache.zarr", clips)
    moved = tuple(replace(one, split="train") for one in clips.inputs[:2])
    inputs = (*moved, *clips.inputs[2:])
    problems = tuple(replace(one, split="train") for one in clips.found.problems)
    others = replace(clips, found=replace(clips.found, inputs=inputs, problems=problems))
    assert other_clips(out / "cache.zarr", others) == sorted(one.id for one in (*moved, *problems))


@pytest.mark.slow
def test_a_clip_that_is_another_by_now_is_not_passed_over(tree, tmp_path, ran):
    out, outcome, _, _ = ran
    copy, moved = tmp_path / "RAVDESS", tmp_path / "out"
    shutil.copytree(tree, copy)
    shutil.copytree(out, moved)
    with CacheWriter.open(moved / "cache.zarr") as writer:
        writer.remove([f"Actor_01/{ravdess_name(1, 2)[3:]}"])  # as somebody may with est cache drop: it is brought back
    assert len(open_cache(moved / "cache.zarr")) == 17
    assert run_ravdess(copy, moved).card.counts == outcome.card.counts
    assert len(open_cache(moved / "cache.zarr")) == 18
    changed = copy / "Actor_01" / f"{ravdess_name(1, 1)}.mp4"
    make_video(changed, [*pictures(9, 1), *pictures(9, 2)])
    watch = Recorder()
    again = run_ravdess(copy, moved, watch=watch).card
    assert "1 to extract, 1 of them again: their files have another size or time of change" in "\n".join(watch.said)
    assert "a run exists: if its clips have changed" in "\n".join(watch.said)
    assert any("Other videos than when" in said for said in watch.warned)
    assert again.counts == outcome.card.counts
    assert again.fingerprints["cache"] == outcome.card.fingerprints["cache"]
    assert again.date > outcome.card.date
    changed.rename(tmp_path / "whole.mp4")
    changed.write_bytes(b"cut")
    spoilt = run_ravdess(copy, moved)  # the same run, had the clip been kept
    assert (spoilt.failed, spoilt.card.counts["failed"], spoilt.card.scores["unpredicted"]) == (2, 2, 2)
    (tmp_path / "whole.mp4").replace(changed)  # its old time comes back with it
    mended = run_ravdess(copy, moved)
    assert (mended.failed, mended.card.scores) == (1, again.scores)
    assert len(list((moved / "runs").glob("gru*"))) == 4


def test_the_digest_of_the_sources_is_of_the_package_alone(tmp_path):
    package = tmp_path / "package"
    for path, text in {
        "__init__.py": "",
        "cli.py": "x",
        "cache/__init__.py": "",
        "cache/a.py": "a",
        "tests/t.py": "t",
    }.items():
        (package / path).parent.mkdir(parents=True, exist_ok=True)
        (package / path).write_text(text)
    digest = sources_digest(package)
    (package / "tests" / "t.py").write_text("other")
    assert sources_digest(package) == digest
    (package / "cache" / "a.py").write_text("b")
    assert sources_digest(package) != digest


def test_the_commands_list_show_and_check(est, ran, tmp_path):
    _, outcome, _, _ = ran
    status, out, _ = est("recipe", "list")
    assert status == 0
    assert out.splitlines()[1].startswith("ravdess")
    status, out, _ = est("recipe", "show", "cremad", "--json")
    assert json.loads(out)["clips"] == [7442]
    status, out, _ = est("recipe", "show", "rendered")
    assert "rendered protocol 1" in out
    status, out, _ = est("recipe", "check", outcome.path)
    assert status == 1
    assert "refused" in out
    assert "try: est recipe run ravdess --root DIR --model gru --weights random" in out
    status, out, _ = est("recipe", "check", outcome.path, "--allow-partial")
    assert (status, "good, ravdess protocol 1, gru on resnet18 random" in out) == (0, True)
    status, out, _ = est("recipe", "check", tmp_path / "absent.json", "--json")
    assert (status, json.loads(out)["cards"][0]["good"]) == (1, False)
    _, out, _ = est("recipe", "check", outcome.path.parent)
    assert "is a folder, expected the JSON of a card" in out
    assert f"try: est recipe check {outcome.path.parent}/*.json" in out
    (tmp_path / "clips.csv").write_text("path,label")
    _, out, _ = est("recipe", "check", tmp_path / "clips.csv")
    assert "clips.csv is not a result card: it is not JSON" in out
    assert card_lines(outcome.card, outcome.path)[-1].startswith(f"partial: {PARTIAL}; on the whole data set the card")
    assert "; without --limit, on the whole" in card_lines(outcome.card, outcome.path, limit=19)[-1]


def test_a_dry_run_writes_nothing(est, tree, tmp_path):
    out = tmp_path / "out"
    status, text, _ = est("recipe", "run", "ravdess", "--root", tree, "--out", out, "--limit", "12", "--dry-run")
    assert status == 0
    assert "partial: 12 of 1,440 clips" in text
    assert "weights imagenet: BSD-3-Clause code of torchvision; trained on ImageNet" in text
    status, text, _ = est("recipe", "run", "rendered", "--out", out, "--dry-run", "--json")
    assert (json.loads(text)["clips"], json.loads(text)["trainings"]) == (72, 12)
    assert not out.exists()
    status, _, err = est("recipe", "run", "ravdess")
    assert (status, "--root names it" in err) == (2, True)
    status, _, err = est("recipe", "run", "rendered", "--root", tree)
    assert (status, "renders its own clips" in err) == (2, True)
