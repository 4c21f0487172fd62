"""The shipped weights: what their card says, and that they read the expressions of people they have never seen."""

import cv2
import numpy as np
import torch

from est.crops.crop import BOX_MARGIN, box_matrix, warp
from est.demo import EXPRESSIONS, RenderSpec, plan_set
from est.demo.clip import Clip
from est.encoders.backbone import Normalization
from est.encoders.weights import load_weights


def apex_crop(plan):
    """Crop the frame in which a clip's expression is strongest, as extraction would around the true box."""
    studio = Clip(plan)
    image, truth = studio.frame(int(np.argmax(studio.course.intensity)))
    return cv2.cvtColor(warp(image, box_matrix(np.array(truth.box), BOX_MARGIN, 224), 224), cv2.COLOR_BGR2RGB)


def test_the_card_says_what_they_are_for():
    weights = load_weights("synface")
    assert weights.backbone.normalization == Normalization()
    assert "not real" in weights.card["purpose"]
    assert "not for real faces" in weights.licence
    assert not weights.unused


def test_they_read_the_expressions_of_unseen_people():
    plans = plan_set(RenderSpec(subjects=6, clips_per_subject=7, seed=77, difficulty=0.2))
    crops = np.stack([apex_crop(plan) for plan in plans])
    labels = np.array([EXPRESSIONS.index(plan.label) for plan in plans])
    known = np.array([int(plan.subject[1:]) % 2 == 0 for plan in plans])
    with torch.inference_mode():
        features = load_weights("synface").backbone(torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255).numpy()
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    means = np.stack([features[known & (labels == label)].mean(0) for label in range(len(EXPRESSIONS))])
    right = (features[~known] @ means.T).argmax(1) == labels[~known]
    assert right.mean() >= 0.85, f"{right.sum()} of {right.size}"
