# Everything a developer types. `make test` and `make demo` need nothing but Python >= 3.11 on the machine.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
UV     := $(BIN)/uv
STAMP  := $(VENV)/.installed
SOURCE := __init__.py __main__.py cli.py errors.py packages.py cache cluster commands crops demo doctor encoders extract hub infer inputs recipes report sweep train tune
AXE    := 4.14.1

# Compiled modules are kept, whatever the surroundings say: tests start hundreds of processes, and torch takes twice as long uncompiled.
unexport PYTHONDONTWRITEBYTECODE
FILES  := $(SOURCE) benchmarks tests docs

GPU_PYTHON := 3.12

.PHONY: help venv demo test test-all browser lint types sbom docs docs-check bench bench-gpu gpu-wheels bench-check format constraints clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 22

venv: $(STAMP) ## build .venv from constraints.txt (automatic)

# opencv-python needs the system's libGL and X11 libraries; the headless build of the same version does not.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else "est needs Python 3.11 to 3.13, found %d.%d: make PYTHON=python3.12 ..." % v)'
	rm -rf $(VENV)
	@echo "making $(VENV) with the package manager uv"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@echo "opencv-python ; python_version < '0'" > $(VENV)/overrides.txt
	@echo "installing est and its dependencies into $(VENV): gigabytes the first time; this takes minutes"
	$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python --constraint constraints.txt \
	    --override $(VENV)/overrides.txt --editable '.[dev]' opencv-python-headless
	@touch $@

demo: $(STAMP) ## the complete pipeline on rendered faces: render, extract, train, score, into est-demo/
	$(BIN)/est demo

test: lint types docs-check ## lint, types, documentation checks and the fast tests
	$(BIN)/python -m pytest -n auto --dist loadfile -m 'not slow and not gpu and not browser'

test-all: lint types docs-check ## everything, the slow tests and those for a GPU or a browser too
	$(BIN)/python -m pytest -n auto --dist loadfile

# Pages are opened in the system's Chromium (Debian's) by playwright, and checked by axe-core, which npm writes into .browser/.
browser: $(STAMP) ## install what the tests of pages need: playwright, axe-core (npm), chromium (apt, as root)
	$(UV) pip install --quiet --python $(BIN)/python --constraint constraints.txt --override $(VENV)/overrides.txt --editable '.[browser]'
	@mkdir -p .browser
	cd .browser && npm pack --silent axe-core@$(AXE) && tar -xzf axe-core-$(AXE).tgz package/axe.min.js
	command -v chromium || apt-get install -y --no-install-recommends chromium fonts-dejavu-core
	@echo "next: $(BIN)/python -m pytest -m browser"

lint: $(STAMP) ## ruff (style and format) and codespell
	$(BIN)/ruff check $(FILES)
	$(BIN)/ruff format --check $(FILES)
	$(BIN)/codespell $(FILES) README.md CHANGELOG.md CONTRIBUTING.md

# A flat package root is invisible to type checkers: give them a folder in which it has its name.
types: $(STAMP) ## ty
	@mkdir -p .types && ln -sfn .. .types/est
	$(BIN)/ty check --error-on-warning --python $(BIN)/python --config 'environment.root=[".types"]' $(addprefix .types/est/,$(SOURCE))

docs: $(STAMP) ## build the site into docs/_build/html
	$(BIN)/python docs/make_cli_reference.py
	$(BIN)/python docs/make_modules.py
	$(BIN)/python docs/make_results.py
	$(BIN)/python docs/make_datasets.py
	$(BIN)/sphinx-build --fail-on-warning --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

docs-check: $(STAMP) ## the generated pages are current and the site builds without a warning
	$(BIN)/python docs/make_cli_reference.py --check
	$(BIN)/python docs/make_modules.py --check
	$(BIN)/python docs/make_results.py --check
	$(BIN)/python docs/make_datasets.py --check
	$(BIN)/sphinx-build --fail-on-warning --keep-going -q -b html docs docs/_build/html

bench: $(STAMP) ## run every benchmark and print its table
	@for file in benchmarks/*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

# Both take ARGS="…": --dry-device cpu tries everything on a processor, --out FOLDER says where the table goes.
bench-gpu: $(STAMP) ## every benchmark for a GPU and the tests marked gpu, within 8 minutes, into bench-gpu/
	$(BIN)/python benchmarks/gpu/run.py $(ARGS)

gpu-wheels: $(STAMP) ## collect wheels for a machine with a GPU and no package index, into .gpu-wheels/ (GPU_PYTHON=3.12)
	$(BIN)/python benchmarks/gpu/wheels.py --python $(GPU_PYTHON)

bench-check: $(STAMP) ## measure the ratios of docs/benchmarks.toml again; name what fell by more than a fifth
	$(BIN)/python benchmarks/check/run.py $(ARGS)

format: $(STAMP) ## format the code with ruff, wrap the documentation
	$(BIN)/ruff check --fix $(FILES)
	$(BIN)/ruff format $(FILES)
	$(BIN)/python docs/wrap.py

# ARGS="--advisories all.zip" names listed versions with known vulnerabilities: osv.dev offers the file, and nothing here asks a network.
sbom: $(STAMP) ## the bill of materials of constraints.txt (CycloneDX JSON), into sbom.json
	$(BIN)/python docs/make_sbom.py --out sbom.json $(ARGS)

constraints: $(STAMP) ## resolve constraints.txt again, for every supported Python
	echo opencv-python-headless | $(UV) pip compile --quiet --upgrade --universal --python-version 3.11 --all-extras \
	    --no-annotate --no-header --no-emit-index-url --no-emit-find-links pyproject.toml - -o constraints.txt

clean: ## remove what the other targets made
	rm -rf $(VENV) sbom.json .types .browser .gpu-wheels bench-gpu docs/_build build *.egg-info est-demo .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
