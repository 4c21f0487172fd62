"""Whether a change of person at a cut is noticed, whether anything else is taken for one, what each policy then keeps, and what it costs.

    python benchmarks/identity.py --folder work                  # the same command resumes
    python benchmarks/identity.py --folder work --cost           # the cost alone
    python benchmarks/identity.py --folder other --development   # the threshold, by other people

The tested people are of seeds that are reserved for this: neither the map of looks nor its threshold has seen them. In 300 clips the
person changes at a hard cut, in 300 a hard cut shows the same person; 60 of each more are 1280×720, all others 320×180 (`_cutclips.py`).
Clips without a cut and with soft transitions have rows of their own and are no part of the goals.

Goals: at least 95 % of the changes at hard cuts are noticed; at most 1 % of the hard cuts to the same person are warned about; `keep`,
`longest` and `split` are right in at least 95 % of the changes; looking at people takes at most 5 % more CPU seconds. Shares have Wilson's
95 % intervals. A folder is of one map and threshold: rows with `keep` do not depend on them, and would be kept.

The cost is that of `--face main` against `--face largest`, which does not compare people: decoder, detector, tracks, crops and ResNet-18
at 224 in this one process, without those who carry pictures between processes, clip by clip in pairs after a warm-up, the order
alternating; the interval is a bootstrap over clips. `coverage` cannot be switched off: every clip's row has it. It is timed by itself.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from _cutclips import KINDS, LARGE, OTHER, SAME, SMALL, VIEW, Kind, Truth, render
from _machine import machine

from est.cache import Cache, open_cache
from est.cache.quality import coverage
from est.cache.schema import DETECTED
from est.demo.spec import IDENTITY_SEEDS
from est.extract.faces.cuts import CutDetector
from est.extract.faces.people import LEAST_SEEN, distance
from est.extract.faces.track import main_tracks, tracks_of
from est.extract.video.source import open_source

DEVELOPMENT_SEEDS = range(45, 49)
CHANGED = tuple(kind for kind in KINDS if (kind.comes, kind.behind) == ("hard cut", OTHER))
UNCHANGED = tuple(kind for kind in KINDS if kind.comes == "hard cut" and kind.behind in (SAME, VIEW))
NOTICED, ALARMED, RIGHT, COST = 0.95, 0.01, 0.95, 1.05  # goals
TIMED = {SMALL: 48, LARGE: 24}  # clips with a change that are timed
WARM_UP = 4
ANY_TWO = 20_000  # pairs of stretches of two people, by which the threshold is chosen

Clips = Mapping[Kind, Sequence[Truth]]


def wilson(hits: int, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a share, in per cent."""
    share, z = hits / count, 1.96
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    reach = z / (1 + z * z / count) * np.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return 100 * max(middle - reach, 0.0), 100 * min(middle + reach, 1.0)


def row(name: str, right: Sequence[bool]) -> str:
    """Lay out one share."""
    low, high = wilson(sum(right), len(right))
    return f"| {name} | {sum(right)}/{len(right)} | {100 * sum(right) / len(right):.1f} % | {low:.1f} to {high:.1f} |"


def show_goal(what: str, reached: bool) -> None:
    """Say whether a goal is reached."""
    print(f"Goal ({what}): {'reached' if reached else 'missed'}.", flush=True)


def extracted(folder: Path, kinds: Iterable[Kind], policy: str) -> Cache:
    """Extract clips of some kinds under a policy, or resume that."""
    from est.extract.config import ExtractConfig
    from est.extract.extraction import extract_videos
    from est.inputs.input import find_inputs

    out = folder / f"{policy}.zarr"
    found = find_inputs([folder / "videos" / kind.slug for kind in kinds])
    report = extract_videos(found, out, ExtractConfig(weights="random", size=32, across_cuts=policy))  # ty: ignore[invalid-argument-type]
    assert not report.failures, report.failures
    return open_cache(out)


