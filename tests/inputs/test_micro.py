"""Data sets of micro-expressions: whose moments are frames of the clip, and where their tables and folders have traps."""

from __future__ import annotations

import shutil
import zipfile

import pytest
from dataset_trees import edit, text
from micro_trees import (
    CODING,
    LENGTH,
    MEGC_LINES,
    make_casme2,
    make_megc,
    make_samm,
    make_smic,
    onset_of,
    pictures,
    write_csv,
    write_xlsx,
)

from est.cache import open_cache
from est.cli import main
from est.errors import UsageError
from est.inputs.published import dataset_named, find_dataset
from est.inputs.published.micro.coding import Coded, read_coding
from est.inputs.published.micro.moments import moments_in
from est.inputs.published.micro.workbook import read_workbook
from est.train.runs.files import read_json


def find(name, root, **options):
    return find_dataset(dataset_named(name), root, **options)


def findings(found):
    return {finding.kind: finding for finding in found.check.findings}


def moments(clip):
    return (clip.onset, clip.apex, clip.offset)


@pytest.fixture(scope="module")
def composite(tmp_path_factory):
    return make_megc(tmp_path_factory.mktemp("megc"))


def test_the_composite_relabels_and_names_databases_and_people(composite):
    found = find("megc", composite)
    clips = {clip.id: clip for clip in found.inputs}
    assert len(clips) == len(MEGC_LINES) == 45
    assert {clip.extra["database"] for clip in clips.values()} == {"CASME II", "SAMM", "SMIC"}
    # the emotion sadness, and any other, is what the list says
    assert clips["casme2/sub01/EP01_06f"].label == "negative"
    assert clips["samm/006/006_1_4"].label == "positive"
    assert clips["smic/s20/s20_sur_02"].label == "surprise", "s20 on the list is s20 on the disk, s01 is s1"
    assert clips["smic/s01/s1_ne_01"].path.name == "s1_ne_01"
    people = {clip.subject for clip in clips.values()}
    assert len(people) == 9
    assert {"casme2-sub01", "smic-s01"} <= people
    rows = {row.name: (row.listed, row.published) for row in found.check.rows}
    assert rows["database CASME II"] == (15, (145,))
    assert rows["database SMIC, surprise"] == (6, (43,))
    assert rows["database SAMM, subjects"] == (3, (28,))
    assert rows["clips"] == (45, (442,))
    assert rows["subjects"] == (9, (68,))
    assert findings(found)["unlisted"].count == 3 + 6, "EP??_05f of each person, and two clips of each of SAMM"


def test_a_list_with_the_published_counts_passes_without_a_word(tmp_path):
    lines = []
    for name, person, (counts, people) in (
        ("casme2", "sub{:02d}", ((88, 32, 25), 24)),
        ("samm", "{:03d}", ((92, 26, 15), 28)),
        ("smic", "s{:02d}", ((70, 51, 43), 16)),
    ):
        labels = [label for label, count in enumerate(counts) for _ in range(count)]
        lines += [f"{name},{person.format(n % people + 1)},c_{n},{label}" for n, label in enumerate(labels)]
    text(tmp_path / "combined_3class_gt.csv", lines, newline="\r\n")
    pictures(tmp_path / "HS/s1/micro/negative/c_0", ["1.bmp"])
    found = find("megc", tmp_path)
    assert "counts" not in findings(found)
    assert [row.listed for row in found.check.rows if row.name in ("clips", "subjects")] == [442, 68]
    assert len(found.problems) == 441
    text(tmp_path / "combined_3class_gt.csv", lines[1:], newline="\r\n")
    assert "database CASME II, negative 87 (published 88)" in findings(find("megc", tmp_path))["counts"].line()


def test_moments_are_frames_of_the_clip(composite):
    clips = {clip.id: clip for clip in find("megc", composite).inputs}
    assert moments(clips["casme2/sub17/EP17_01f"]) == (0, 2, LENGTH - 1)
    assert moments(clips["casme2/sub17/EP17_02f"]) == (0, -1, LENGTH - 1), "its apex is / in the table"
    assert moments(clips["samm/011/011_1_3"]) == (0, 3, LENGTH - 1)
    assert moments(clips["smic/s03/s3_po_02"]) == (0, -1, LENGTH - 1), "SMIC gives no apex"


