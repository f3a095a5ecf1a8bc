# make demo                  the whole pipeline on the embedded demo, from simulated scans to a release
# make demo WEIGHTS=path     the same with pre-trained weights of yours: path/NAME.safetensors, NAME as timm has it
# make demo WEIGHTS=folder   the same from the release of another project of yours: folder/manifest.json
# make prefect               a Prefect server, work pool and worker on this machine, with every flow deployed
# make box                   Orthanc and the box on this machine, which answers what is sent to Orthanc (after make demo)
# make test                  lint, types, import rules and every test but the long ones
# make test-long             tests that take longer than they show, each with a short form among the others
# make lint                  the first three of them
#
# Needs Python 3.11 or newer with its venv module, git and make; everything else goes to .venv.

PYTHON ?= python3
READY := .venv/installed

# The commands of dvc.yaml say `python`, and mean this one.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export VIRTUAL_ENV := $(CURDIR)/.venv

# Assignments beyond the name, with WEIGHTS: what the network was made with (see backbone in params.yaml).
BACKBONE ?= 'backbone.options={}' backbone.mean=null backbone.std=null

.PHONY: demo prefect box test test-long lint

demo: $(READY)
ifdef WEIGHTS
	@test -f "$(WEIGHTS)" || test -f "$(WEIGHTS)/manifest.json" || \
	  { echo "WEIGHTS: expected a .safetensors or .pth file, or a release; found none at $(WEIGHTS)" >&2; exit 1; }
	if test -d "$(WEIGHTS)"; then \
	  python -m pipeline.params backbone.weights=file "backbone.file=$$(realpath -- "$(WEIGHTS)")" backbone.name=null \
	    $(BACKBONE); \
	else \
	  cp -- "$(WEIGHTS)" models/weights/ && \
	  python -m pipeline.params backbone.weights=file "backbone.file=models/weights/$(notdir $(WEIGHTS))" \
	    "backbone.name=$(basename $(notdir $(WEIGHTS)))" $(BACKBONE); \
	fi
endif
	dvc repro
	@python -m pipeline.summary

prefect: $(READY)
	python -m flows.local

box: $(READY)
	python -m deploy.box.local --scans data/demo/dicom

# Whole files to each worker (tests/conftest.py); one worker more than cores, as the flows mostly wait.
test: lint
	pytest -m "not long" -n $$(($$(nproc) + 1)) --maxprocesses=4 --dist=loadscope --no-loadscope-reorder

test-long: $(READY)
	pytest -m long

lint: $(READY)
	ruff check
	ruff format --check
	mypy
	lint-imports

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "expected Python 3.11 or newer; found " + sys.version.split()[0] + ". Name one: make PYTHON=python3.11 ...")'
	@$(PYTHON) -c 'import ensurepip' || { echo "expected Python with its venv module; found none. apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --disable-pip-version-check \
	  -c constraints.txt -e '.[train,flows,box,tensorrt-rtx,dev]'
	@touch $@
