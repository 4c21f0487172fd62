"""`est report RUN`: what the page of one run says, of runs of every state, and what it never shows unasked."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from report_samples import CLIPS, FACELESS, cache_with_crops, expect_accessible, reported_run
from train_samples import learning_cache, tiny_config, without_digests

from est.errors import UsageError
from est.report.runpage.hardest import hardest_of, margins_of
from est.report.runpage.opened import open_for_page
from est.report.runpage.page import run_page
from est.train import fit, model_config
from est.train.results.details import DETAILS
from est.train.results.pages.summary import headline, percent
from est.train.runs.files import read_json, write_json
from est.train.runs.run import FACTS, HISTORY, RESULT

SECTIONS = (
    *(
        "Scores",
        "Compared with the control",
        "Confusion",
        "Classes",
        "Folds and seeds",
        "Learning curves",
        "Calibration",
    ),
    *(
        "Embedding",
        "Attention",
        "Does it use time?",
        "Hardest clips",
        "Tested clips",
        "How it was made",
        "Repeat and cite",
    ),
)
ARCHIVE = Path(__file__).parents[2] / "fixtures" / "format-1.tar.xz"


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return cache_with_crops(tmp_path_factory.mktemp("report") / "cache.zarr")


@pytest.fixture(scope="module")
def run(cache, tmp_path_factory):
    return reported_run(cache, tmp_path_factory.mktemp("report") / "run <1>")


@pytest.fixture(scope="module")
def html(run, tmp_path_factory):
    return run_page([run], tmp_path_factory.mktemp("page") / "run.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html):
    return expect_accessible(html)


@pytest.fixture
def copy(run, tmp_path):
    return Path(shutil.copytree(run, tmp_path / "run"))


def words_of(path, out, **settings):
    return expect_accessible(run_page([path], out, **settings).read_text(encoding="utf-8")).words()


def test_it_has_every_section(page):
    assert tuple(one.text for one in page.all("h2")) == SECTIONS
    assert page.all("title")[0].text == "Run run <1>"


def test_it_says_what_the_run_says(run, page):
    opened, words = open_for_page(run), page.words()
    metrics = read_json(run / "metrics.json")
    for line in headline(opened.results):
        assert line in words
    for key in ("war", "uar", "uf1"):
        assert percent(metrics["over_seeds"][key]["mean"]) in words
    assert f"{metrics['pooled']['war']['right']:g} / {CLIPS} clips" in words
    assert "counted as wrong: 1 clip without a face or without frames" in words
    assert f"No face, or no frames, and therefore wrong in every number: clip{FACELESS:03d}" in words
    for part in metrics["parts"]:
        assert f"{part['right']} / {part['total']}" in words
    assert "apparent expressions" in words


def test_every_tested_clip_is_in_the_table(run, page):
    (data,) = [json.loads(one.text) for one in page.all("script") if one.attributes.get("type") == "application/json"]
    columns = {one["name"]: one for one in data["columns"]}
    assert sorted(columns["Clip"]["values"]) == [f"clip{index:03d}" for index in range(CLIPS)]
    predicted = [columns["Predicted"]["words"][value] for value in columns["Predicted"]["values"]]
    place = columns["Clip"]["values"].index(f"clip{FACELESS:03d}")
    assert predicted[place] == "no prediction"
    assert columns["Probability"]["values"][place] is columns["Margin"]["values"][place] is None
    assert predicted.count("no prediction") == 1


def test_the_details_of_all_parts_are_used(page):
    words = page.words()
    assert "est evaluate" not in words.split("Repeat and cite")[0].split("Embedding")[-1].split("How it was made")[0]
    assert "Clips whose nearest neighbour" in words
    titles = {one.text for one in page.all("title")}
    assert {
        "Attention to snippets by class",
        "Weights of frames within their snippets (α)",
        "Reliability diagram",
    } <= titles
    assert sum(one.startswith("Timeline of clip") for one in titles) == len(
        set(re.findall(r"Timeline of (clip\d+)", " ".join(titles)))
    )


def test_no_face_is_shown_unasked(run, html, tmp_path):
    assert "data:image" not in html
    assert "<img" not in html
    assert "No picture of a face is in this page" in html
    shown = run_page([run], tmp_path / "faces.html", faces=True).read_text(encoding="utf-8")
    pictures = expect_accessible(shown).all("img")
    assert pictures
    assert all(one.attributes["src"].startswith("data:image/jpeg;base64,") for one in pictures)
    assert all(re.fullmatch(r"Face crop of clip\d+, frame \d+", one.attributes["alt"]) for one in pictures)
    assert "personal data" in shown


def test_a_clip_that_is_another_video_now_shows_nothing(copy, cache, tmp_path):
    clips = read_json(without_digests(copy) / "clips.json")
    write_json(copy / "clips.json", {name: [digest, frames + 1] for name, (digest, frames) in clips.items()})
    shown = run_page([copy], tmp_path / "page.html", faces=True).read_text(encoding="utf-8")
    assert "data:image" not in shown


def test_a_cache_that_is_gone_is_said_and_may_be_named(copy, cache, tmp_path):
    facts = read_json(without_digests(copy) / FACTS)
    write_json(copy / FACTS, {**facts, "cache": {**facts["cache"], "path": str(tmp_path / "gone.zarr")}})
    assert "The run's cache cannot be read" in words_of(copy, tmp_path / "a.html")
    assert "The run's cache cannot be read" not in words_of(copy, tmp_path / "b.html", cache=cache, faces=True)


def test_missing_details_name_the_command(copy, tmp_path):
    for path in copy.rglob(DETAILS):
        path.unlink()
    words = words_of(copy, tmp_path / "page.html")
    assert words.count(f"est evaluate {copy.name} writes what the models decide by into the run.") == 2
    assert "4 of 4 parts have none" in words


def test_damaged_details_are_said(copy, tmp_path):
    next(copy.rglob(DETAILS)).write_bytes(b"PK nothing")
    assert "details.npz is damaged" in words_of(copy, tmp_path / "page.html")


def test_an_unfinished_run_has_a_page(copy, tmp_path):
    last = read_json(copy / FACTS)["parts"][-1]["name"]
    (copy / "parts" / last / RESULT).unlink()
    words = words_of(copy, tmp_path / "page.html")
    assert "This run is not complete: 3 of 4 parts trained and scored." in words
    assert f"est train --resume --out {copy.name}" in words
    assert "Scored parts" in words
    assert "Learning curves" in words
    assert "Compared with the control" not in words
    shutil.rmtree(copy / "parts")
    words = words_of(copy, tmp_path / "empty.html")
    assert "No part is scored yet." in words
    assert "No epoch was finished yet." in words


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda run: write_json(run / FACTS, {**read_json(run / FACTS), "version": 0}), "is a run of version 0, expected 1"),
        (lambda run: (run / FACTS).write_text("{"), "run.json cannot be read"),
        (lambda run: next((run / "parts").rglob("predictions.csv")).write_text("id\n"), "is damaged"),
        (lambda run: next(run.rglob(HISTORY)).write_text("?\n"), "history.jsonl cannot be read"),
    ],
)  # fmt: skip
def test_a_run_that_cannot_be_read_has_a_page_that_says_so(copy, tmp_path, damage, says):
    damage(without_digests(copy))
    assert says in words_of(copy, tmp_path / "page.html")


@pytest.mark.parametrize(
    ("name", "says"), [("complete", "Scores"), ("ssop", "Scores"), ("unfinished", "is not complete")]
)
def test_runs_of_earlier_code(tmp_path, name, says):
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, [one for one in archive if one.name.startswith(f"{name}/")], filter="data")
    words = words_of(tmp_path / name, tmp_path / "page.html")
    assert says in words
    assert "Every setting, as config.toml has it" in words
    assert (words.count("writes what the models decide by into the run") == 2) == (name != "unfinished")


def test_folders_are_left_out_unless_asked_for(run, cache, html, tmp_path):
    page = expect_accessible(html).words()
    assert str(run.parent) not in html
    assert str(cache.parent) not in html
    assert "Clip ids and names of subjects may tell who people are" in page
    assert "Trained on cache.zarr, features gap." in page
    assert "est train --cache cache.zarr --config 'run <1>/config.toml' --out again" in page
    asked = words_of(run, tmp_path / "p.html", paths=True)
    assert f"Trained on {cache}, features gap." in asked
    assert f"est train --cache {cache} --config '{run}/config.toml' --out again" in asked
    assert "--paths shows" not in asked


def test_another_model_without_attention(cache, tmp_path):
    reported_run(cache, tmp_path / "gru", model=model_config("gru", hidden=8), seeds=(1,), epochs=1)
    words = words_of(tmp_path / "gru", tmp_path / "page.html")
    assert "This model has no attention to snippets." in words
    assert "Clips whose nearest neighbour" in words


def test_no_control_is_said(cache, tmp_path):
    fit(cache, tmp_path / "run", tiny_config(epochs=1, control=False))
    assert "has no control to be compared with" in words_of(tmp_path / "run", tmp_path / "page.html")


def test_what_is_no_run_or_in_the_way_is_refused(run, tmp_path):
    with pytest.raises(UsageError, match="is not a run"):
        run_page([tmp_path], tmp_path / "page.html")
    with pytest.raises(UsageError, match="Which run"):
        run_page([], tmp_path / "page.html")
    (tmp_path / "there.html").write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        run_page([run], tmp_path / "there.html")
    assert (tmp_path / "there.html").read_text() == "mine"
    assert run_page([run], tmp_path / "there.html", overwrite=True).read_text(encoding="utf-8") != "mine"
    with pytest.raises(UsageError, match="Faces are shown of a single run"):
        run_page([run, run], tmp_path / "page.html", faces=True)


def test_the_cache_of_other_clips_is_refused(run, tmp_path):
    other = learning_cache(tmp_path / "other.zarr", 12, frames=11)
    with pytest.raises(UsageError, match=r"holds none of the \d+ clips that .* knows") as caught:
        run_page([run], tmp_path / "page.html", cache=other)
    assert "--cache names the run's cache" in caught.value.remedy


def test_faces_that_cannot_be_shown_are_told(tmp_path):
    plain = learning_cache(tmp_path / "plain.zarr", 36, strength=0.1)
    made = reported_run(plain, tmp_path / "run")
    words = words_of(made, tmp_path / "page.html", faces=True)
    assert "no faces can be shown" in words
    assert "This page shows faces" not in words
    assert "est report --faces puts" not in words


def test_a_page_is_made_without_torch(run, tmp_path):
    script = f"import sys; from est.report.runpage.page import run_page; run_page([{str(run)!r}], {str(tmp_path / 'p.html')!r})\n"
    script += "print(sorted({'torch', 'onnxruntime', 'cv2', 'av'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_hardest_clips_are_the_most_confidently_wrong(run):
    opened = open_for_page(run)
    found, shares = opened.results.predictions, opened.probabilities.copy()
    places = hardest_of(found, shares, most=5)
    margin = margins_of(found, shares)
    assert list(margin[places]) == sorted(margin[places], reverse=True)
    others = np.setdiff1d(np.arange(len(found)), places)
    assert np.nanmax(margin[others]) <= margin[places].min()
    shares[:, 7] = 0
    shares[:, 7, (found.truth[7] + 1) % 3] = 1
    assert hardest_of(found, shares, most=1) == [7]
    assert margins_of(found, shares)[7] == 1
    shares[:, 7] = np.eye(3)[found.truth[7]]
    assert margins_of(found, shares)[7] == -1
    faceless = found.ids.tolist().index(f"clip{FACELESS:03d}")
    assert np.isnan(margin[faceless])
    assert faceless not in hardest_of(found, shares, most=CLIPS)


def test_names_that_are_html_are_words(cache, tmp_path):
    labels = ("<b>anger</b>", "</script>", "a & 'b\"")
    path = learning_cache(tmp_path / "c.zarr", 18, strength=0.3, labels=labels)
    reported_run(path, tmp_path / "run", seeds=(1,), epochs=1)
    page = expect_accessible(run_page([tmp_path / "run"], tmp_path / "p.html").read_text(encoding="utf-8"))
    assert not page.all("b")
    for label in labels:
        assert label in page.words()