@pytest.mark.parametrize("table", ["csv", "xlsx"])
def test_taken_alone_a_database_has_its_own_classes(table, tmp_path):
    found = find("casme2", make_casme2(tmp_path / "c", table=table))
    assert found.labels == ("disgust", "happiness", "repression", "surprise", "others")
    assert sum(clip.label is None for clip in found.inputs) == 3
    assert findings(found)["unlabelled"].is_expected
    again = find("samm", make_samm(tmp_path / "s", table=table))
    assert again.labels == ("other", "anger", "contempt", "happiness", "surprise")
    ids = {clip.id for clip in find("megc", make_megc(tmp_path / "m")).inputs}
    assert len(ids & {clip.id for clip in (*found.inputs, *again.inputs)}) == 15 + 12, "a clip has one id everywhere"


def coded(onset, apex, offset):
    return Coded(where="row 2", subject="1", file="x", onset=onset, apex=apex, offset=offset, emotion="")


@pytest.mark.parametrize(
    ("names", "told", "found", "problem"),
    [
        # pictures in natural order: img9 before img10
        ([f"img{n}.jpg" for n in range(8, 13)], (8, 10, 12), (0, 2, 4), ""),
        # a whole recording, and one of which a frame is lost: places count what is delivered
        ([f"img{n:03}.jpg" for n in range(1, 21)], (8, 10, 12), (7, 9, 11), ""),
        ([f"img{n}.jpg" for n in (8, 9, 11, 12)], (8, 11, 12), (0, 2, 3), ""),
        ([f"img{n}.jpg" for n in (8, 9, 11, 12)], (8, 10, 12), (0, -1, 3), "no picture of its apex 10 (8 to 12)"),
        # onset to offset under new numbers, which may themselves hold the onset's number
        ([f"img{n}.jpg" for n in range(1, 6)], (4, 5, 8), (0, 1, 4), ""),
        ([f"{n}.jpg" for n in range(5)], (108, 110, 112), (0, 2, 4), ""),
        ([f"img{n}.jpg" for n in range(1, 5)], (108, 110, 112), (-1, -1, -1), "onset 108, apex 110, offset 112 (1 to 4)"),
        # the same, and one picture is lost: the numbers are not those of the recording, though 20 and 35 are among them
        ([f"img{n}.jpg" for n in range(1, 43)], (20, 35, 62), (-1, -1, -1), "offset 62 (1 to 42); its frames may be renumbered"),
        ([f"{n}.jpg" for n in range(60) if n != 30], (20, 35, 62), (-1, -1, -1), "none of its moments is used"),
        # a whole recording without its offset still tells nothing about where it begins; one that begins later does
        ([f"img{n}.jpg" for n in range(15, 60)], (20, 35, 62), (5, 20, -1), "no picture of its offset 62 (15 to 59)"),
        (["reg_img46.jpg", "reg_img47.jpg"], (46, -1, 47), (0, -1, 1), ""),
        ([f"img{n}.jpg" for n in range(8, 13)], (8, 7, 12), (0, -1, 4), "apex 7 lies outside of onset 8 to offset 12"),
        ([f"img{n}.jpg" for n in range(8, 13)], (8, 13, 12), (0, -1, 4), "apex 13 lies outside"),
        ([f"img{n}.jpg" for n in range(8, 13)], (12, 10, 8), (-1, -1, -1), "onset 12 is after its offset 8"),
        (["a.jpg"], (8, 10, 12), (-1, -1, -1), "no numbers"),
        ([], (8, 10, 12), (-1, -1, -1), ""),
    ],
)  # fmt: skip
def test_recorded_frames_are_found_by_the_pictures_numbers(names, told, found, problem, tmp_path):
    pictures(tmp_path, names)
    result = moments_in(tmp_path, coded(*told))
    assert moments(result) == found
    assert problem in result.problem
    assert bool(problem) == bool(result.problem)


def test_moments_that_cannot_be_taken_are_told(tmp_path):
    root = make_casme2(tmp_path, table="csv")
    first = onset_of(1)
    edit(
        root / "CASME2-coding-20140508.csv",
        lambda lines: [line.replace(f";{first + 2};", f";{first + 40};") for line in lines],
    )
    found = find("casme2", root)
    assert findings(found)["moments"].count == 3
    assert (
        "casme2/sub01/EP01_01f (its apex 93 lies outside of onset 53 to offset 58" in findings(found)["moments"].line()
    )
    assert moments(found.inputs[0]) == (0, -1, LENGTH - 1)


