# make install   set up .venv
# make demo      the main job on real functions, with the built-in backbone (under 10 minutes)
# make test      the quick tests (under 10 minutes)
# make test-all  what takes longer; make lint, make wheel, make vsix, make clean
# make smoke     the benchmark suite of minutes, and its page: build/smoke.html
# make test-editors  the extension in a real VS Code (code-server in Chromium; 800 MB the first time)

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null \
	&& echo $$p && break; done)
TORCH ?= torch==2.13.0
# Where torch comes from, if not from the usual index (README, "Install").
TORCH_INDEX ?=
VENV ?= .venv
PIP = $(VENV)/bin/python -m pip --disable-pip-version-check -q
CONSTRAINTS = requirements/constraints.txt
OUT ?= demo-out

.PHONY: install demo smoke test test-all test-editors lint wheel vsix clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml $(CONSTRAINTS)
	@test -n "$(PYTHON)" || { echo "codeprompt needs Python 3.11, 3.12 or 3.13; none was found." \
		"Install one, or name it: make install PYTHON=/path/to/python3.12"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) install "$(TORCH)" $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	$(PIP) install -c $(CONSTRAINTS) -e ".[dev]"
	@touch $@

demo: install
	$(VENV)/bin/codeprompt demo --out $(OUT)

test: install
	$(VENV)/bin/python -m pytest -m "not slow"

test-all: $(VENV)/.ray
	$(VENV)/bin/python -m pytest -m slow

$(VENV)/.ray: $(VENV)/.installed
	$(PIP) install -c $(CONSTRAINTS) -e ".[ray]"
	@touch $@

smoke: install
	$(VENV)/bin/codeprompt bench smoke --jobs 2 --out build/smoke
	$(VENV)/bin/codeprompt report build/smoke --out build/smoke.html
	@! grep -l '"status": *"failed"' build/smoke/results/*.json

PICTURES ?= docs/screenshots
test-editors: install
	tests/editors/run-vscode.sh --pictures $(PICTURES)

lint: install
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

wheel: install
	$(VENV)/bin/python -m build --wheel

# The VS Code extension with the server in it, which it installs where there is none.
vsix: install
	rm -rf build/vsix editors/vscode/server
	$(VENV)/bin/python -m build --wheel --outdir build/vsix
	mkdir editors/vscode/server
	cp build/vsix/*.whl editors/vscode/server/
	cd editors/vscode && npm ci && npm run build && npm run package
	rm -rf editors/vscode/server

clean:
	rm -rf $(VENV) build dist *.egg-info $(OUT)
