"""Small trees of CASME II, SAMM, SMIC and the composite of MEGC 2019, with coding tables as spreadsheets write them."""

from __future__ import annotations

import zipfile
from pathlib import Path
from xml.sax.saxutils import escape

from dataset_trees import PICTURE, text

from est.inputs.published.micro import casme2, samm, smic

CODING = ["Subject", "Filename", "", "OnsetFrame", "ApexFrame", "OffsetFrame", "", "Action Units", "Estimated Emotion"]
FACS = [
    "Subject",
    "Filename",
    "Inducement Code",
    "Onset Frame",
    "Apex Frame",
    "Offset Frame",
    "Duration",
    "Estimated Emotion",
]
NAMES = {"negative": "ne", "positive": "po", "surprise": "sur"}
LENGTH = 6  # frames from onset to offset


def pictures(folder: Path, names) -> None:
    """Write empty-looking frames under these names."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(PICTURE)


def onset_of(number: int) -> int:
    """Return where a recording's expression begins: never the same, and of as many digits as releases have."""
    return 7 + 46 * number


def write_xlsx(path: Path, rows) -> Path:
    """Write a workbook as spreadsheets do: texts shared, numbers as floats, empty cells left out."""
    shared: list[str] = []
    lines = []
    for number, row in enumerate(rows, start=1):
        cells = []
        for at, value in enumerate(row):
            place = f"{chr(ord('A') + at)}{number}"
            if isinstance(value, int):
                cells.append(f'<c r="{place}"><v>{value}.0</v></c>')
            elif value:
                cells.append(f'<c r="{place}" t="s"><v>{len(shared)}</v></c>')
                shared.append(value)
        lines.append(f'<row r="{number}">{"".join(cells)}</row>')
    space = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    items = "".join(f"<si><r><t>{escape(one[:1])}</t></r><r><t>{escape(one[1:])}</t></r></si>" for one in shared)
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("xl/workbook.xml", f"<workbook {space}/>")
        archive.writestr("xl/sharedStrings.xml", f"<sst {space}>{items}</sst>")
        archive.writestr(
            "xl/worksheets/sheet1.xml", f"<worksheet {space}><sheetData>{''.join(lines)}</sheetData></worksheet>"
        )
    return path


def write_csv(path: Path, rows) -> Path:
    """Write a coding table as a CSV export."""
    text(path, [";".join(str(cell) for cell in row) for row in rows], newline="\r\n")
    return path


def make_casme2(root: Path, *, table: str = "xlsx", subjects=(1, 2, 17)) -> Path:
    """Write each class once for every person, a clip of sadness, and a clip whose apex is not known."""
    rows = [CODING]
    for subject in subjects:
        for number, emotion in enumerate([*casme2.LABELS, "sadness"], start=1):
            onset = onset_of(number)
            apex: int | str = "/" if number == 2 else onset + 2
            name = f"EP{subject:02}_{number:02}f"
            rows.append([subject, name, "", onset, apex, onset + LENGTH - 1, "", "4+7", emotion.capitalize()])
            pictures(
                root / "CASME2_RAW_selected" / f"sub{subject:02}" / name,
                [f"img{onset + at}.jpg" for at in range(LENGTH)],
            )
    path = root / f"CASME2-coding-20140508.{table}"
    (write_xlsx if table == "xlsx" else write_csv)(path, rows)
    return root


def make_samm(root: Path, *, table: str = "xlsx", subjects=(6, 7, 11)) -> Path:
    """Write each class once for every person, and a clip of fear; notes stand above the table's header."""
    rows: list[list] = [["SAMM: micro-movements"], [], ["Frames are those of the recording"], FACS]
    for subject in subjects:
        for number, emotion in enumerate([*samm.LABELS, "fear"], start=1):
            onset = 5 * 10**3 + onset_of(number)
            name = f"{subject:03}_1_{number}"
            rows.append([f"{subject:03}", name, 1, onset, onset + 3, onset + LENGTH - 1, LENGTH, emotion.capitalize()])
            files = [f"{subject:03}_{onset + at:05}.jpg" for at in range(LENGTH)]
            pictures(root / "SAMM" / f"{subject:03}" / name, files)
    path = root / f"SAMM_Micro_FACS_Codes_v2.{table}"
    (write_xlsx if table == "xlsx" else write_csv)(path, rows)
    return root


def make_smic(root: Path, *, subjects=(1, 3, 20)) -> Path:
    """Write two clips of each class for every person."""
    for subject in subjects:
        for label in smic.LABELS:
            for number in (1, 2):
                name = f"s{subject}_{NAMES[label]}_{number:02}"
                names = [f"image{1000 + at:06}.bmp" for at in range(LENGTH)]
                pictures(root / "HS" / f"s{subject}" / "micro" / label / name, names)
    return root


MEGC_LINES = [
    *(f"casme2,sub{s:02},EP{s:02}_{n:02}f,{c}" for s in (1, 2, 17) for n, c in ((1, 0), (2, 1), (3, 0), (4, 2), (6, 0))),
    *(f"samm,{s:03},{s:03}_1_{n},{c}" for s in (6, 7, 11) for n, c in ((2, 0), (3, 0), (4, 1), (5, 2))),
    *(f"smic,s{s:02},s{s:02}_{short}_{n:02},{c}" for s in (1, 3, 20) for c, short in enumerate(NAMES.values()) for n in (1, 2)),
]  # fmt: skip


def make_megc(root: Path, lines=MEGC_LINES) -> Path:
    """Write the three releases, each in a folder of its own, and the list; one line of it lacks its CR."""
    make_casme2(root / "CASME2")
    make_samm(root / "SAMM_release")
    make_smic(root / "SMIC")
    text(root / "combined_3class_gt.csv", [f"{line}\r" if at != 2 else line for at, line in enumerate([*lines, ""])])
    return root


MICRO = {"casme2": make_casme2, "samm": make_samm, "smic": make_smic, "megc": make_megc}
