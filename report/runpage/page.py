"""`est report RUN…`: the page of one run, or of several, compared, as one HTML file. No torch is needed, and no network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...cache.watch import Watch
from ...errors import UsageError, counted
from ...train.results.compare import PERMUTED_LABELS
from ..output import expect_free, write_output
from ..page import Section, code, page, table, text, warning
from ..page import percent as share
from ..pagedscript import PAGED
from ..privacy import FOLDERS, NAMES
from .attention import attention_section
from .calibration import calibration_section
from .clips import clip_section
from .curves import curve_section
from .decisions import read_decisions
from .embedding import embedding_section
from .hardest import hardest_section
from .opened import Opened, open_for_page
from .probe import probe_section
from .scores import class_section, confusion_section, control_section, part_section, score_section, warnings_of
from .setup import cite_section, how_section, repeat_section
from .several import APPARENT, several_page

STYLE = (
    ".pairs{display:grid;grid-template-columns:repeat(2,minmax(0,max-content));gap:.5rem 1.5rem}.pairs figure{margin:0}"
    "@media (max-width:45em){.pairs{grid-template-columns:1fr}}"
    ".strip{display:flex;flex-wrap:wrap;gap:.5rem;list-style:none;padding:0;margin:0 0 1rem}"
    "@media screen{.paged td,.paged tbody th{white-space:nowrap}}"
)


def run_page(
    runs: Path | str | Sequence[Path | str],
    out: Path | str,
    *,
    faces: bool = False,
    paths: bool = False,
    cache: Path | str | None = None,
    overwrite: bool = False,
    watch: Watch | None = None,
) -> Path:
    """Write the page of a run, or of several, compared, as one HTML file.

    `faces` puts crops of the hardest clips into it, `paths` the folders of files; `cache` is where the run's cache is now. `watch` is
    warned of runs that are not complete or damaged, as the page says, too.

    >>> est.run_page("runs/first", "run.html", overwrite=True).name
    'run.html'
    """
    runs, out = [runs] if isinstance(runs, Path | str) else list(runs), Path(out)
    expect_free([out], overwrite=overwrite)
    if not runs:
        raise UsageError("Which run?", remedy="est report RUN; est runs lists them")
    opened = [open_for_page(one) for one in runs]
    for one in opened:
        if one.problem and watch is not None:
            watch.warn(f"{one.path}: {one.problem}{f' Try: {one.remedy}' if one.remedy else ''}")
    if len(opened) > 1:
        if faces or cache is not None:
            raise UsageError(
                f"Faces are shown of a single run, found {len(opened)} runs.",
                remedy="est report RUN --faces, or without --faces and --cache",
            )
        made = several_page(opened, paths=paths)
    else:
        made = one_page(opened[0], faces=faces, paths=paths, cache=None if cache is None else Path(cache))
    return write_output(out, made, overwrite=overwrite)


def one_page(opened: Opened, *, faces: bool = False, paths: bool = False, cache: Path | None = None) -> str:
    """Return the page of one run."""
    run, results = opened.run, opened.results
    lead = [text(APPARENT), warning(NAMES), *([] if paths else [text(FOLDERS)])]
    begin = [opened.path.absolute().parent]
    if run is not None:
        feature = f", features {run.config.feature}" if not run.config.looks_at_frames else ""
        lead.insert(0, text(f"{run.facts['heading']}. Trained on {run.facts['cache']['path']}{feature}."))
    if opened.problem:
        lead.append(warning(opened.problem))
        lead += [text("Remedy:"), code(opened.remedy)] if opened.remedy else []
    if run is None:
        return page(opened.name, [cite_section()], lead=lead, paths=paths, begin=begin)
    if results is None:
        lead += [warning(f"This run {PERMUTED_LABELS}.")] if run.permuted else []
        sections = [scored_parts(opened), curve_section(opened.histories)]
    else:
        lead += warnings_of(results)
        decisions = read_decisions(run)
        found = results.predictions
        truth = dict(zip(found.ids.tolist(), found.truth.tolist(), strict=True))
        sections = [
            score_section(results),
            control_section(opened),
            confusion_section(results),
            class_section(results),
            part_section(results),
            curve_section(opened.histories),
            calibration_section(opened),
            embedding_section(run, decisions, truth),
            attention_section(decisions, truth, run.labels),
            probe_section(run),
            hardest_section(opened, decisions, faces=faces, cache=cache),
            clip_section(opened),
        ]
    return page(
        f"Run {opened.name}",
        [*sections, how_section(opened), repeat_section(opened)],
        lead=lead,
        style=STYLE,
        scripts=[PAGED],
        paths=paths,
        begin=begin,
    )


def scored_parts(opened: Opened) -> Section:
    """Return the parts of an unfinished run that are scored."""
    if not opened.parts:
        return Section(title="Scored parts", parts=[text("No part is scored yet.")])
    rows = [
        [one["part"], share(one["war"]), f"{one['right']} / {one['total']}", share(one["uar"]), one["train_clips"]]
        for one in opened.parts
    ]
    caption = f"{counted(len(opened.parts), 'part')} of {len(opened.run.parts) if opened.run else 0}, each on its own test half"
    return Section(
        title="Scored parts",
        parts=[table(["Part", "WAR", "Right / clips", "UAR", "Learnt from, clips"], rows, caption=caption)],
    )
