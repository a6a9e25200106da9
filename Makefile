# Works in a clean clone with nothing but Python 3.11: every target makes .venv first.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN = .venv/bin
INSTALLED = .venv/.installed

.PHONY: demo test check bench format clean

demo: $(INSTALLED)  ## the whole story on built-in data, about a minute
	$(BIN)/limbeck demo table

test: $(INSTALLED)  ## everything that must hold, in a few minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow and not alone" --numprocesses auto --dist loadfile
	$(BIN)/python -m pytest -m alone

check: $(INSTALLED)  ## style, types, import directions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: $(INSTALLED)  ## the figures of the README and the docs, on the real data in LIMBECK_DATA: hours
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train,report,weights,numba,openvino,bench]'
	$(BIN)/python benchmarks/tables.py
	$(BIN)/python benchmarks/few_anomalies.py
	$(BIN)/python benchmarks/label_noise.py
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/committee.py
	$(BIN)/python benchmarks/committee_speed.py
	$(BIN)/python benchmarks/told.py
	$(BIN)/python benchmarks/against_suod.py
	$(BIN)/python benchmarks/pictures.py
	$(BIN)/python benchmarks/picture_speed.py
	$(BIN)/python benchmarks/novelty.py
	$(BIN)/python benchmarks/attention.py
	$(BIN)/python benchmarks/picture_students.py
	$(BIN)/python benchmarks/compact.py
	$(BIN)/python benchmarks/compact_speed.py

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv limbeck-demo

# torch first and pinned: a plain `torch` would pull gigabytes of CUDA where a CPU build is meant.
$(INSTALLED): pyproject.toml constraints.txt
	test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train,report,weights,dev]'
	touch $(INSTALLED)