def test_a_part_of_the_releases_is_told_and_counted(tmp_path):
    root = make_megc(tmp_path)
    shutil.rmtree(root / "SAMM_release")
    shutil.rmtree(root / "CASME2/CASME2_RAW_selected/sub17/EP17_03f")
    (root / "CASME2/CASME2-coding-20140508.xlsx").unlink()
    found = find("megc", root)
    assert findings(found)["release absent"].text.startswith("SAMM is not below")
    assert "CASME II: no coding table" in findings(found)["no coding table"].text
    assert findings(found)["missing"].count == len(found.problems) == 13
    lost = {problem.id: problem for problem in found.problems}["casme2/sub17/EP17_03f"]
    assert (lost.label, lost.subject) == ("negative", "casme2-sub17")
    assert {row.name: (row.listed, row.present) for row in found.check.rows}["database SAMM"] == (12, 0)
    assert moments(found.inputs[0]) == (-1, -1, -1)
    with pytest.raises(UsageError, match=r"no clip has a label without the coding table CASME2-coding") as caught:
        find("casme2", root / "CASME2")
    assert caught.value.remedy.startswith("put CASME2-coding")


def test_clips_that_the_table_lacks_are_told(tmp_path):
    root = make_megc(tmp_path)
    write_xlsx(
        root / "CASME2/CASME2-coding-20140508.xlsx", [CODING, [1, "EP01_01f", "", 53, 55, 58, "", "", "Disgust"]]
    )
    assert findings(find("megc", root))["not coded"].count == 14
    shutil.rmtree(root / "SMIC")
    found = find("casme2", root / "CASME2")
    assert len(found.inputs) == 1
    assert findings(found)["unlisted"].count == 17


@pytest.mark.parametrize(
    ("line", "message", "remedy"),
    [
        ("casme3,sub01,EP01_01f,0", "line 46: the data sets of the composite are casme2, samm and smic, found 'casme3'", ""),
        ("samm,006,006_1_2,3", "line 46: a class is 0 negative, 1 positive or 2 surprise, found '3'", "counts from 1"),
        ("samm,006,006_1_2", "line 46: expected dataset, subject, file and class", "cut off"),
        ("samm,006,006_1_2,1", "samm/006/006_1_2 is in .*line 16 with the label 'negative', and in .*line 46 with", ""),
    ],
)  # fmt: skip
def test_a_list_that_makes_no_sense_is_refused_with_the_line(line, message, remedy, tmp_path):
    make_smic(tmp_path)
    text(tmp_path / "combined_3class_gt.csv", [*MEGC_LINES, line])
    with pytest.raises(UsageError, match=message) as caught:
        find("megc", tmp_path)
    assert remedy in (caught.value.remedy or "")


def test_a_repeated_line_and_a_header_are_told(tmp_path):
    make_smic(tmp_path)
    text(tmp_path / "combined_3class_gt.csv", ["dataset,subject,filename,label", *MEGC_LINES, MEGC_LINES[-1]])
    found = find("megc", tmp_path)
    assert findings(found)["duplicates"].count == 1
    assert "header" in findings(found)
    assert len(found.inputs) == 18


def test_two_releases_of_one_database_are_refused(tmp_path):
    make_smic(tmp_path / "one")
    make_smic(tmp_path / "two")
    with pytest.raises(UsageError, match="SMIC: both one/HS and two/HS hold the clips"):
        find("smic", tmp_path)
    shutil.rmtree(tmp_path / "two")
    shutil.copytree(tmp_path / "one/HS/s1", tmp_path / "one/HS/s01")
    with pytest.raises(UsageError, match="are both the clip s1_ne_01"):
        find("smic", tmp_path)


def test_other_forms_of_a_release(tmp_path):
    make_smic(tmp_path / "SMIC/SMIC_all_cropped")
    assert find("smic", tmp_path / "SMIC").are_crops
    make_smic(tmp_path / "SMIC/SMIC_all_raw")
    found = find("smic", tmp_path / "SMIC")
    assert not found.are_crops
    assert all("SMIC_all_raw" in str(clip.path) for clip in found.inputs)
    make_casme2(tmp_path / "C")
    shutil.move(tmp_path / "C/CASME2_RAW_selected", tmp_path / "C/Cropped")
    assert find("casme2", tmp_path / "C").are_crops


