# psdbatch: everything a user or developer runs by hand.  Needs Python 3.11, git and make, nothing else.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
KIND ?= cpu
# Most tests wait for processes to start: three at a time fill two cores.
PYTEST_ARGS ?= -n 3 --dist loadfile --no-loadscope-reorder

.PHONY: help demo test lint docs bench image clean

help:  ## show the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 10

# Installed again only when the requirements change; a half-made environment has no stamp and is made again.
$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[cpu,test,docs]'
	touch $@

demo: $(VENV)/.installed  ## train a network, simulate runs, run a campaign, audit and plot it
	$(BIN)/python jobs/demo/demo.py --directory demo

test: $(VENV)/.installed lint docs  ## lint, types, documentation and all tests
	$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.installed  ## the documentation as a site in docs/_build; warnings are errors
	$(BIN)/python -m sphinx -q -W --keep-going docs docs/_build

bench: $(VENV)/.installed  ## the benchmarks, as tables
	$(BIN)/python -m pip install --quiet --editable '.[benchmark]'
	$(BIN)/python -m benchmarks

image: $(VENV)/.installed  ## the image of workers: KIND=cpu, v100 or k80
	$(BIN)/python singularity/build.py --kind $(KIND) $(IMAGE_ARGS)

clean:  ## remove what the targets above made
	rm -rf $(VENV) demo build dist
