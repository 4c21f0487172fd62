"""The rooms of the house, and what each may import from."""

from __future__ import annotations

# folders at the root that are packages
PACKAGES = (
    "cache",
    "cluster",
    "commands",
    "crops",
    "demo",
    "doctor",
    "encoders",
    "extract",
    "hub",
    "infer",
    "inputs",
    "recipes",
    "report",
    "sweep",
    "train",
    "tune",
)

# room → the rooms that its modules may import from. A room is a folder without its subfolders. `errors`, `packages` and the version are
# everybody's.
CACHE = {"cache", "cache.changes", "cache.reading", "cache.remote", "cache.stores", "cache.writing"}
FOUNDATIONS = CACHE | {
    "inputs",
    "inputs.features",
    "inputs.published",
    "inputs.published.micro",
    "crops",
    "encoders",
    "encoders.engines",
    "encoders.kinds",
    "hub",
}
EXTRACT = {
    "extract",
    "extract.video",
    "extract.faces",
    "extract.faces.detect",
    "extract.flow",
    "extract.planning",
    "extract.workers",
}
ROOMS_OF_TRAIN = (
    "config",
    "models",
    "models.clip_temporal",
    "models.est",
    "models.former_dfer",
    "models.former_temporal",
    "models.fan",
    "models.gru",
    "models.lstm",
    "models.msstnet",
    "models.pooled",
    "models.r3d18",
    "models.slstt",
    "models.stt",
    "models.transformer",
    "models.window_head",
    "folds",
    "data",
    "losses",
    "runs",
    "results",
    "results.pages",
    "loop",
    "loop.stacks",
    "loop.starts",
)
TRAIN = {"train", *(f"train.{name}" for name in ROOMS_OF_TRAIN)}
REPRODUCE = {"sweep.reproduce", "sweep.reproduce.measures", "sweep.reproduce.tables"}
SWEEP = {"sweep.audit", "sweep.found", "sweep.search", "sweep.space"} | REPRODUCE
MAY_IMPORT = {
    "cache": {"cache.remote", "cache.stores"},  # the identity of a clip's source is read as stores read
    "cache.remote": {"cache", "cache.stores"},  # of stores: durable files
    "cache.stores": {"cache", "cache.remote"},  # of remote: what is a URL, and the mirror of one
    "cache.reading": {"cache", "cache.remote", "cache.stores"},
    "cache.writing": {"cache", "cache.reading", "cache.stores"},
    "cache.changes": CACHE,
    "inputs": {*CACHE, "inputs.published"},
    "inputs.published": {*CACHE, "inputs"},
    "inputs.features": {*CACHE, "inputs"},  # tables and lists on one side, the cache's writer on the other
    "inputs.published.micro": {"inputs", "inputs.published"},
    "inputs.stills": {*CACHE, "inputs"},
    "crops": set(),
    "encoders": {*CACHE, "encoders.kinds", "hub"},
    "encoders.engines": {"cache", "cache.stores", "encoders"},  # of cache: durable files, and what all recipes share
    "encoders.kinds": {"cache", "cache.stores", "encoders"},  # of cache: durable files, what weights have learnt from
    "hub": set(),  # names, and files by name
    "extract.video": {"inputs"},
    "extract.faces.detect": {"encoders"},
    "extract.faces": {*CACHE, "crops"},
    "extract.flow": {*CACHE, "crops"},
    "extract.workers": (FOUNDATIONS | EXTRACT) - {"inputs.published", "encoders.kinds"},  # of extract: config alone
    "extract.planning": FOUNDATIONS | EXTRACT,
    "extract": FOUNDATIONS | EXTRACT,
    "train.config": {"train.models"},  # the sections of models
    "train.losses": set(),  # functions of tensors
    "train.models": {"encoders", "train.losses"},
    "train.models.clip_temporal": {"train.models", "train.models.former_temporal"},  # blocks
    "train.models.est": {"encoders", "train.models"},
    "train.models.fan": {"train.models"},
    "train.models.former_dfer": {"encoders", "train.models", "train.models.former_temporal"},  # ResNet-18's last stage
    "train.models.former_temporal": {"train.models"},
    "train.models.gru": {"train.models"},
    "train.models.lstm": {"train.models", "train.models.gru"},
    "train.models.msstnet": {"encoders", "train.models", "train.models.former_temporal"},  # blocks; stages of a pyramid
    "train.models.pooled": {"train.models"},
    "train.models.r3d18": {
        "encoders",
        "encoders.kinds",
        "train.models",
    },  # where published weights lie, and how they are read
    "train.models.slstt": {"train.models", "train.models.lstm"},  # its layer
    "train.models.stt": {"train.models", "train.models.former_temporal"},  # starting values
    "train.models.transformer": {"train.models", "train.models.est"},  # blocks and starting values
    "train.models.window_head": {"train.models"},
    "train.folds": {
        *CACHE,
        "inputs",
        "inputs.published",
        "inputs.stills",
        "train.config",
    },  # of stills: how tables are read
    "train.data": {  # of extract: the command that adds a feature
        *(*CACHE, "crops", "encoders", "extract", "extract.workers", "train.config", "train.folds", "train.models")
    },
    "train.runs": {*CACHE, "encoders", "train.config", "train.folds"},
    "train.results": {*CACHE, "encoders", "inputs", "train.config", "train.folds", "train.results.pages", "train.runs"},
    "train.results.pages": {"train.folds", "train.results", "train.runs"},
    "train.loop": {
        *CACHE,
        "encoders",
        "train.config",
        "train.data",
        "train.folds",
        "train.loop.stacks",
        "train.loop.starts",
        "train.losses",
        "train.models",
        "train.results",
        "train.runs",
    },
    "train.loop.starts": {
        *CACHE,
        "encoders",
        "encoders.kinds",
        "hub",
        "train.config",
        "train.folds",
        "train.loop",
        "train.models",
        "train.runs",
    },
    "train.loop.stacks": {
        *CACHE,
        "encoders",
        "train.config",
        "train.data",
        "train.loop",
        "train.losses",
        "train.models",
    },
    "train": {*CACHE, "encoders"} | TRAIN,
    "tune": {*CACHE, "encoders", "encoders.kinds", "extract", "inputs.stills"} | TRAIN,
    "sweep": SWEEP,
    "sweep.audit": CACHE | TRAIN,
    "sweep.space": {"train.config", "train.models"},
    "sweep.found": {"cache", "report", "train.results", "train.results.pages"},  # of report: pieces of pictures
    "sweep.reproduce.tables": {"inputs.published", "sweep.reproduce", "train.models"},
    "sweep.reproduce.measures": {*CACHE, "inputs.published", "report", "sweep.reproduce"} | TRAIN,
    "sweep.reproduce": {*CACHE, "encoders", "inputs.published", "report"}
    | REPRODUCE
    | TRAIN,  # of report: pieces of pictures
    "sweep.search": {*CACHE, "encoders", "sweep.found", "sweep.space"} | TRAIN,
    "infer": FOUNDATIONS | EXTRACT | TRAIN,
    "infer.prediction": {"infer.prediction.pictures"} | FOUNDATIONS | EXTRACT | TRAIN,
    "infer.prediction.pictures": {*CACHE, "infer.prediction"},
    "infer.export": FOUNDATIONS | TRAIN | {"infer"},
    "infer.probing": {*CACHE, "encoders", "infer"} | TRAIN,
    "hub.sharing": {*FOUNDATIONS, "infer", "infer.export", "inputs.stills"} | TRAIN,
    "report": {*CACHE},  # the pieces of pages, and files
    "report.cachepage": {
        *CACHE,
        "crops",
        "extract.workers",
        "report",
        "train.runs",
    },  # of workers: crops cut from sources once more
    "report.runpage": {
        *CACHE,
        "report",
        "crops",
        "report.cachepage",  # how states of frames are marked, and crops
        "train.config",
        "train.folds",
        "train.models",  # the names of what models show of their decisions
        "train.results",
        "train.results.pages",
        "train.runs",
    },
    "doctor": FOUNDATIONS | EXTRACT | {"train.models"},  # their published weights
    "demo": {*CACHE, "extract", "inputs"} | TRAIN,
    "recipes": {"demo"} | FOUNDATIONS | EXTRACT | TRAIN,  # of demo: the data of one recipe
    "cluster": {
        *(
            *FOUNDATIONS,
            *EXTRACT,
            "cluster.slurm",
            "sweep.found",
            "sweep.search",
            "sweep.space",
            "train.config",
            "train.loop",
        )
    },
    "cluster.rayengine": FOUNDATIONS | EXTRACT,
    "cluster.slurm": {*CACHE, "cluster"},
    "commands": {"cache", "cache.remote", "demo", "doctor", "extract", "hub.sharing", "train.config", "train.loop"},
    "commands.caches": {"commands", "hub.sharing", "report", "report.cachepage", "train.runs", *FOUNDATIONS},
    "commands.extracting": {"commands", "commands.results", "commands.training", "tune"}
    | FOUNDATIONS
    | EXTRACT
    | TRAIN,
    "commands.training": {"commands", "commands.caches", "recipes"} | SWEEP | FOUNDATIONS | EXTRACT | TRAIN,
    "commands.submitting": {
        "cluster",
        "cluster.rayengine",
        "cluster.slurm",
        "commands",
        "commands.extracting",
        "commands.training",
    }
    | FOUNDATIONS
    | EXTRACT,
    "commands.results": {
        "commands",
        "hub.sharing",
        "infer",
        "infer.export",
        "infer.prediction",
        "infer.probing",
        "report",
        "report.cachepage",
        "report.runpage",
    }
    | FOUNDATIONS
    | TRAIN,
    "": {"commands", "commands.caches"},  # cli.py and __main__.py
}
