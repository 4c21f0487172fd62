"""The help: one screen of daily options in panels, everything with --help-all, examples that parse, aliases, choices."""

from __future__ import annotations

import shlex
from typing import get_args, get_type_hints

import pytest
import typer
from typer.core import TyperOption

from est.cache.changes.merge import Duplicates
from est.cli import app
from est.commands.panels import GENERAL, PLAIN, Panel, has_panels, whole_help
from est.errors import UsageError
from est.extract.config import ExtractConfig
from est.train.config.config import PRESETS, LoopConfig, TrainConfig
from est.train.config.finetune import FinetuneConfig
from est.train.config.protocol import GENERAL as GENERAL_PROTOCOLS
from est.train.config.protocol import PROTOCOLS, ProtocolConfig
from est.train.evaluation import Unknown
from est.train.models.registry import MODELS
from est.train.runs.table import ORDERS
from est.tune import TuneConfig

ROOT = typer.main.get_command(app)
WIDTH, NARROW, SCREEN = 100, 80, 50

# What people type daily, by README and docs. The help of each names these and fits one screen.
SAME_PROTOCOL = "--protocol --folds --loso --holdout"
DAILY = {
    "extract": "--out --dataset --root --labels --subjects --limit --from --dry-run --retry-failed --detector --face --align --size "
    "--crops --modality --weights --features --flip --precision --engine --device --workers",
    "train": "--cache --out --resume --model --finetune --weights --preset --epochs --batch --lr --seeds --set --config --feature --flip "
    f"--views --balanced {SAME_PROTOCOL} --fold --select --precision --device",
    "tune": f"--out --cache --images --votes --weights --epochs --batch --lr --together {SAME_PROTOCOL} --fold --split --select --seed "
    "--precision --device --workers",
    "recache": f"--out --tune --cross-fit --views --weights --epochs --batch --lr --together {SAME_PROTOCOL} --fold --select --features "
    "--flip --precision --engine --device --workers --train",
    "sweep": f"--cache --out --model --preset --set --config --feature --space --trials --minutes --retrain-best --seeds {SAME_PROTOCOL} "
    "--fold --precision --device --workers",
    "predict": "--run --out --camera --save --face --part --window --stride --smooth --video --picture --weights --detector --precision "
    "--device --workers --overwrite",
}
ALIASES = {"--out": "--output", "--batch": "--batch-size", "--lr": "--learning-rate", "--workers": "--num-workers"}


def all_commands(node=ROOT, path=("est",)):
    """Yield each command that does something and its context, groups that do something alone included."""
    children = getattr(node, "commands", {})
    if not children or path == ("est", "demo"):
        yield pytest.param(" ".join(path[1:]), id=" ".join(path[1:]))
    for name, child in children.items():
        yield from all_commands(child, (*path, name))


COMMANDS = list(all_commands())


def command_of(name):
    """Return a command, and a context in which its help is as wide as the terminal of the tests here."""
    found = ROOT
    context = found.make_context("est", [], resilient_parsing=True, terminal_width=WIDTH - 2)
    for word in name.split():
        found = found.commands[word]
        context = found.make_context(word, [], parent=context, resilient_parsing=True)
    return found, context


def options_of(name):
    return [one for one in command_of(name)[0].params if isinstance(one, TyperOption)]


def option_of(name, option):
    (found,) = [one for one in options_of(name) if option in one.opts]
    return found


def names_in(text):
    """Return the words of a help that are names of its options."""
    lines = [line.strip() for line in text.partition("\nExamples:")[0].splitlines() if line.startswith("  -")]
    heads = [line.split("  ")[0].replace(",", " ").split() for line in lines]
    return {word for head in heads for word in head if word.startswith("-")}


