# make reproduce                      the synthetic shop at the laptop profile
# make reproduce DATASET=grocery PROFILE=smoke SEED=1
# make reproduce DATASET='folder:my shop'
# make reproduce SET='embedding.margin=0.3 clicks.noise_click_rate=0.1'   a run of its own
# make app                            search by photo, in a browser
# make serve ENGINE=my.engine         search by photo over HTTP
# make study                          more seeds and variants of notebook 03 than reproduce trains
# make study MINUTES=8 JOBS='mask*'   a slice of it; the same command goes on from there
# make test                           linters, types, unit tests, notebooks
# make test-slow                      tests that take long each: kills, wheels, clusters
export DATASET ?= synthetic
export PROFILE ?= laptop
export SEED ?= 0
export SET ?=
export MINUTES ?=
export JOBS ?=
export RUN ?= all
export N ?= 10000000
PYTHON ?= python3

# A Python that is asked for and is not that of .venv gets an environment of its own.
version = $(shell $(1) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
ifneq ($(origin PYTHON),file)
ASKED := $(call version,$(PYTHON))
HELD := $(call version,.venv/bin/python)
endif
VENV := .venv$(if $(filter-out $(ASKED),$(HELD)),-$(ASKED))
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Threads that wait sleep (vsa/runtime/threads.py), also in notebooks that load torch before vsa.
ifeq ($(OMP_WAIT_POLICY)$(GOMP_SPINCOUNT)$(KMP_BLOCKTIME)$(KMP_LIBRARY),)
export OMP_WAIT_POLICY := PASSIVE
endif
# In order of execution: the tour shows what the others have made.
NOTEBOOKS := $(sort $(wildcard notebooks/0[1-9]_*.ipynb)) notebooks/00_tour.ipynb
# Notebooks of tests write to a scratch folder.
SCRATCH = scratch=$$(mktemp -d) && trap 'rm -rf "$$scratch"' EXIT && \
	export VSA_ARTIFACTS_DIR="$$scratch/artifacts" VSA_REPORTS_DIR="$$scratch/reports"
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest
NBVAL := -p no:cacheprovider --nbval-lax --nbval-current-env $(NOTEBOOKS)

.PHONY: reproduce study test test-slow notebooks lab data app serve load report bench bench-index lock format
.DELETE_ON_ERROR:

reproduce: $(READY)
	@$(BIN)/vsa reproduce --dataset "$$DATASET" --profile "$$PROFILE" --seed "$$SEED" \
		--set "$$SET"

study: $(READY)  ## every variant of notebook 03 with every seed; hours, resumable
	@$(BIN)/vsa study --dataset "$$DATASET" --profile "$$PROFILE" --seed "$$SEED" --set "$$SET" \
		$(if $(MINUTES),--minutes "$$MINUTES") $(if $(JOBS),--jobs "$$JOBS")

test: $(READY)  ## types and notebooks are checked beside the tests, and have the last word
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	said=$$(mktemp); \
	{ ($(BIN)/mypy && $(SCRATCH) VSA_PROGRESS=off && $(PYTEST) $(NBVAL)) > "$$said" 2>&1 & }; \
	beside=$$!; trap 'pkill -P $$beside; rm "$$said"; exit 1' INT TERM; \
	$(PYTEST) --numprocesses auto --dist loadfile; tests=$$?; \
	wait $$beside; others=$$?; cat "$$said"; rm "$$said"; [ $$tests$$others = 00 ]

test-slow: $(READY)
	$(PYTEST) --numprocesses auto --dist loadfile -m slow

notebooks: $(READY)  ## execute the committed notebooks in place
	$(SCRATCH) && $(BIN)/vsa refresh $(NOTEBOOKS)

lab: $(READY)
	$(BIN)/jupyter lab notebooks

data: $(READY)  ## DATASET=grocery or clothing; vpr2023 is brought, and checked
	$(BIN)/vsa data "$$DATASET"

app: $(READY)  ## the search page of DATASET and PROFILE, on this machine only
	$(BIN)/voila notebooks/app/search.ipynb --Voila.ip=127.0.0.1

serve: $(READY)  ## ENGINE=my.engine, or that of a run, over HTTP, on this machine only
	@$(BIN)/vsa serve "$${ENGINE:-artifacts/$$DATASET-$$PROFILE/engine}"

load: $(READY)  ## what a service takes; LOAD='--items 100000 --minutes 1 --requests 5000', say
	$(BIN)/python benchmarks/load.py $(LOAD)

report: $(READY)  ## RUN=synthetic-laptop, say; all by default
	$(BIN)/vsa report "$$RUN"

bench: bench-index  ## speed of training too, as ratios within one run
	$(BIN)/python benchmarks/speed.py

bench-index: $(READY)  ## N=10000000: the index at that many items, for notebook 04 to show
	$(BIN)/python benchmarks/index.py --items "$$N" --dataset "$$DATASET" \
		--profile "$$PROFILE" --seed "$$SEED"

format: $(READY)
	$(BIN)/ruff format . && $(BIN)/ruff check --fix .

lock: $(READY)
	$(BIN)/uv pip compile --universal --generate-hashes --no-emit-index-url --no-annotate \
		--no-header --python-version 3.11 --all-extras --group dev -o requirements.lock \
		pyproject.toml

# The stamp is written last, so that an interrupted installation is taken up again.
$(READY): requirements.lock pyproject.toml
	@[ -x $(BIN)/pip ] || \
		$(PYTHON) -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' || { \
		echo 'vsa needs Python 3.11 or newer, with its venv module (on Debian: python3-venv).' \
		'Name one with: make PYTHON=python3.12' >&2; exit 1; }
	[ -x $(BIN)/pip ] || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --python $(BIN)/python --quiet --compile-bytecode \
		--require-hashes -r requirements.lock
	$(BIN)/uv pip install --python $(BIN)/python --quiet --no-deps --no-build-isolation -e .
	@touch $@
