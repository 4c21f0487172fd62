"""MMI: sessions of one person each; `session.xml` says who and, for some, which emotion. Layout as we understand it: `Sessions/<id>/*.avi`.

Names in the XML differ between exports: what is called a subject or an emotion is looked for wherever it stands. Emotions that are numbers
are not guessed at. Sessions without an emotion are kept without a label.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...errors import UsageError, counted
from .base import (
    ON_TEST,
    OWN_BACKBONE,
    PRETRAINED,
    REPRODUCED,
    Dataset,
    Entry,
    Finding,
    PublishedResult,
    Reading,
    Request,
    known_label,
)
from .clip_folder import ClipFolder
from .textlist import is_number, numbers_named
from .tree import Tree, below, folders

LABELS = ("Anger", "Disgust", "Fear", "Happiness", "Sadness", "Surprise")
VALUES = ("value", "id", "name", "label", "number")
A_LIST = "write a CSV with the columns path, label and subject: est extract mmi.csv"
SUBJECT_IN_NAME = re.compile(r"(S\d{3})-", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Session:
    """A folder of one session, and what its XML tells."""

    folder: Path
    videos: tuple[str, ...]
    subject: str
    emotion: str
    problem: str = ""


def read(request: Request) -> Reading:
    """Read the sessions."""
    tree = Tree("MMI", request.root)
    top = tree.expect("the sessions", "Sessions")
    sessions = [_session(folder) for folder in folders(top)]
    if not any(session.videos for session in sessions):
        raise tree.lacks("videos in the folders of the sessions", "Sessions/1")
    if not any(session.emotion for session in sessions):
        raise UsageError(
            f"MMI: none of {len(sessions)} sessions in {top} has a session.xml that names an emotion, and so no clip has a label.",
            remedy=A_LIST,
        )
    labels, strange = _labels(sessions, request.label_names, top)
    entries = tuple(entry for session in sessions for entry in _entries(session, labels.get(session.folder)))
    return Reading(
        layout=f"{len(sessions)} sessions in {tree.show(top)}",
        labels=request.label_names or LABELS,
        entries=entries,
        findings=tuple(_findings(sessions, entries, strange)),
    )


def _session(folder: Path) -> Session:
    videos = tuple(ClipFolder(folder, "video").clips())
    subject = next((found[1].upper() for name in videos if (found := SUBJECT_IN_NAME.match(name))), "")
    told = below(folder, "session.xml")
    if told is None:
        return Session(folder=folder, videos=videos, subject=subject, emotion="")
    try:
        root = ElementTree.parse(told).getroot()
    except (ElementTree.ParseError, OSError) as error:
        return Session(
            folder=folder, videos=videos, subject=subject, emotion="", problem=f"session.xml cannot be read ({error})"
        )
    return Session(
        folder=folder,
        videos=videos,
        subject=_told(root, "subject") or subject,
        emotion=_told(root, "emotion") or _told(root, "expression"),
    )


def _told(root: ElementTree.Element, what: str) -> str:
    """Return what an XML says of something: an element of that name, an attribute, or a tag that is given the name."""
    return next((text.strip() for text in _mentions(root, what) if text and text.strip()), "")


def _mentions(root: ElementTree.Element, what: str) -> Iterator[str | None]:
    for element in root.iter():
        attributes = {name.casefold(): value for name, value in element.attrib.items()}
        if element.tag.rpartition("}")[2].casefold() == what:
            yield from (attributes.get(name) for name in VALUES)
            yield element.text
        elif attributes.get("name", "").casefold() == what:
            yield attributes.get("value")
            yield element.text
        yield from (attributes.get(name) for name in (what, f"{what}id"))


def _labels(sessions: list[Session], names: tuple[str, ...], top: Path) -> tuple[dict[Path, str], list[str]]:
    """Return the label of each session that has one, and sessions whose emotion is none of the classes."""
    told = {session.folder: session.emotion for session in sessions if session.emotion}
    if any(is_number(emotion) for emotion in told.values()):
        if not names:
            raise UsageError(
                f"MMI: the sessions in {top} give their emotion as a number, and which number is which is not known here.",
                remedy=f"--label-names NAME,NAME… in the order of the numbers; or {A_LIST}",
            )
        numbered = {folder: int(emotion) for folder, emotion in told.items() if is_number(emotion)}
        labels = dict(zip(numbered, numbers_named(list(numbered.values()), names, str(top)), strict=True))
    else:
        named = {folder: known_label(emotion, names or LABELS) for folder, emotion in told.items()}
        labels = {folder: label for folder, label in named.items() if label is not None}
    return labels, [f"{folder.name} ({emotion})" for folder, emotion in told.items() if folder not in labels]


def _entries(session: Session, label: str | None) -> Iterator[Entry]:
    number = session.folder.name
    for name in session.videos:
        path = ClipFolder(session.folder, "video").place(name)
        yield Entry(
            id=f"{number}/{name}",
            path=path,
            kind="video",
            label=label,
            subject=session.subject,
            problem=session.problem,
        )
    if label is not None and not session.videos:
        problem = f"session {number} has the emotion {label} and no video"
        yield Entry(id=number, path=session.folder, kind="video", label=label, subject=session.subject, problem=problem)


def _findings(sessions: list[Session], entries: tuple[Entry, ...], strange: list[str]) -> Iterator[Finding]:
    if strange:
        text = f"{len(strange)} sessions have an emotion that is none of the classes; they are kept without a label"
        yield Finding(kind="other emotions", text=text, count=len(strange), examples=tuple(strange))
    if unlabelled := sum(entry.label is None for entry in entries):
        text = f"{counted(unlabelled, 'clip', 'have')} no label; training leaves them out"
        yield Finding(kind="unlabelled", text=text, count=unlabelled, is_expected=True)
    several = [session.folder.name for session in sessions if len(session.videos) > 1]
    if several:
        text = f"{len(several)} sessions have several videos; each is a clip of its own"
        yield Finding(kind="several videos", text=text, count=len(several), examples=tuple(several))
    nameless = [session.folder.name for session in sessions if session.videos and not session.subject]
    if nameless:
        text = f"{len(nameless)} sessions give no subject; folds by subject need it"
        yield Finding(kind="no subject", text=text, count=len(nameless), examples=tuple(nameless))


MMI = Dataset(
    name="mmi",
    title="MMI",
    labels=LABELS,
    licence="research; an agreement with the MMI database",
    by_agreement=True,
    layouts=("Sessions/<id>/*.avi and session.xml, as we understand it",),
    protocol="10 folds by subject: est train --cache CACHE --protocol mmi",
    read=read,
    media=("videos",),
    takes_label_names=True,
    published={"labelled clips": (205,), "subjects": (30,)},
    results=(
        PublishedResult(
            system="EST", war=92.5, uar=90.31, source="Table 3 of the EST paper", remarks=(OWN_BACKBONE, ON_TEST)
        ),
        PublishedResult(
            system="Transformer baseline",
            war=90.5,
            uar=90.03,
            source="Table 3 of the EST paper",
            remarks=(REPRODUCED, PRETRAINED),
        ),
        PublishedResult(
            system="FAN",
            war=86.49,
            uar=85.56,
            source="Table 3 of the EST paper",
            remarks=(REPRODUCED, "other backbone"),
        ),
        PublishedResult(
            system="LSTM",
            war=70.27,
            uar=70.48,
            source="Table 3 of the EST paper",
            remarks=(REPRODUCED, "other backbone"),
        ),
    ),
)