@pytest.mark.parametrize(
    ("name", "width"), [*((name, WIDTH) for name in DAILY), *((name, NARROW) for name in ("train", "predict"))]
)
def test_the_daily_options_fit_one_screen(name, width, est, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    status, out, _ = est(name, "--help")
    assert status == 0
    lines = out.rstrip("\n").splitlines()
    assert len(lines) <= SCREEN
    assert max(map(len, lines)) < width
    assert set(DAILY[name].split()) <= names_in(out)
    count = sum(not one.hidden for one in options_of(name)) + 1  # and --help
    shown = sum(names_in(out) & set(one.opts) != set() for one in options_of(name))
    assert lines[-1] == f"est {name} --help-all shows {count - shown} more options."
    assert count > shown


@pytest.mark.parametrize("name", COMMANDS)
def test_the_whole_help_has_every_name(name):
    command, context = command_of(name)
    short = command.get_help(context)
    whole = whole_help(context)
    every = {one for option in options_of(name) if not option.hidden for one in (*option.opts, *option.secondary_opts)}
    assert names_in(whole) == every | {"-h", "--help"}
    assert "more options" not in whole
    assert names_in(short) <= names_in(whole)
    assert has_panels(command) == (names_in(short) != names_in(whole) - set(ALIASES.values()))


@pytest.mark.parametrize("name", COMMANDS)
def test_many_options_stand_in_panels(name):
    command, _ = command_of(name)
    parameters = [one for one in command.params if one.name != "help_all"]
    assert has_panels(command) == (len(parameters) > PLAIN)
    if has_panels(command):
        without = [one.name for one in parameters if not isinstance(one.rich_help_panel, Panel)]
        assert without == [one.name for one in parameters if getattr(one, "hidden", False)]
        assert {one.name for one in parameters if one.rich_help_panel == GENERAL} == {"json", "quiet", "debug"}


def test_no_summary_of_a_command_is_cut_on_a_narrow_terminal(est, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert "..." not in est("submit", "--help")[1].partition("\nCommands:")[2]
    _, out, _ = est("--help")
    assert "..." not in out.partition("\nCommands:")[2]
    assert max(map(len, ROOT.texts.values())) <= 65
    assert "New here: est demo, then docs/tutorial.md" in out


def test_help_all_prints_and_stops(est, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    status, out, err = est("train", "--cache", "c", "--help-all")
    assert (status, err) == (0, "")
    assert {"--focal", "--ssop", "--json", "--help-all", "--batch-size"} <= names_in(out)
    assert "the last stage of a ResNet-18" in " ".join(out.split())
    status, out, err = est("runs", "--help-all")  # which hides nothing
    assert (status, out) == (2, "")


def test_daily_options_stand_before_rare_ones():
    _, context = command_of("train")
    whole = whole_help(context)
    assert whole.index("--model NAME") < whole.index("--weights NAME") < whole.index("--snippets")
    assert whole.index("\nData:") < whole.index("\nModel:") < whole.index("\nOutput:") < whole.index("\nMessages")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_parse(name):
    command, context = command_of(name)
    lines = (command.epilog or "").splitlines()
    assert 2 <= len(lines) <= 3
    shown = command.get_help(context)
    for line in lines:
        assert f"\n  {line}\n" in f"{shown}\n"
        assert line.startswith(f"est {name}")
        found, words = command, shlex.split(line.removeprefix(f"est {name}"))
        if words and words[0] in getattr(found, "commands", {}):
            found = found.commands[words.pop(0)]
        assert found.make_context(line, words).params  # refuses what the command does not take


@pytest.mark.parametrize("name", COMMANDS)
def test_the_names_of_other_tools_are_names_here(name):
    for option, alias in ALIASES.items():
        for one in options_of(name):
            assert (option in one.opts) == (alias in one.opts), f"est {name} {option}"


def test_an_alias_sets_what_its_option_sets():
    command, _ = command_of("train")
    words = "--cache c --output r --batch-size 4 --learning-rate 0.5 --features map"
    given = command.make_context("train", words.split()).params
    assert (str(given["out"]), given["batch"], given["lr"], given["feature"]) == ("r", 4, 0.5, "map")
    command, _ = command_of("extract")
    assert command.make_context("extract", ["v", "--num-workers", "3"]).params["workers"] == 3


@pytest.mark.parametrize("name", COMMANDS)
def test_two_values_by_two_names_of_an_option_are_refused(name):
    command, _ = command_of(name)
    for option in options_of(name):
        if len(option.opts) > 1 and not option.is_flag and not option.multiple:
            for other in option.opts[1:]:
                with pytest.raises(UsageError, match=f"{option.opts[0]} and {other} are the same option"):
                    command.make_context(name, [option.opts[0], "1", other, "2"])


def test_one_value_by_two_names_of_an_option_is_taken(est):
    command, _ = command_of("train")
    assert (
        command.make_context("train", ["--batch", "4", "--batch-size", "4", "--lr", "1", "--lr", "2"]).params["lr"] == 2
    )
    status, _, err = est("train", "-c", "c.zarr", "--batch", "4", "--batch-size=8")
    assert (status, "try: --batch 4, or --batch 8" in err) == (2, True)


def words_of(config, name):
    return set(get_args(get_type_hints(config)[name]))


CHOICES = {  # of the options, and of those whose they are
    **{f"extract --{name.replace('_', '-')}": words_of(ExtractConfig, name) for name in ("face", "align", "dtype")},
    **{f"extract --{name.replace('_', '-')}": words_of(ExtractConfig, name) for name in ("incomplete", "no_face")},
    **{f"extract --{name.replace('_', '-')}": words_of(ExtractConfig, name) for name in ("decoder", "modality")},
    "recache --dtype": words_of(ExtractConfig, "dtype"),
    **{f"tune --{name.replace('_', '-')}": words_of(TuneConfig, name) for name in ("apex", "batch_norm", "select")},
    "tune --by": words_of(TuneConfig, "by"),
    **{f"train --{name}": words_of(LoopConfig, name) for name in ("precision", "stack")},
    "sweep --stack": words_of(LoopConfig, "stack"),
    "train --select": words_of(TrainConfig, "select"),
    "train --by": words_of(ProtocolConfig, "by"),
    "train --finetune": words_of(FinetuneConfig, "learns"),
    "train --model": set(MODELS),
    "train --preset": {*PRESETS, "paper"},
    "train --protocol": {*GENERAL_PROTOCOLS, *PROTOCOLS},
    "train --position": {"slot", "snippet"},
    "train --aggregation": {"hierarchical", "mean", "self-attention", "se", "lstm"},
    "cache merge --duplicates": set(get_args(Duplicates)),
    "cache convert --dtype": words_of(ExtractConfig, "dtype"),
    "evaluate --unknown": set(get_args(Unknown)),
    "runs --sort": set(ORDERS),
}


@pytest.mark.parametrize("which", CHOICES)
def test_choices_are_those_of_the_settings(which):
    name, _, option = which.rpartition(" ")
    _, context = command_of(name)
    offered = option_of(name, option).shell_complete(context, "")
    assert {one.value for one in offered} == CHOICES[which]


@pytest.mark.parametrize("which", ["sweep --model", "recache --precision"])
def test_open_words_are_completed_too(which):
    name, option = which.split()
    _, context = command_of(name)
    assert [one.value for one in option_of(name, option).shell_complete(context, "f")]


def test_three_ways_to_train_the_encoder_name_each_other():
    texts = {name: " ".join(whole_help(command_of(name)[1]).split()) for name in ("tune", "recache", "train")}
    assert "est recache --tune" in texts["tune"]
    assert "est train --finetune" in texts["tune"]
    assert "est tune" in texts["recache"]
    assert "est train --finetune" in texts["recache"]
    assert "est tune" in texts["train"]
    assert "est recache --tune" in texts["train"]


def test_a_wrong_word_names_the_nearest_where_commands_checked_it_before(est):
    for line in ("cache merge a b --out c --duplicates frst", "cache convert a b --dtype float46"):
        status, _, err = est(*line.split())
        assert status == 2
        assert "try: --" in err
