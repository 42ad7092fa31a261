# make demo      the whole link in the virtual lab, report in demo-out/report.html
# make test      quick suite (15 to 25 minutes on two cores)
# make test-all  adds long statistics, formal proofs, bitstreams
# make soak      model against native gateware, 1e9 heralds a protocol (resumable: Ctrl-C, again)
# make lint      ruff, mypy, import linter
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 2
SOAK ?=

.PHONY: demo test test-all soak lint tools clean benchmark figures
.DELETE_ON_ERROR:

# One sentence for each missing tool; the C++ compiler and perl are Verilator's.
tools:
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 is missing: install it (Debian: apt install python3.11 python3.11-venv) or say PYTHON=/path/to/python3.11."; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than Python 3.11: say PYTHON=/path/to/python3.11."; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "Python's venv module is missing: install it (Debian: apt install python3.11-venv)."; exit 2; }
	@command -v g++ >/dev/null || { echo "The compiler g++ is missing: install it (Debian: apt install g++)."; exit 2; }
	@command -v perl >/dev/null || { echo "perl is missing: install it (Debian: apt install perl)."; exit 2; }

$(VENV)/installed: pyproject.toml | tools
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

demo: $(VENV)/installed
	$(BIN)/twinphase demo --out demo-out

test: $(VENV)/installed
	$(BIN)/pytest -q -n $(JOBS) --dist worksteal -m "not long" tests

test-all: $(VENV)/installed
	$(BIN)/pytest -q -n $(JOBS) --dist worksteal tests

soak: $(VENV)/installed
	$(BIN)/python benchmarks/soak.py --jobs $(JOBS) $(SOAK)

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

benchmark: $(VENV)/installed
	$(BIN)/python benchmarks/engines.py

# Takes the synthesis figures of every unit anew and writes them down for the regression test.
figures: $(VENV)/installed
	$(BIN)/python tests/build/figures.py

clean:
	rm -rf build demo-out $(VENV)