def cuts_of(path: Path) -> tuple[int, ...]:
    """Return the cuts that are found in a video."""
    detector = CutDetector()
    with open_source(path, "video") as video:
        for frame, _ in video.frames():
            detector.feed(frame)
    return detector.cuts


def show_people(clips: Clips, cache: Cache, cuts: Mapping[str, tuple[int, ...]]) -> None:
    """Show how often another person is said to take over, and why not where one does."""
    said = {clip: int(cache.clips.row(clip)["identity_changes"]) for clip in cache.ids}
    warned = {kind: [said[clip.id] > 0 for clip in clips[kind]] for kind in clips}
    changed, unchanged = ([one for kind in kinds for one in warned[kind]] for kinds in (CHANGED, UNCHANGED))
    print("\n| warned of another person | clips | share | 95 % |\n|---|---|---|---|")
    for kind, found in warned.items():
        print(row(kind.name, found))
    print(row("all hard cuts to another person", changed))
    print(row("all hard cuts to the same person", unchanged))
    show_goal("at least 95 % of changes at hard cuts", sum(changed) >= NOTICED * len(changed))
    show_goal("at most 1 % of hard cuts to the same person", sum(unchanged) <= ALARMED * len(unchanged))
    missed = [clip for kind in CHANGED for clip, found in zip(clips[kind], warned[kind], strict=True) if not found]
    uncut = sum(clip.cut not in cuts[clip.id] for clip in missed)
    unseen = sum(clip.cut in cuts[clip.id] and least_seen(clip, cache) < LEAST_SEEN for clip in missed)
    print(
        f"Missed: {len(missed)}; of {uncut} the cut was not found, of {unseen} one face was detected less than {LEAST_SEEN} times, "
        f"{len(missed) - uncut - unseen} look too alike."
    )


def least_seen(clip: Truth, cache: Cache) -> int:
    """Return how often the face was detected before the cut or behind it, where it was detected less often."""
    detected = cache.clip(clip.id).state == DETECTED
    return min(int(detected[: clip.cut].sum()), int(detected[clip.cut :].sum()))


def show_policies(clips: Clips, kept: Cache, longest: Cache, split: Cache) -> None:
    """Show what each policy makes of the changes, beside the truth."""
    print("\n| changes at hard cuts, by policy | clips | share | 95 % |\n|---|---|---|---|")
    total: dict[str, list[bool]] = {}
    for kind in CHANGED:
        size = f" ({kind.size[0]}×{kind.size[1]})"
        for name, right in policies(clips[kind], kept, longest, split).items():
            print(row(name + size, right))
            total[name] = total.get(name, []) + right
    for name, right in total.items():
        print(row(f"{name}, all", right))
    reached = all(sum(right) >= RIGHT * len(right) for right in total.values())
    show_goal("each policy right in at least 95 % of changes at hard cuts", reached)


def policies(clips: Sequence[Truth], kept: Cache, longest: Cache, split: Cache) -> dict[str, list[bool]]:
    """Say of each clip whether each policy did right."""
    right: dict[str, list[bool]] = {
        "keep: all rows, with faces of both": [],
        "longest: all faces of that person, and no others": [],
        "split: two clips": [],
        "split: the second begins at the cut": [],
    }
    parts = set(split.ids)
    for clip in clips:
        both, one = kept.clip(clip.id).mask, longest.clip(clip.id).mask
        first, second = both & (np.arange(len(both)) < clip.cut), both & (np.arange(len(both)) >= clip.cut)
        wanted = first if first.sum() >= second.sum() else second  # of two who are there equally long the first
        is_two = [f"{clip.id}#{number}" in parts for number in (1, 2, 3)] == [True, True, False]
        for found, is_right in zip(
            right.values(),
            (
                len(both) == clip.num_frames and first.any() and second.any(),
                np.array_equal(one, wanted),
                is_two,
                is_two and split.clips.row(f"{clip.id}#2")["first_frame"] == clip.cut,
            ),
            strict=True,
        ):
            found.append(bool(is_right))
    return right


