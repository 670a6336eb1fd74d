# make demo   set up, simulate a dataset, decode it, say where the report is
# make test   set up, run all tests
# Both need Python 3.11, git and make only; everything goes into .venv and build/.
# make docs   write the generated pages, build the site in build/site
# make image        build the container image hyper:latest (docs/hpc.md)
# make test-image   the image against .venv: strict docker and apptainer runs, bytes and times

PYTHON ?= python3
VENV   ?= .venv
DEMO   ?= build/demo
BIN     = $(VENV)/bin
CPUS   ?=
TEST_PROCESSES ?= 2

.PHONY: demo test lint docs image test-image clean

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info[:2] == (3, 11) else "Python 3.11 is needed (make PYTHON=/path/to/python3.11), found " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

demo: $(VENV)/.installed
	@BIN=$(BIN) DEMO=$(DEMO) CPUS=$(CPUS) bash docs/demo.sh

test: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/python docs/generate.py --check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(TEST_PROCESSES) --dist loadfile --durations=15

lint: $(VENV)/.installed
	$(BIN)/ruff check .

# The pages that are made from the code, then the site in build/site; a warning is an error.
docs: $(VENV)/.installed
	$(BIN)/python docs/generate.py
	OMP_NUM_THREADS=1 $(BIN)/python docs/glossary.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "open build/site/index.html"

image:
	bash tests/container/build.sh

test-image: $(VENV)/.installed
	BIN=$(BIN) bash tests/container/test_image.sh

clean:
	rm -rf build .venv
