"""The page of `est cache info` and the lines of `est cache ls`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...cache.reading.summary import Summary
from ...cache.schema import VERSION
from ...errors import counted, quoted

BAR = 30  # characters of the longest bar
WIDE = 24  # characters of a name


def page(summary: Summary) -> str:
    """Lay out a cache's figures."""
    lines = [f"{summary.url or summary.path}  ({summary.store}, format {summary.format})", ""]
    lines += [f"  mirror      {summary.path}"] if summary.url else []
    lines += [
        f"  size        {size(summary.disk_bytes)} on disk; arrays {size(summary.num_bytes)}",
        f"  clips       {summary.clips:,}",
        f"  frames      {summary.frames:,}  ({summary.median_frames:.0f} a clip, {duration(summary.hours)})",
    ]
    if summary.frames:
        lines += [f"  with a face {summary.detected:.1%} detected, {summary.interpolated:.1%} interpolated"]
    lines.append(faces_held(summary))
    notes = {
        "subjects": summary.subjects,
        "no face": summary.without_face,
        "incomplete": summary.incomplete,
        "removed": summary.removed,
        "missing": summary.missing,  # inputs of an extraction that is under way, or was interrupted
    }
    lines += [f"  {name:<11} {count:,}" for name, count in notes.items() if count]
    if summary.decoders:
        lines.append("  decoders    " + ", ".join(f"{name} {count:,}" for name, count in summary.decoders.items()))
        lines[-1] += f"; {counted(summary.decode_errors, 'clip')} with decode errors" if summary.decode_errors else ""
    if summary.extra:
        lines.append("  extra       " + ", ".join(f"{name} ({what})" for name, what in summary.extra.items()))
    if summary.format < VERSION:
        lines.append(f"  est cache convert {summary.path} NEW upgrades it to format {VERSION}")
    if not summary.folded:
        lines += [
            "  unfinished: some of its clips are in the staging folder beside it; the next est extract moves them into the file"
        ]
    with_clips = {
        label: number for label, number in summary.labels.items() if number
    }  # of an unfinished cache some have none
    lines += bars("labels", {**with_clips, **({"(none)": summary.unlabelled} if summary.unlabelled else {})})
    lines += bars("splits", summary.splits)
    lines += bars("folds", {str(fold): count for fold, count in summary.folds.items()})
    lines += bars("failures by stage", summary.failures)
    if summary.failed_labels:
        unlabelled = sum(summary.failures.values()) - sum(summary.failed_labels.values())
        lines += bars("failures by label", {**summary.failed_labels, **({"(none)": unlabelled} if unlabelled else {})})
    lines += ["", "arrays"]
    arrays = {name: number for name, number in summary.array_bytes.items() if number}
    large = {name: number for name, number in arrays.items() if name.startswith(("frames/", "crops/"))}
    lines += [f"  {name:<{WIDE}} {size(number):>9}" for name, number in large.items()]
    lines += [f"  {'clips/*, failures/*':<{WIDE}} {size(sum(arrays.values()) - sum(large.values())):>9}"]
    lines += ["", f"frames recipe {summary.fingerprints['frames']}", *settings(summary.recipes["frames"])]
    for name, recipe in summary.recipes["features"].items():
        lines += ["", f"features {name} {summary.fingerprints[name]}", *settings(recipe)]
        lines += [f"  {summary.trained_on[name]}"] if name in summary.trained_on else []
    if summary.merged:
        lines += ["", 'merged of caches that differ; "here" is the first of them, as above']
        lines += [f"  {difference}" for difference in summary.merged]
    lines += ["", f"last commit {summary.commit['sequence']} at {summary.commit['time']}"]
    return "\n".join(lines)


def faces_held(summary: Summary) -> str:
    """Return how many face pictures a cache holds, and how a person is erased."""
    pictures = summary.face_pictures
    held = f"{pictures:,} face picture{'s' * (pictures != 1)}" if pictures else "no face pictures"
    if summary.removed_face_pictures:
        held += f", {summary.removed_face_pictures:,} more of removed clips (est cache convert or erase deletes them)"
    if summary.url:  # what lies there is never changed in place
        return f"  faces       {held}"
    return f"  faces       {held}; est cache erase {quoted(summary.path)} --subject NAME erases a person"


def bars(title: str, counts: Mapping[str, int]) -> list[str]:
    """Draw counts as bars."""
    if not counts:
        return []
    most = max(counts.values())
    lines = ["", title]
    for name, count in counts.items():
        bar = "█" * round(BAR * count / most) if most else ""
        lines.append(f"  {name:<{WIDE}} {count:>7,}  {bar}")
    return lines


def settings(recipe: Mapping[str, Any]) -> list[str]:
    """List a recipe's fields, empty ones left out."""
    return [f"  {name:<{WIDE}} {value}" for name, value in recipe.items() if value not in ("", None, False)]


def size(num_bytes: float) -> str:
    """Format a number of bytes."""
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < 1000:
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.1f} TB"


def duration(hours: float) -> str:
    """Format a number of hours."""
    if hours >= 1:
        return f"{hours:.1f} h"
    return f"{hours * 60:.1f} min"


def clip_line(row: Mapping[str, Any]) -> str:
    """Format a clip for `ls`: tabs between, so that cut and awk work."""
    jitter, tracks, changes = (
        "-" if row[name] is None else f"{row[name]:.4f}" if name == "box_jitter" else f"{row[name]}"
        for name in ("box_jitter", "tracks", "identity_changes")
    )
    line = f"{annotated(row)}\t{row['count']} frames\tcoverage {row['coverage']:.3f}\tjitter {jitter}"
    line += f"\ttracks {tracks}\tidentity changes {changes}"
    return line + f"\tincomplete: {row['decoded']} of {row['declared']}" if row["decoded"] < row["declared"] else line


def is_incomplete(row: Mapping[str, Any]) -> bool:
    """Return whether a clip has fewer frames than its file declares."""
    return None not in (row["decoded"], row["declared"]) and row["decoded"] < row["declared"]


def failure_line(failure: Mapping[str, Any]) -> str:
    """Format a failure for `ls --failures`, its first columns those of a clip."""
    return "\t".join((annotated(failure), failure["stage"], failure["error"]))


def annotated(row: Mapping[str, Any]) -> str:
    """Format the columns that clips and failures have in common."""
    return "\t".join((row["id"], row["label"] or "-", row["subject"] or "-", row["split"] or "-", str(row["fold"])))