def show_cuts(clips: Clips, cuts: Mapping[str, tuple[int, ...]]) -> None:
    """Show which cuts are found, and what is taken for one."""
    print("\n| cut found | clips | share | 95 % |\n|---|---|---|---|")
    false = frames = 0
    for kind, shown in clips.items():
        near = [[t for t in cuts[clip.id] if kind.has_cut and abs(t - clip.cut) <= kind.reach] for clip in shown]
        found = [bool(those if kind.has_cut else cuts[clip.id]) for clip, those in zip(shown, near, strict=True)]
        print(row(kind.name if kind.has_cut else f"{kind.name} (there is none)", found))
        false += sum(len(cuts[clip.id]) - len(those) for clip, those in zip(shown, near, strict=True))
        frames += sum(clip.num_frames for clip in shown)
    print(f"{false} cuts found where there is none, in {frames} frames", flush=True)


class OneProcess:
    """The line of a clip's task to a detector and an encoder that answer at once, in the same process."""

    is_full = False

    def __init__(self, device_worker, *, encodes: bool = True) -> None:
        self.connection = self
        self._worker, self._encodes = device_worker, encodes
        self._answers = []

    def poll(self) -> bool:
        """Say whether there is an answer."""
        return bool(self._answers)

    def send(self, message) -> None:
        """Search pictures for faces, or encode crops."""
        from est.extract.workers.messages import Crops, Found

        pictures = message.pictures.take()
        if isinstance(message, Crops):
            if self._encodes:
                self._worker.encode(pictures).result()
            return
        across, down = message.scale
        faces = [found.scaled(1 / across, 1 / down) for found in self._worker.detect(pictures).result()]
        self._answers.append(Found(index=message.index, frames=message.frames, detections=faces))

    def receive(self):
        """Take the answer."""
        return self._answers.pop(0)


def show_thresholds(videos: Path, seeds: Sequence[int]) -> None:
    """Show what each threshold would do at hard cuts."""
    from est.cache.watch import Watch
    from est.extract.config import ExtractConfig
    from est.extract.planning.preparation import prepare_extraction
    from est.extract.workers.clip_worker import ClipTask
    from est.extract.workers.messages import Work
    from est.inputs.input import find_inputs

    class Seen(ClipTask):
        """A clip's task that keeps what was seen of each stretch of the main face."""

        seen: Sequence[np.ndarray] = ()

        def _tracks(self, num_frames, cuts):
            tracks = tracks_of(self._detections, num_frames, cuts, config.tracking)
            parts = sorted(main_tracks(tracks), key=lambda track: track.start)
            self.seen = [one for one in (self._looks.of(part.faces) for part in parts) if len(one) >= LEAST_SEEN]
            return super()._tracks(num_frames, cuts)

    stretches: dict[Kind, list[Sequence[np.ndarray]]] = {}
    config = ExtractConfig(weights="random", size=32)
    for kind in (*CHANGED, *UNCHANGED):
        render(videos, kind, seeds)
        found = find_inputs([videos / kind.slug])
        worker = prepare_extraction(found, None, config, Watch()).device_workers[0]
        tasks = [
            Seen(OneProcess(worker, encodes=False), config, worker.crop_batch, Work(index=0, input=source))  # ty: ignore[invalid-argument-type]
            for source in found.inputs
        ]
        for task in tasks:
            task.run()
        worker.close()
        stretches[kind] = [task.seen for task in tasks]
    changed, unchanged = (
        [
            max((distance(after, before) for before, after in pairwise(seen)), default=0.0)
            for kind in kinds
            for seen in stretches[kind]
        ]
        for kinds in (CHANGED, UNCHANGED)
    )
    people = [seen for kind in CHANGED for seen in stretches[kind] if len(seen) > 1]
    pairs = np.random.default_rng(0).integers(0, len(people), (ANY_TWO, 2))
    any_two = [distance(people[one][-1], people[two][0]) for one, two in pairs if one != two]
    print("\n| further apart than | changes at hard cuts | any two of these people | hard cuts to the same person |")
    print("|---|---|---|---|")
    for threshold in np.arange(6, 11, 0.5):
        shares = [np.array(values) > threshold for values in (changed, any_two, unchanged)]
        print(f"| {threshold:g} | " + " | ".join(f"{one.sum()}/{len(one)} ({one.mean():.1%})" for one in shares) + " |")


