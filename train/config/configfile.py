"""Configurations as text: TOML files, `--set a.b=v`, and back. Keys that do not exist are refused, the nearest one named."""

from __future__ import annotations

import difflib
import json
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

from ...errors import UsageError, hints_of, nearest
from ..models.registry import DEFAULT, MODELS, config_class
from .config import ALIASES, OF_AUTHORS, PRESETS, SIZES, TrainConfig

MODEL, FEATURE = "model.name", "data.feature"
MOST = sys.float_info.max
Flat = dict[str, Any]  # "model.layers" → 3; "seeds" → (3456,)


def resolve(
    preset: str | None = None,
    file: Path | None = None,
    settings: Iterable[str] = (),
    options: Mapping[str, Any] | None = None,
    *,
    base: TrainConfig | None = None,
) -> TrainConfig:
    """Put a configuration together: `base`, then file, preset, `--set` and options; later ones win.

    A file may begin with a preset of its own, `preset = "fast"`, below what else it says; `preset` takes its place.
    Where options name another model than a file is for, the file's section [model] does not count.
    """
    from_base: Flat = to_flat(base) if base is not None else {}
    from_file = read_toml(file) if file is not None else {}
    own_preset = from_file.pop("preset", None)
    typed: Flat = {}
    for text in settings:
        key, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--set takes KEY=VALUE, found {text!r}.", remedy="--set model.layers=2")
        typed[key.strip()] = parse_value(value.strip())
    typed |= {key: value for key, value in (options or {}).items() if value is not None}
    model = (from_base | from_file | typed).get(MODEL, DEFAULT)  # whose presets and keys they are
    for layer in (from_base, from_file):
        if layer.get(MODEL, DEFAULT) != model:  # the section of another model; everything else holds for this one, too
            for key in [key for key in layer if key.startswith("model.")]:
                del layer[key]
    flat = from_base
    for name, above in ((own_preset if preset is None else None, from_file), (preset, typed)):
        flat |= preset_settings(name, model, below=flat) if name is not None else {}
        flat |= above
    config = from_flat({**flat, MODEL: model})
    if FEATURE in typed:  # a file of a run names the default, too, and means nothing by it
        config.expect_read("--feature" if (options or {}).get(FEATURE) is not None else f"--set {FEATURE}")
    return config


def train_config(
    preset: str | None = None,
    settings: Mapping[str, Any] | None = None,
    *,
    file: Path | str | None = None,
) -> TrainConfig:
    """Return the configuration of a training: a preset, a TOML file, and single settings by the keys of `--set`; settings win.

    >>> config = est.train_config("small", {"model.name": "gru", "loop.epochs": 5, "protocol.kind": "loso"})
    >>> config.loop.epochs, config.protocol.kind, config.model.name
    (5, 'loso', 'gru')
    """
    return resolve(preset, None if file is None else Path(file), options=settings)


def preset_settings(name: Any, model: str = DEFAULT, *, below: Mapping[str, Any] | None = None) -> Flat:
    """Return what a preset sets: every setting that presets differ in, as it has it.

    Sizes of the model are left alone, so that `--preset fast` keeps the layers of a file. Only where the configuration `below` has all
    the sizes of `small`, as the file of such a run has, are they put back to their defaults.
    """
    name = ALIASES.get(name, name) if isinstance(name, str) else name
    if name not in list(PRESETS):
        raise UsageError(f"A preset is {', '.join(PRESETS)}; found {name!r}.", remedy="--preset official")
    kind = config_class(model)
    if name == OF_AUTHORS and OF_AUTHORS not in kind.presets:
        having = [one for one in MODELS if OF_AUTHORS in config_class(one).presets]
        is_est = model == DEFAULT
        said = f"the authors of {model} train it by the preset official"
        said = said if is_est else f"there is no preset of the training of {model} by its authors"
        others = ", ".join(one for one in PRESETS if one != OF_AUTHORS)
        raise UsageError(
            f"The preset {OF_AUTHORS} is of {', '.join(having)}; {said}.",
            remedy="--preset official" if is_est else f"--preset, one of {others}",
        )
    defaults = to_flat(TrainConfig(model=kind()))
    presets = {
        one: dict(settings) | {_key_of(key): value for key, value in kind.presets.get(one, {}).items()}
        for one, settings in PRESETS.items()
    }
    sizes = {key: value for key, value in presets[SIZES].items() if not key.startswith("loop.")}
    put_back = [key for one, settings in presets.items() if one != SIZES for key in settings]
    if sizes.items() <= (below or {}).items():
        put_back += sizes
    return {key: defaults[key] for key in put_back} | presets[name]


