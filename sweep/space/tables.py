"""A search space as TOML: the sections of a configuration, where a list gives choices and a table a range.

[model]
name = ["est", "gru"]                     # several models in one space
dropout = {low = 0.05, high = 0.5}        # for every model that has it

[model.gru]                               # for this model alone
hidden = [64, 128]
loop.learning_rate = {low = 1e-4, high = 1e-2, log = true}

[loop]
optimizer = ["adam", "adamw"]
weight_decay = {low = 1e-5, high = 0.1, log = true, when = {loop.optimizer = "adamw"}}
batch = 16                                # fixed
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_origin

from ...errors import UsageError, nearest
from ...train.config.config import TrainConfig
from ...train.config.configfile import MODEL, coerce, from_flat, in_words, known_keys
from ...train.models.registry import DEFAULT, MODELS, config_class
from .corners import expect_possible
from .setting import Setting, in_toml, key_of, name_of
from .space import SECTION, Space
from .unvaried import expect_variable

BOUNDS = ("low", "high", "log", "step")
WORDS = (*BOUNDS, "choices", "when")  # of a table


class Entry(NamedTuple):
    """A key of the file: whose it is (empty: every model's), and what is said of it."""

    key: str
    model: str
    value: Any


def read_space(path: Path | str, *, model: str = DEFAULT, base: TrainConfig | None = None) -> Space:
    """Read a space file. `model` is searched where the file names none; every value is tried over `base`, or the defaults."""
    base, path = base or TrainConfig(model=config_class(model)()), Path(path)
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"The search space {path} cannot be read.", remedy="--space names a TOML file") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not TOML.", remedy=f"correct {path}") from error
    try:
        return space_of(tables, model=model, base=base)
    except UsageError as error:
        raise UsageError(f"{path}: {error.message}", remedy=error.remedy) from error.__cause__


def space_of(tables: Mapping[str, Any], *, model: str, base: TrainConfig) -> Space:
    """Build a space from tables as a file has them."""
    entries = list(_entries(tables))
    for place, entry in enumerate(entries):
        if any((entry.key, entry.model) == (other.key, other.model) for other in entries[:place]):
            raise UsageError(f"{name_of(entry.key, entry.model)} is in the search space twice.", remedy="leave one out")
    models = _models(entries, model)
    settings: list[Setting] = []
    fixed: dict[str, Any] = {}
    if len(models) > 1:
        settings.append(Setting(key=MODEL, choices=models))
    else:
        fixed[MODEL] = models[0]
    for entry in entries:
        _expect_known(entry, models)
        if entry.key == MODEL:
            continue
        if len(models) == 1:
            if not entry.model and any(other.key == entry.key and other.model for other in entries):
                continue  # the model's own section says otherwise
            entry = entry._replace(model="")
        kind = known_keys(entry.model or next(m for m in models if entry.key in known_keys(m)))[entry.key]
        if get_origin(kind) is tuple:
            raise UsageError(
                f"{entry.key} takes a list, and a sweep varies single values.",
                remedy=f"leave it out; --set {entry.key}=… of est train sets it",
            )
        if isinstance(entry.value, dict | list):
            settings.append(_setting(entry, kind, models))
        else:
            fixed[name_of(entry.key, entry.model)] = _typed(entry.key, entry.value, kind)
    space = Space(settings=tuple(settings), fixed=fixed)
    expect_possible(space, base)
    return space


def _entries(tables: Mapping[str, Any], prefix: str = "") -> Iterable[Entry]:
    """Yield every key, down to the tables of settings."""
    for name, value in tables.items():
        path = prefix + name
        key, model = _owner(path)
        if isinstance(value, dict) and not _is_of_a_setting(key, value):
            yield from _entries(value, f"{path}.")
        else:
            yield Entry(key, model, value)


def _owner(path: str) -> tuple[str, str]:
    """Return the key and the model of a path: `model.gru.hidden` is model.hidden of gru, `model.gru.loop.batch` its loop.batch."""
    first, *rest = path.split(".")
    if first != "model" or len(rest) < 2 or rest[0] not in MODELS:
        return path, ""
    key = ".".join(rest[1:])
    return (key if rest[1] in _sections() else SECTION + key), rest[0]


def _is_of_a_setting(key: str, table: Mapping[str, Any]) -> bool:
    """Return whether a table is that of a setting, and not a section."""
    if key in _sections() or key.removeprefix(SECTION) in MODELS:
        return False
    return any(key in known_keys(model) for model in MODELS) or any(word in table for word in WORDS)


def _sections() -> set[str]:
    return {key.partition(".")[0] for key in known_keys() if "." in key}


