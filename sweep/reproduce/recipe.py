"""From what the user asked for to the configuration of each row: the row's settings lie above the user's.

A setting of [model] goes to every model that has it, and must be one of some model: `--set model.hidden=32` is one of gru and lstm.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from ...errors import UsageError
from ...train.config.config import TrainConfig
from ...train.config.configfile import MODEL, from_flat, known_keys, parse_value, read_toml, resolve, to_flat
from ...train.models.registry import DEFAULT, MODELS
from .table import Row, Table

PRESET = "small"  # where neither a preset nor a file is named; with --dataset
PUBLISHED_PRESET = "official"
LONGEST = 80  # letters of a run's name
# Where neither a file nor --set nor an option says otherwise.
DEFAULTS = {"seeds": (1, 2, 3), "control": False, "tensorboard": False, "keep_epochs": False}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The user's part of every configuration."""

    preset: str | None = None
    file: Path | None = None
    settings: tuple[str, ...] = ()  # KEY=VALUE
    options: Mapping[str, Any] = field(default_factory=dict)

    def expect_known(self) -> None:
        """Refuse a setting that is one of no model."""
        for text in self.settings:
            key = text.partition("=")[0].strip()
            if key == MODEL:
                raise UsageError(
                    "The rows of a table say which models are trained.", remedy="leave --set model.name out"
                )
            if key.startswith("model.") and not any(key in known_keys(name) for name in MODELS):
                resolve(settings=[text])  # says what the settings are
        if (select := self.config().select) != "last":
            raise UsageError(
                f"Tables score the last epoch, found select = {select}.",
                remedy="leave select out of --set and --config",
            )

    def expect_effective(self, tables: Sequence[Table]) -> None:
        """Refuse settings that decide nothing in any row of the tables; tables that train nothing look at none."""
        rows = [row for table in tables if table.trains for row in table.rows]
        names = dict.fromkeys(row.model for row in rows)
        of_models = [key for key, _ in self._typed if key.startswith("model.")] if rows else []
        for key in of_models:
            if not any(key in known_keys(name) for name in names):
                owners = ", ".join(name for name in MODELS if key in known_keys(name))
                raise UsageError(
                    f"{key} is a setting of {owners}, and no row uses these models: it would have no effect.",
                    remedy=f"leave {key} out",
                )
        idle: UsageError | None = None
        for row in rows:
            try:
                config = self.config(row.settings)
            except UsageError:  # this row cannot be made; its line says why
                continue
            try:
                config.expect_effective()
            except UsageError as error:
                idle = idle or error
            else:
                return
        if idle is not None:
            raise idle

    def asked(self, key: str) -> Any:
        """Return what the user sets a key to, by option, --set or file; None if it is not set."""
        if (value := self.options.get(key)) is not None:
            return value
        said = dict(self._typed)
        return parse_value(said[key].strip()) if key in said else self._file.get(key)

    def config(self, settings: Mapping[str, Any] | None = None) -> TrainConfig:
        """Return the configuration of a row's settings."""
        above = dict(settings or {})
        known = known_keys(above.get(MODEL, DEFAULT))
        keys = {text: text.partition("=")[0].strip() for text in self.settings}
        own = [text for text, key in keys.items() if key in known or not key.startswith("model.")]
        defaults = {key: value for key, value in DEFAULTS.items() if self.asked(key) is None}
        options = {key: value for key, value in self.options.items() if value is not None}
        return resolve(self.preset, self.file, own, {MODEL: DEFAULT, **defaults, **options, **above})

    @property
    def _typed(self) -> list[tuple[str, str]]:
        """Return the keys and values of --set."""
        return [(key.strip(), value) for key, _, value in (text.partition("=") for text in self.settings)]

    @cached_property
    def _file(self) -> Mapping[str, Any]:
        """Return what the file says."""
        return read_toml(self.file) if self.file is not None else {}

    def name(self, row: Row) -> str:
        """Return the name of a row's run: its model, and in what its configuration differs from the recipe's for that model."""
        config = self.config(row.settings)
        plain = to_flat(self.config({MODEL: config.model.name}))
        changed = {key: value for key, value in to_flat(config).items() if value != plain[key]}
        words = [f"{key.rpartition('.')[2]}={_word(value)}" for key, value in changed.items()]
        name = "-".join([config.model.name, *words])
        return name if len(name) <= LONGEST else f"{config.model.name}-{sha256(name.encode()).hexdigest()[:12]}"

    def to_json(self) -> dict[str, Any]:
        """Return what the settings of every row follow from: the recipe's configuration of each model."""
        found: dict[str, Any] = {}
        for name in MODELS:
            try:
                found[name] = to_flat(self.config({MODEL: name}))
            except UsageError:  # this model cannot be trained so; its rows say why
                continue
        return found


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return in which settings two recipes differ, each once, whatever the model."""
    found: dict[str, tuple[Any, Any]] = {}
    for name in then.keys() & now.keys():
        a, b = (to_flat(from_flat(one[name])) for one in (then, now))
        for key in a:
            if key in b and a[key] != b[key]:
                found.setdefault(key, (_plain(a[key]), _plain(b[key])))
    return found


def _plain(value: Any) -> str:
    """Write a value as people do."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, (tuple, list)):
        return ", ".join(map(_plain, value)) or "none"
    return "none" if value is None or value == "" else str(value)


def _word(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return re.sub(r"[^\w.+]+", "-", text).strip("-")