def _key_of(name: str) -> str:
    """Return the key of what a model's preset names: a setting of [model], or that of another section by its key."""
    return name if "." in name else f"model.{name}"


def known_keys(model: str = DEFAULT) -> dict[str, Any]:
    """Return every key of a configuration and the type of its value; those of the section [model] are the model's own."""
    return {MODEL: str, **dict(_walk(TrainConfig, "", model))}


def from_flat(flat: Mapping[str, Any]) -> TrainConfig:
    """Build a configuration from its keys; what is not named has its default."""
    model = flat.get(MODEL, DEFAULT)
    kinds = known_keys(model)
    for key in flat:
        if key not in kinds:
            if key == "model":
                raise UsageError("A model is named by model.name.", remedy=f"--model {flat[key]}")
            expect_no_other_models(key, model)
            near = nearest_key(key, kinds)
            raise UsageError(
                f"There is no setting {key!r}.",
                remedy=f"did you mean {near}?" if near else f"the settings are {', '.join(kinds)}",
            )
    values = {key: coerce(key, value, kinds[key]) for key, value in flat.items()}
    return _build(TrainConfig, "", values, model)


def expect_no_other_models(key: str, model: str) -> None:
    """Say so when a setting is one of another model."""
    others = [other for other in MODELS if other != model and key in known_keys(other)]
    if not others:
        return
    own = [name for name in known_keys(model) if name.startswith("model.") and name != MODEL]
    near = related_keys(key, own)
    has = f"similar ones of {model} are {', '.join(near)}" if near else f"{model} has {', '.join(own) or 'no settings'}"
    models = f"the model {others[0]}" if len(others) == 1 else f"the models {', '.join(others)}"
    raise UsageError(
        f"{key} is a setting of {models}, and the model is {model}.",
        remedy=f"leave it out, or --model {others[0]}; {has}",
    )


def nearest_key(key: str, keys: Iterable[str]) -> str | None:
    """Return the setting that a word most likely means: one spelt nearly so, else one that shares words with it."""
    known = list(keys)
    if slip := nearest(key, known, cutoff=0.9):
        return slip

    def likeness(one: str) -> tuple[int, float]:
        same = one.partition(".")[0] == key.partition(".")[0]
        return (2 * len(words_of(one) & words_of(key)) + same, difflib.SequenceMatcher(None, one, key).ratio())

    if sharing := [one for one in known if words_of(one) & words_of(key)]:
        return max(sharing, key=likeness)
    return nearest(key, known, cutoff=0.5)


def related_keys(key: str, keys: Iterable[str]) -> list[str]:
    """Return the settings that share a word with one, and those that share one with them: frames → segment_frames, num_segments."""
    known = list(keys)
    near = [one for one in known if words_of(one) & words_of(key)]
    words = words_of(key).union(*map(words_of, near))
    return [one for one in known if words_of(one) & words]


def words_of(key: str) -> set[str]:
    """Return the words of a setting without its section, in the singular."""
    return {word.removesuffix("s") for word in key.rpartition(".")[2].split("_")} - {"num", ""}


def to_flat(config: TrainConfig) -> Flat:
    """Return every key with its value."""
    flat = dict(_flatten(asdict(config), ""))
    return {MODEL: config.model.name, **flat}