def _models(entries: list[Entry], default: str) -> tuple[str, ...]:
    """Return the models of the space."""
    value = next((entry.value for entry in entries if entry.key == MODEL and not entry.model), default)
    if isinstance(value, dict):
        if set(value) != {"choices"}:
            raise UsageError(
                f"{MODEL} is a name or a list of names, found {value!r}.", remedy=f"{MODEL} = {in_toml(list(MODELS))}"
            )
        value = value["choices"]
    names = value if isinstance(value, list) else [value]
    for name in names:
        if not isinstance(name, str) or name not in MODELS:
            near = nearest(name, MODELS)
            raise UsageError(
                f"There is no model {name!r}; the models are {', '.join(MODELS)}.",
                remedy=f"{MODEL} = {in_toml(near or list(MODELS))}",
            )
    return Setting(key=MODEL, choices=tuple(names)).choices


def _expect_known(entry: Entry, models: tuple[str, ...]) -> None:
    """Refuse keys that do not exist, that are of models outside of the space, and that a sweep does not vary."""
    expect_variable(entry.key)
    if entry.model and entry.model not in models:
        names = in_toml([*models, entry.model])
        raise UsageError(
            f"[model.{entry.model}] is of a model that is not searched; the space has {', '.join(models)}.",
            remedy=f"{MODEL} = {names}, or leave the section out",
        )
    if entry.model and entry.key == MODEL:
        raise UsageError(
            f"[model.{entry.model}] is of the model that it names; name stands in [model].",
            remedy="leave name out of it",
        )
    first, *rest = entry.key.split(".")
    if first == "model" and len(rest) > 1:
        near = nearest(rest[0], MODELS)
        raise UsageError(
            f"There is no model {rest[0]!r}; the models are {', '.join(MODELS)}.",
            remedy=f"[model.{near or models[0]}]",
        )
    own = (entry.model,) if entry.model else models
    if not any(entry.key in known_keys(model) for model in own):
        from_flat({MODEL: own[0], entry.key: entry.value})  # which names the nearest, or the model that has it


def _setting(entry: Entry, kind: Any, models: tuple[str, ...]) -> Setting:
    """Build a setting from a list or a table."""
    key, model, value = entry
    if isinstance(value, list):
        value = {"choices": value}
    for word in value:
        if word not in WORDS:
            near = nearest(word, WORDS)
            raise UsageError(
                f"{key} has {', '.join(WORDS)}; found {word!r}.",
                remedy=f"did you mean {near}?" if near else f"leave {word} out",
            )
    parts: dict[str, Any] = {"key": key, "model": model, "when": _condition(key, value.get("when", {}), models)}
    if "choices" in value:
        if not isinstance(value["choices"], list):
            raise UsageError(
                f"choices of {key} is a list, found {value['choices']!r}.",
                remedy=f"choices = [{in_toml(value['choices'])}]",
            )
        parts["choices"] = tuple(_typed(key, choice, kind) for choice in value["choices"])
    if any(word in value for word in BOUNDS):
        number = _number(key, kind)
        log = value.get("log", False)
        if not isinstance(log, bool):
            raise UsageError(f"log of {key} is true or false, found {log!r}.", remedy="log = true")
        bounds = {word: _typed(key, value[word], number, word) for word in ("low", "high", "step") if word in value}
        parts |= {"log": log, **bounds}
    return Setting(**parts)


def _condition(key: str, found: Any, models: tuple[str, ...]) -> dict[str, tuple[Any, ...]]:
    """Read a condition: settings and the values that they must have."""
    if not isinstance(found, dict):
        raise UsageError(
            f"when of {key} is a table of settings and values, found {found!r}.",
            remedy='when = {loop.optimizer = "adamw"}',
        )
    conditions = {}
    for other, values in _flat(found):
        kinds = [known_keys(model)[other] for model in models if other in known_keys(model)]
        if not kinds:
            from_flat({MODEL: models[0], other: None})
        values = values if isinstance(values, list) else [values]
        conditions[other] = tuple(_typed(other, value, kinds[0], "the condition") for value in values)
    return conditions


def _flat(tables: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in tables.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _number(key: str, kind: Any) -> Any:
    """Return the kind of number that a key has: a range needs one."""
    found = next((option for option in (get_args(kind) or (kind,)) if option in (int, float)), None)
    if found is None:
        raise UsageError(
            f"{key} is not a number, so it has no range.", remedy=f"{key_of(key).rpartition('.')[2]} = [first, second]"
        )
    return found


def _typed(key: str, value: Any, kind: Any, part: str = "a value") -> Any:
    """Bring a value of the file into the type of its key."""
    try:
        return coerce(key, value, kind)
    except UsageError as error:
        wanted = in_words(kind)
        raise UsageError(f"{key} is {wanted}, found {value!r} as {part}.", remedy=f"write {wanted} there") from error
