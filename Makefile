PYTHON ?= python3
BIN := .venv/bin
SECONDS_OF_FUZZ ?= 120

.PHONY: demo test test-slow test-gpu lint format fuzz docs examples benchmarks clean

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

demo: .venv/ready  ## Which digits to label, where choosing pays, and training on coresets, where it does not. 5 seeds.
	rm -rf runs/demo runs/demo-labels
	$(BIN)/adacore label digits --seeds 5 --estimators logistic --out runs/demo-labels
	$(BIN)/adacore compare --config demo --out runs/demo

test: .venv/ready  ## The whole daily suite.
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m "not slow" --durations=10 -o faulthandler_timeout=120

test-slow: .venv/ready  ## What takes longer than a daily test should.
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m slow

test-gpu:  ## On a machine with a GPU, whatever Python holds torch there: the picks of the CPU, to the last index.
	PYTHONPATH=src $(PYTHON) -m pytest tests/gpu -p no:cacheprovider

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The site's tools alone: pages are made of the sources as they lie there, without importing them.
.venv-docs/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/pip install --quiet --disable-pip-version-check -c constraints.txt $$($(PYTHON) .ci/extra.py docs)
	touch $@

docs: .venv-docs/ready  ## The site, in site/; with its search: python3 -m http.server --directory site
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --quiet --clean

examples: .venv/ready  ## Run the examples, and keep what they print for the site.
	for each in examples/*.py; do \
	  OMP_NUM_THREADS=1 $(BIN)/python $$each > examples/output/$$(basename $$each .py).txt || exit 1; \
	done

fuzz: .venv/ready  ## Random small problems against the slow oracle, for two minutes.
	$(BIN)/python benchmarks/fuzz_facility_location.py --seconds $(SECONDS_OF_FUZZ)

benchmarks: .venv/ready  ## Facility location beside other libraries; writes docs/benchmarks.md.
	$(BIN)/python benchmarks/facility_location.py

clean:
	rm -rf .venv .venv-benchmarks .venv-docs site build dist .pytest_cache .mypy_cache .ruff_cache
