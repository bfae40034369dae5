# The two commands of this book are `make book` and `make test`; `make help` lists the others.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
PORT ?= 8000
VENV := .venv
BIN := $(VENV)/bin
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install -qq --no-compile --constraint constraints.txt
PYTEST := $(BIN)/python -m pytest -n 2 --quiet
MEASURE := $(BIN)/python -m pytest -m benchmark --quiet tests/site -o junit_family=xunit1 --junit-xml=_build/report/measured.xml
TORCH := $(shell grep '^torch==' constraints.txt)
# Set up again when what the environment is made of changes, and only then.
READY := $(VENV)/.ready-$(shell cat pyproject.toml constraints.txt | cksum | cut -d ' ' -f 1)

.PHONY: help book test check lint serve pdf links lighthouse versions pretrain clean
help: ## List the targets
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F '|' '{ printf "%-15s %s\n", $$1, $$2 }'

book: $(READY) npm ## Run every changed chapter and build the website in _build/html
	@$(BIN)/tlib book

test: $(READY) npm chromium bubblewrap lint ## Everything: lint, unit tests, the book, the site in a real browser
	@$(PYTEST) -m "not site and not benchmark"
	@$(BIN)/tlib book
	@$(PYTEST) -m site --junit-xml=_build/report/site.xml
	@$(MEASURE)

check: $(READY) bubblewrap lint ## The part of the tests that takes under two minutes
	@$(PYTEST) -m "not slow and not network and not site and not benchmark"

lint: $(READY) ## Style, spelling, notebooks without outputs
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet . || { echo "Not formatted as the others are: run '$(BIN)/ruff format .'" >&2; exit 1; }
	@find notebooks -name '*.ipynb' -not -path '*/.ipynb_checkpoints/*' -exec $(BIN)/nbstripout --keep-id --verify {} + \
		|| { echo "Outputs are not committed: run '$(BIN)/nbstripout --keep-id notebooks/*.ipynb'" >&2; exit 1; }
	@$(BIN)/codespell

serve: book ## Show the website on this machine, at http://127.0.0.1:8000 (PORT=... for another port)
	@$(BIN)/python -m http.server --bind 127.0.0.1 --directory _build/html $(PORT)

pdf: book chromium ## Print the book, about 250 pages: _build/transfer-learning-recreated.pdf
	@$(BIN)/tlib pdf

links: book ## Ask every outside page that the book links to whether it is still there (once a week is enough)
	@$(BIN)/jupyter-book build --builder linkcheck --path-output _build/links _build/stage

lighthouse: book chromium ## Google's audit of three pages, their weight and their speed
	@$(MEASURE)

OLDEST := $(shell sed -nE 's/^ *"(torch|transformers)>=([0-9.]+)",$$/\1==\2/p' pyproject.toml)
versions: npm ## Two chapters, tiny, with the oldest and the newest torch and transformers that are admitted
	@for pins in "$(OLDEST)" "torch transformers"; do \
		rm -rf _build/versions; \
		$(PYTHON) -m venv _build/versions; \
		_build/versions/bin/python -m pip install -qq . $$pins; \
		_build/versions/bin/python -m pip list | grep -E '^(torch|transformers) '; \
		_build/versions/bin/python tests/programs/tiny_chapter.py 03_ulmfit 11_adapters; \
	done

pretrain: $(READY) npm ## Train the shipped checkpoints anew, for hours; a stopped run goes on (NAME=... for one)
	@$(BIN)/tlib pretrain $(NAME)

clean: ## Remove what was built and executed; the environment and the downloaded data stay
	@rm -rf _build .pytest_cache .ruff_cache .hypothesis
	@find tlib tests -name __pycache__ -exec rm -rf {} +

$(READY): | $(BIN)/python
	@echo "Setting up $(VENV): about three minutes and 3 GB, once"
	@echo "  1/2  $(TORCH)"
	@$(PIP) $(TORCH)
	@echo "  2/2  the packages that run and test the book"
	@$(PIP) --editable '.[book,test]'
	@rm -f $(VENV)/.ready-* && touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; name it: make book PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
		|| { rm -rf $(VENV); echo "No virtual environment could be made; on Debian: sudo apt-get install python3-venv" >&2; exit 1; }

# Programs from outside Python: there already, or installed (as root on Debian), or asked for.
.PHONY: npm chromium bubblewrap
npm:
	@$(call need,npm,npm,fetches some of the data sets)

chromium:
	@$(call need,chromium chromium-browser google-chrome,chromium,reads the site as the tests do)

bubblewrap:
	@$(call need,bwrap,bubblewrap,shuts student code away while it is graded)

# $(call need,programs of which one is enough,Debian package,what it is for)
need = for program in $(1); do if command -v $$program >/dev/null; then exit 0; fi; done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "Installing $(2), which $(3)"; \
		apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(2) >/dev/null; \
	else \
		echo "$(2) is needed: it $(3). On Debian: sudo apt-get install $(2)" >&2; exit 1; \
	fi