def show_cost(videos: Path) -> None:
    """Show the CPU seconds of extraction with and without a look at who is there."""
    from est.cache.watch import Watch
    from est.extract.config import ExtractConfig
    from est.extract.planning.preparation import prepare_extraction
    from est.extract.workers.clip_worker import ClipTask
    from est.extract.workers.messages import Finished, Work
    from est.inputs.input import find_inputs

    configs = {face: ExtractConfig(weights="random", size=224, face=face) for face in ("main", "largest")}
    reached = True
    for kind in CHANGED:
        render(videos, kind, IDENTITY_SEEDS, TIMED[kind.size])
        found = find_inputs([videos / kind.slug], limit=TIMED[kind.size])
        worker = prepare_extraction(found, None, configs["main"], Watch()).device_workers[0]
        states = []

        def seconds(source, face: str, worker=worker, states=states) -> float:
            start = time.process_time()
            task = ClipTask(OneProcess(worker), configs[face], worker.crop_batch, Work(index=0, input=source))  # ty: ignore[invalid-argument-type]
            done = task.run()
            taken = time.process_time() - start
            assert isinstance(done, Finished), done
            states += [track.state for track in done.tracks]
            return taken

        for source in found.inputs[:WARM_UP]:
            for face in configs:
                seconds(source, face)
        states.clear()
        pairs = []
        for number, source in enumerate(found.inputs):
            order = ("main", "largest") if number % 2 else ("largest", "main")
            taken = {face: seconds(source, face) for face in order}
            pairs.append((taken["main"], taken["largest"]))
        worker.close()
        ratio, low, high = ratio_of(np.array(pairs))
        start = time.process_time()
        for state in states:
            coverage(state)
        share = (time.process_time() - start) / np.sum(pairs)
        total, without = np.sum(pairs, axis=0)
        print(
            f"\n{kind.size[0]}×{kind.size[1]}, {len(pairs)} pairs: {total:.1f} CPU seconds with a look at people, {without:.1f} without; "
            f"ratio {ratio:.3f} (95 % {low:.3f} to {high:.3f}); coverage takes {100 * share:.4f} %",
            flush=True,
        )
        reached = reached and ratio + share <= COST
    show_goal("people and coverage take at most 5 %", reached)


def ratio_of(pairs: np.ndarray, draws: int = 2000) -> tuple[float, float, float]:
    """Return the ratio of the sums of pairs, and its 95 % interval by a bootstrap over them.  # (n, 2)"""
    drawn = pairs[np.random.default_rng(0).integers(0, len(pairs), (draws, len(pairs)))].sum(1)
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], (0.025, 0.975))
    ratio = pairs[:, 0].sum() / pairs[:, 1].sum()
    return float(ratio), float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where clips and results lie: a rerun resumes there")
    parser.add_argument("--cost", action="store_true", help="the cost alone")
    parser.add_argument(
        "--development", action="store_true", help="other people, and what each threshold would do to them"
    )
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported
    cv2.setNumThreads(1)
    folder, videos = arguments.folder, arguments.folder / "videos"
    print(machine("torch", "opencv-python-headless"), flush=True)
    if arguments.development:
        show_thresholds(videos, DEVELOPMENT_SEEDS)
        return
    if not arguments.cost:
        clips = {kind: render(videos, kind, IDENTITY_SEEDS) for kind in KINDS}
        cuts = {clip.id: cuts_of(videos / kind.slug / f"{clip.id}.mp4") for kind in KINDS for clip in clips[kind]}
        kept = extracted(folder, KINDS, "keep")
        show_people(clips, kept, cuts)
        show_cuts(clips, cuts)
        show_policies(clips, kept, *(extracted(folder, CHANGED, policy) for policy in ("longest", "split")))
    show_cost(videos)


if __name__ == "__main__":
    main()