def differences(then: TrainConfig, now: TrainConfig) -> dict[str, tuple[Any, Any]]:
    """Return what differs between two configurations: key → what stands in each."""
    a, b = to_flat(then), to_flat(now)
    if a[MODEL] != b[MODEL]:  # settings of two models cannot be compared
        a, b = (
            {key: value for key, value in flat.items() if key == MODEL or not key.startswith("model.")}
            for flat in (a, b)
        )
    return {key: (a[key], b[key]) for key in a if a[key] != b[key]}


def to_toml(config: TrainConfig) -> str:
    """Write a configuration that `read_toml` reads; keys without a value (None) are left out."""
    lines, sections = [], []
    for key, value in asdict(config).items():
        if isinstance(value, dict):
            value = {"name": config.model.name, **value} if key == "model" else value
            pairs = [f"{name} = {_toml(inner)}" for name, inner in value.items() if inner is not None]
            sections.append("\n".join([f"[{key}]", *pairs]))
        elif value is not None:
            lines.append(f"{key} = {_toml(value)}")
    return "\n\n".join(["\n".join(lines), *sections]) + "\n"


def read_toml(path: Path) -> Flat:
    """Read a TOML file as flat keys."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"The configuration {path} cannot be read.") from error
    except (ValueError, RecursionError) as error:  # no TOML, no UTF-8, a number without end, or brackets in brackets
        raise UsageError(f"{path} is not TOML.") from error
    return dict(_flatten(data, ""))


def parse_value(text: str) -> Any:
    """Read a value as TOML does; what is no TOML value is a word."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text


def coerce(key: str, value: Any, kind: Any) -> Any:
    """Bring a value into the type of its key, or say that it cannot be."""
    options = get_args(kind)
    if get_origin(kind) is tuple:
        items = value if isinstance(value, list | tuple) else [value]
        return tuple(coerce(f"each of {key}", item, options[0]) for item in items)
    if type(None) in options:
        if value is None or value == "none":
            return None
        return coerce(key, value, next(option for option in options if option is not type(None)))
    wanted = str if options else kind  # a Literal: its owner checks the word
    match wanted:
        case _ if wanted is float and isinstance(value, int | float) and not isinstance(value, bool):
            if -MOST <= value <= MOST:  # not so of NaN and infinity
                return float(value)
        case _ if wanted is str and isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        case _ if type(value) is wanted:
            return value
    example = {bool: "true", int: "3", float: "0.5", str: "a-word"}[wanted]
    raise UsageError(f"{key} is {in_words(kind)}, found {value!r}.", remedy=f"--set {key}={example}, for example")


def in_words(kind: Any) -> str:
    """Return what values a type takes; of a list, what each of its items is."""
    options = get_args(kind)
    if get_origin(kind) is tuple or type(None) in options:
        return in_words(next(option for option in options if option is not type(None)))
    return {bool: "true or false", int: "a whole number", float: "a number", str: "a word"}[str if options else kind]


def _hints(kind: Any, model: str) -> dict[str, Any]:
    """Return the types of a section's fields; the section [model] is of the model's own type."""
    hints = hints_of(kind)
    return hints | {"model": config_class(model)} if kind is TrainConfig else hints


def _walk(kind: Any, prefix: str, model: str) -> Iterable[tuple[str, Any]]:
    hints = _hints(kind, model)
    for item in fields(kind):
        if is_dataclass(hints[item.name]):
            yield from _walk(hints[item.name], f"{prefix}{item.name}.", model)
        else:
            yield prefix + item.name, hints[item.name]


def _build(kind: Any, prefix: str, values: Mapping[str, Any], model: str) -> Any:
    hints = _hints(kind, model)
    found = {}
    for item in fields(kind):
        key = prefix + item.name
        if is_dataclass(hints[item.name]):
            found[item.name] = _build(hints[item.name], f"{key}.", values, model)
        elif key in values:
            found[item.name] = values[key]
        else:
            assert item.default is not MISSING or item.default_factory is not MISSING, key
    return kind(**found)


def _flatten(data: Mapping[str, Any], prefix: str) -> Iterable[tuple[str, Any]]:
    for key, value in data.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, str):  # TOML's strings are JSON's, but for one control character that JSON leaves as it is
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)
