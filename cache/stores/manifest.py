"""The attributes of a cache: what it is, how it was made, and its last commit. Replacing them is the commit.

Rows are valid as far as the commit counts them. `edits` are changes of committed rows (a clip removed, a label corrected): they hold from
the commit that carries them, are written into the arrays after it, and leave with the next. So a commit is atomic whatever it changes.
"""

from __future__ import annotations

import datetime
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from ...errors import CacheDamaged, CacheError, CacheVersionError, RecipeMismatch, UsageError, differing, quoted
from ..checksum import of_text
from ..environment import environment_changes, with_datasets
from ..recipe import FeatureRecipe, Recipes, canonical_json
from ..schema import CHECKSUMS, FORMAT, VERSION, VERSIONS, ColumnSpec, Counts, FeatureSpec, Layout, Schema
from ..trained import TrainedOn, records_for

Edits = Mapping[str, Mapping[str, Mapping[int, Any]]]  # table → column → row → value

UPGRADE = "est cache convert CACHE NEW upgrades it to format 2"
REPAIR = "est cache verify names what is damaged; restore a copy, or extract it again"


@dataclass(frozen=True, kw_only=True)
class Commit:
    """One state of a cache."""

    id: str = field(default_factory=lambda: secrets.token_hex(8))
    sequence: int = 0
    edited: int = 0  # the last commit that changed committed rows
    time: str = field(default_factory=lambda: datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"))
    counts: Counts = Counts()

    def following(self, counts: Counts, *, edited: bool) -> Commit:
        """Return the next one."""
        sequence = self.sequence + 1
        return Commit(sequence=sequence, edited=sequence if edited else self.edited, counts=counts)


@dataclass(frozen=True, kw_only=True)
class Filling:
    """A feature array that is being added to clips committed earlier; readers do not see it yet."""

    recipe: FeatureRecipe
    clips: int = 0
    frames: int = 0


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """The last extraction into a cache: how many inputs it was to take, and how many of them are neither clips nor failures yet."""

    inputs: int
    left: int


@dataclass(frozen=True, kw_only=True)
class Staging:
    """What a staged cache continues: the rows that lie in the HDF5 file beside it."""

    commit: str = ""  # the file's, empty when there is no file yet
    sequence: int = 0
    base: Counts = Counts()
    whole: tuple[str, ...] = ()  # full names of arrays that lie here from their first row on


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """All attributes of a cache."""

    recipes: Recipes
    labels: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    crops: bool = False
    layout: Layout = Layout()
    environment: Mapping[str, Any] = field(default_factory=dict)
    commit: Commit = field(default_factory=Commit)
    edits: Edits = field(default_factory=dict)
    filling: Mapping[str, Filling] = field(default_factory=dict)
    staging: Staging | None = None
    folded: str = ""  # the commit of the staging that this HDF5 file has taken in
    black: Mapping[str, tuple[float, ...]] = field(default_factory=dict)  # flat feature → its row for a black crop
    trained_on: Mapping[str, TrainedOn] = field(default_factory=dict)  # by the fingerprints that recipes name
    extra: Mapping[str, ColumnSpec] = field(default_factory=dict)  # columns of the clip table by name
    extraction: Extraction | None = None  # the last one, where it has recorded itself
    version: int = VERSION

    def __post_init__(self) -> None:
        for kind, names in (("label", self.labels), ("target", self.targets)):
            if len(set(names)) != len(names) or not all(_is_name(name) for name in names):
                raise UsageError(f"Each {kind} has a name of its own, a Unicode text; found {list(names)!a}.")
        expect_extra(self.extra)
        object.__setattr__(self, "extra", dict(sorted(self.extra.items())))  # their order in checksums
        later = self.extra or any(recipe.is_later for recipe in self.recipes.features.values())
        if self.version == 1 and later:
            raise UsageError(
                "A cache of format 1 has no extra columns, windows, modalities, or rows of onnxruntime.", remedy=UPGRADE
            )

    @property
    def schema(self) -> Schema:
        """Return the arrays that readers see."""
        recipes = self.recipes.features.items()
        return Schema(
            features={name: _row(recipe) for name, recipe in recipes if not recipe.window},
            window_features={name: _row(recipe) for name, recipe in recipes if recipe.window},
            crops=self.crops,
            num_targets=len(self.targets),
            layout=self.layout,
            version=self.version,
            extra=self.extra,
        )

    @property
    def writing_schema(self) -> Schema:
        """Return all arrays, those being filled included."""
        schema = self.schema
        return replace(
            schema, features={**schema.features, **{name: _row(f.recipe) for name, f in self.filling.items()}}
        )

    @property
    def lacking_records(self) -> dict[str, str]:
        """Return the features, those being filled included, whose record of what was learnt from is not here, and its fingerprint."""
        recipes = {**self.recipes.features, **{name: filling.recipe for name, filling in self.filling.items()}}
        named = {name: recipe.trained_on for name, recipe in recipes.items()}
        return {name: record for name, record in named.items() if record and record not in self.trained_on}

    @property
    def told(self) -> tuple[object, ...]:
        """Return what a writer may change of it without a row: a commit is due when it differs from the last one."""
        return self.labels, self.environment, self.extraction

    @property
    def left(self) -> int:
        """Count the inputs that the last extraction has left, as far as is known."""
        return 0 if self.extraction is None else self.extraction.left

    def following(
        self, commit: Commit, *, edits: Edits, done: Mapping[str, FeatureRecipe], filling: Mapping[str, Filling]
    ) -> Self:
        """Return that of the next commit: with features that are `done`, and those that are still being filled."""
        staging = self.staging
        if staging is not None and done:
            names = (name for feature in done for name in (f"frames/{feature}", f"clips/{CHECKSUMS}{feature}"))
            staging = replace(staging, whole=(*staging.whole, *names))
        recipes = replace(self.recipes, features={**self.recipes.features, **done})
        return replace(self, recipes=recipes, commit=commit, edits=edits, filling=filling, staging=staging)

    def with_datasets(self, names: Sequence[str]) -> Self:
        """Return it with more data sets on record, which clips may be from."""
        return replace(self, environment=with_datasets(self.environment, names))

    def with_filling(self, name: str, recipe: FeatureRecipe, records: Mapping[str, TrainedOn]) -> Self:
        """Return it with a feature array that is started; `records` are those that its recipe may name."""
        Recipes(frames=self.recipes.frames, features={name: recipe})  # refuses another parent and odd names
        if recipe.window or (self.version == 1 and recipe.is_later):
            raise UsageError(
                f"{name!r} cannot be added to clips that are in a cache: it has rows for windows, or format 1 has no place for it.",
                remedy="extract into another cache",
            )
        return replace(
            self,
            filling={**self.filling, name: Filling(recipe=recipe)},
            trained_on={**self.trained_on, **records_for([recipe], records)},
        )

    def describe_records(self) -> dict[str, str]:
        """Say of each feature whose weights have seen labels which ones."""
        recipes = self.recipes.features.items()
        return {n: self.trained_on[r.trained_on].describe() for n, r in recipes if r.trained_on in self.trained_on}

    def attributes(self) -> dict[str, Any]:
        """Return the attributes as they are stored, checksum included."""
        data: dict[str, Any] = {
            "format": FORMAT,
            "version": self.version,
            "recipes": self.recipes.identity(),
            "fingerprints": self.recipes.fingerprints(),
            "labels": list(self.labels),
            "targets": list(self.targets),
            "crops": self.crops,
            "layout": asdict(self.layout),
            "environment": dict(self.environment),
            "commit": _commit_data(self.commit, self.version),
        }
        if self.edits:
            data["edits"] = {
                t: {c: {str(row): v for row, v in rows.items()} for c, rows in cs.items()}
                for t, cs in self.edits.items()
            }
        if self.filling:
            data["filling"] = {
                name: asdict(filling) | {"recipe": filling.recipe.identity()} for name, filling in self.filling.items()
            }
        if self.staging:
            data["staging"] = asdict(self.staging) | {"base": _counts_data(self.staging.base, self.version)}
        if self.folded:
            data["folded"] = self.folded
        if self.extra:
            data["extra"] = {
                name: {"dtype": spec.dtype, "shape": list(spec.shape)} | ({"failures": True} if spec.failures else {})
                for name, spec in self.extra.items()
            }
        if self.extraction:
            data["extraction"] = asdict(self.extraction)
        if self.black:
            data["black"] = {name: list(row) for name, row in self.black.items()}
        if self.trained_on:
            data["trained_on"] = {name: record.to_json() for name, record in self.trained_on.items()}
        data = json.loads(canonical_json(data))  # tuples become lists, as a reader finds them
        return data | {"checksum": of_text(canonical_json(data))}

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any], where: str) -> Self:
        """Read and check what `attributes` wrote."""
        expect_version(attributes, where)
        data = dict(attributes)
        checksum = data.pop("checksum", None)
        try:
            found = of_text(canonical_json(data))
        except ValueError:  # NaN or half a character, which are never written
            found = ""
        if checksum != found:
            raise CacheDamaged(
                f"The attributes of {where} do not match their checksum: their checksum differs.", remedy=REPAIR
            )
        try:
            recipes = Recipes.from_identity(data["recipes"])
            manifest = cls(
                recipes=recipes,
                labels=tuple(data["labels"]),
                targets=tuple(data["targets"]),
                crops=data["crops"],
                layout=Layout(**data["layout"]),
                environment=data["environment"],
                commit=_commit(data["commit"]),
                edits={
                    t: {c: {int(row): v for row, v in rows.items()} for c, rows in cs.items()}
                    for t, cs in data.get("edits", {}).items()
                },
                filling={
                    name: Filling(
                        recipe=FeatureRecipe.from_identity(filling["recipe"]),
                        clips=filling["clips"],
                        frames=filling["frames"],
                    )
                    for name, filling in data.get("filling", {}).items()
                },
                staging=_staging(data.get("staging")),
                folded=data.get("folded", ""),
                black={name: tuple(row) for name, row in data.get("black", {}).items()},
                trained_on={n: TrainedOn.from_json(record) for n, record in data.get("trained_on", {}).items()},
                extra={
                    name: ColumnSpec(
                        dtype=spec["dtype"], shape=tuple(spec["shape"]), failures=spec.get("failures", False)
                    )
                    for name, spec in data.get("extra", {}).items()
                },
                extraction=Extraction(**data["extraction"]) if "extraction" in data else None,
                version=data["version"],
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise CacheDamaged(f"The attributes of {where} have missing or misspelt keys.", remedy=REPAIR) from error
        if recipes.fingerprints() != data["fingerprints"]:
            raise CacheDamaged(f"The fingerprints of {where} are not those of its recipes.", remedy=REPAIR)
        if any(record.fingerprint != name for name, record in manifest.trained_on.items()):
            raise CacheDamaged(
                f"The record of what the weights of {where} have learnt from does not match its checksum.",
                remedy=REPAIR,
            )
        return manifest


def expect_version(attributes: Mapping[str, Any], where: str) -> None:
    """Refuse what is not a cache, or one of another version."""
    version = attributes.get("version")
    if attributes.get("format") != FORMAT or type(version) is not int:  # true would be 1
        raise UsageError(
            f"{where} is not a cache of est: it has no attribute format = {FORMAT!r}.",
            remedy="est extract … --out makes one",
        )
    if version > VERSION:
        raise CacheVersionError(
            f"{where} has format version {version}; this est reads up to {VERSION}.",
            remedy=f"install a release of est that reads version {version}: docs/cache-format.md lists them",
        )
    if version not in VERSIONS:
        raise CacheVersionError(f"{where} has format version {version}, which does not exist.", remedy=REPAIR)


def expect_extra(columns: Mapping[str, ColumnSpec]) -> None:
    """Refuse names that no column can have."""
    for name in columns:
        if not name.isidentifier() or not name.isascii():
            raise UsageError(
                f"An extra column is named by letters, digits and _, found {name!a}.", remedy="extra:site, extra:age"
            )


def expect_settings(
    manifest: Manifest, targets: Sequence[str], crops: bool, columns: Mapping[str, ColumnSpec], path: Path
) -> None:
    """Refuse to resume with a cache that keeps other things."""
    if manifest.crops != crops:
        have, want = ("stored", "none") if manifest.crops else ("none", "stored")
        remedy = f"{'--crops' if manifest.crops else 'without --crops'}, or another --out"
        raise RecipeMismatch(differing(path, {"crops": (have, want)}), remedy=remedy)
    if tuple(targets) != manifest.targets:
        raise RecipeMismatch(
            differing(path, {"targets": (manifest.targets, targets)}),
            remedy="use the same, or another --out",
        )
    for name, spec in columns.items():
        if manifest.extra.get(name) != spec:
            raise RecipeMismatch(
                differing(path, {"extra columns": (tuple(manifest.extra), f"{name} ({spec.dtype})")}),
                remedy=f"est cache {'relabel' if manifest.version > 1 else 'convert'} {quoted(path)} …",
            )


def expect_environment(manifest: Manifest, environment: Mapping[str, Any], path: Path, *, strict: bool) -> list[str]:
    """Return what differs from the environment that a cache was started in; `strict` refuses it."""
    changes = environment_changes(manifest.environment, environment)
    if changes and strict:
        raise CacheError(
            f"{path} was started in another environment: {'; '.join(changes)}.",
            remedy="leave out --strict to resume with a warning",
        )
    return changes


def _is_name(name: object) -> bool:
    try:
        return isinstance(name, str) and "\0" not in name and bool(name.encode())
    except UnicodeEncodeError:
        return False


def _commit(data: Mapping[str, Any]) -> Commit:
    return Commit(
        id=data["id"],
        sequence=data["sequence"],
        edited=data["edited"],
        time=data["time"],
        counts=Counts(**data["counts"]),
    )


def _counts_data(counts: Counts, version: int) -> dict[str, int]:
    """Return counts as they are stored; format 1 has no windows."""
    return {name: value for name, value in asdict(counts).items() if version > 1 or name != "windows"}


def _commit_data(commit: Commit, version: int) -> dict[str, Any]:
    return asdict(commit) | {"counts": _counts_data(commit.counts, version)}


def _staging(data: Mapping[str, Any] | None) -> Staging | None:
    if data is None:
        return None
    return Staging(
        commit=data["commit"], sequence=data["sequence"], base=Counts(**data["base"]), whole=tuple(data["whole"])
    )


def _row(recipe: FeatureRecipe) -> FeatureSpec:
    return FeatureSpec(dtype=recipe.dtype, shape=recipe.shape)
