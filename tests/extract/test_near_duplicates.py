"""Near-duplicates by the features of rendered videos."""

from __future__ import annotations

from extract_samples import extract
from video_samples import make_video

from est.cache import open_cache
from est.cache.reading.duplicates import ClipList, find_duplicates
from est.cache.reading.near_duplicates import find_near_duplicates
from est.demo import RenderSpec, plan_set
from est.demo.clip import Clip


def test_a_rendered_clip_encoded_again_is_found_and_no_other_clip_of_the_person(tmp_path):
    """Other bytes, and nearly the same features: of random weights, which nobody has taught to see expressions alone."""
    spec = RenderSpec(subjects=2, clips_per_subject=2, seed=5, size=(192, 144), frames=(30, 31))
    (tmp_path / "in").mkdir()
    for number, plan in enumerate(plan_set(spec)):
        shown = Clip(plan)
        frames = [shown.frame(index)[0] for index in range(16)]
        make_video(tmp_path / "in" / f"{plan.subject}-{number}.mp4", frames)
        if number == 1:
            make_video(tmp_path / "in" / "again.mp4", frames[3:], options={"crf": "30"})
    extract(tmp_path / "in", tmp_path / "c.zarr", workers=1)
    clips = ClipList.of([open_cache(tmp_path / "c.zarr")])
    assert len(clips) == 5
    assert find_duplicates(clips) == []
    (group,) = find_near_duplicates(clips)
    assert [clips.id(row) for row in group.rows] == ["again", "s000-1"]
    assert 0.5 <= group.similarity < 1
    assert find_near_duplicates(clips, known=[group]) == []
