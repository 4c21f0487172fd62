"""Models of a few lines, registered for one test as if each had a folder."""

from __future__ import annotations

import sys
from types import ModuleType

import torch

from est.train.models import registry
from est.train.models.description import Description, Row, num_parameters


def register(monkeypatch, kind, config):
    """Register a class of models under its configuration's name."""

    def build(settings, *, width, num_classes, seed, maps=()):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = kind(settings, width=width, num_classes=num_classes)
        model.maps = maps
        return model

    def describe(settings, width, num_classes, maps=(), frames=None):
        model = build(settings, width=width, num_classes=num_classes, seed=0)
        row = Row(part="all", parameters=num_parameters(model), macs=0)
        return Description(rows=(row,), backbone=None, frames=settings.frames)

    monkeypatch.setitem(registry.MODELS, config.name, "a test's")
    for module, names in {
        "config": {"Config": config},
        "model": {"build": build, "facts": lambda *_: {}},
        "count": {"describe": describe},
    }.items():
        made = ModuleType(module)
        vars(made).update(names)
        monkeypatch.setitem(sys.modules, f"{registry.__package__}.{config.name}.{module}", made)