def test_a_table_with_notes_and_blanks_reads_alike_from_both_forms(tmp_path):
    rows = [["CASME II"], [], CODING, [1, "EP02_01f", "", 46, 59, 86, "", "4+L10", "Happiness"], [], ["", "26 people"]]
    one, other = write_xlsx(tmp_path / "a.xlsx", rows), write_csv(tmp_path / "a.csv", rows)
    (found,) = read_coding(one)
    assert (found.subject, found.file, found.onset, found.apex, found.offset, found.emotion) == (
        "1", "EP02_01f", 46, 59, 86, "happiness",
    )  # fmt: skip
    assert found.where == "a.xlsx, row 4"
    (again,) = read_coding(other)
    assert (again.onset, again.file) == (found.onset, found.file)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([CODING[:4], [1, "EP02_01f", "", 46]], r"has the columns Subject, Filename.*lacks apexframe, offsetframe, estimatedemotion"),
        ([], "found an empty file"),
        ([CODING, [1, "EP02_01f", "", "x", 59, 86, "", "", "Fear"]], "row 2: onset: expected the number of a frame.*found 'x'"),
        ([CODING, [1, "EP02_01f", "", 46, 59, 86, "", "", "Joyful"]], "emotions of CASME II are .*found 'joyful' in CASME2-coding.*row 2"),
        (
            [CODING, [1, "EP02_01f", "", 46, 59, 86, "", "", "Fear"], ["01", "EP2_01f", "", 47, 59, 86, "", "", "Fear"]],
            "row 2 and CASME2.*row 3 both describe the clip",
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", ["csv", "xlsx"])
def test_a_table_that_makes_no_sense_is_refused(rows, message, form, tmp_path):
    pictures(tmp_path / "CASME2_RAW_selected/sub01/EP02_01f", ["img46.jpg"])
    (write_xlsx if form == "xlsx" else write_csv)(tmp_path / f"CASME2-coding.{form}", rows)
    with pytest.raises(UsageError, match=message):
        find("casme2", tmp_path)


def test_the_same_row_twice_counts_once_and_an_export_goes_before_the_workbook(tmp_path):
    root = make_casme2(tmp_path)
    row = ["01", "EP01_01f", "", 53, 54, 58, "", "", "Surprise"]
    write_csv(root / "casme2_coding_export.csv", [CODING, row, row])
    (clip,) = find("casme2", root).inputs
    assert (clip.label, clip.apex) == ("surprise", 1)
    shutil.copy(root / "casme2_coding_export.csv", root / "casme2-coding-2.csv")
    with pytest.raises(UsageError, match="may both be the coding table"):
        find("casme2", root)


def test_a_workbook_that_is_none_is_refused(tmp_path):
    broken = tmp_path / "a.xlsx"
    broken.write_bytes(b"\xd0\xcf\x11\xe0 an old .xls")
    with pytest.raises(UsageError, match="cannot be read as an Excel workbook") as caught:
        read_workbook(broken)
    assert "save the sheet as CSV" in caught.value.remedy
    for content, message in (({}, "no sheet"), ({"xl/worksheets/sheet1.xml": "<a>"}, "cannot be read")):
        with zipfile.ZipFile(broken, "w") as archive:
            for name, data in content.items():
                archive.writestr(name, data)
        with pytest.raises(UsageError, match=message):
            read_workbook(broken)


def test_cells_of_every_kind(tmp_path):
    path = tmp_path / "a.xlsx"
    cells = (
        '<c r="A1" t="inlineStr"><is><t>in place</t></is></c><c r="C1" t="str"><f>A1</f><v>of a formula</v></c><c r="D1"><v>0.5</v></c>'
        '<c r="AA1"><v>12</v></c><c><v>13</v></c>'
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("xl/worksheets/sheet1.xml", f"<w><sheetData><row>{cells}</row><row><c/></row></sheetData></w>")
    ((number, found),) = read_workbook(path)[0]
    assert number == 1
    assert found == ["in place", "", "of a formula", "0.5", *[""] * 22, "12", "13"]


@pytest.mark.slow
def test_from_the_three_releases_to_the_table(composite, tmp_path, capsys):
    cache, run = tmp_path / "cache.zarr", tmp_path / "run"
    extract = ("--detector", "none", "--weights", "random", "--size", 32, "--precision", "fp32", "--workers", 1)
    est("extract", "--dataset", "megc", "--root", composite, "--out", cache, *extract)
    clips = open_cache(cache).clips
    known = dict(
        zip(clips.id, zip(clips.onset, clips.apex, clips.offset, clips.extra["database"], strict=True), strict=True)
    )
    assert known["samm/011/011_1_3"] == (0, 3, LENGTH - 1, "SAMM")
    assert known["smic/s03/s3_po_02"] == (0, -1, LENGTH - 1, "SMIC")
    line = ("--model", "pooled", "--epochs", 1, "--no-control", "--set", "eval_every=0", "--allow-leak")
    est("train", "--cache", cache, "--out", run, "--protocol", "megc", *line)
    rows = read_json(run / "metrics.json")["megc"]["rows"]
    assert [(row["row"], row["clips"], row["subjects"]) for row in rows] == [
        ("Full", 45, 9), ("SMIC", 18, 3), ("CASME II", 15, 3), ("SAMM", 12, 3),
    ]  # fmt: skip
    assert "published: SLSTT" not in capsys.readouterr().out, "45 clips are no composite"


def est(*line):
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in line])
    assert stop.value.code == 0
