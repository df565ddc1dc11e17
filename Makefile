# The commands of the project. Each does its own set-up the first time and nothing the second time.
#
#     make book        build the site            make test        run the tests
#     make help        all of them
#
# Another Python:    make book PYTHON=python3.12
# More test workers: make test JOBS=8

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.SUFFIXES:

PYTHON ?= python3
JOBS ?= 2
VENV := .venv
BIN := $(VENV)/bin
# The name of the stamp holds a sum over what is installed from: any change there installs again.
INSTALLED := $(VENV)/installed-$(shell cat pyproject.toml constraints.txt | cksum | tr -c '0-9\n' '-')
SITE := _build/html

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYTHONUTF8 := 1

.PHONY: help book pdf test test-slow matrix execute lint format bench check release-files set-url clean

help: ## Show this list
	@echo "make COMMAND, where COMMAND is one of"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

# --all, or a change of a style sheet alone would not reach the site.
book: $(INSTALLED) ## Build the book to _build/html (the chapters' stored outputs; no code is run)
	@$(BIN)/jupyter-book build --all -q -n -W --keep-going . >_build.log 2>&1 || { cat _build.log; rm -f _build.log; exit 1; }
	@rm -f _build.log
	@echo "The book is in $(SITE): open $(CURDIR)/$(SITE)/index.html"

# The second build links the PDF and takes it into the site.
pdf: $(INSTALLED) ## Print the whole book to _build/html/cosnorm.pdf (needs Chromium; minutes)
	@rm -f _build/cosnorm.pdf
	@$(MAKE) --no-print-directory book
	@$(BIN)/python -m tools.pdf
	@$(MAKE) --no-print-directory book

PYTEST := $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder -q $(if $(MAKE_TERMOUT),,--color=no)

test: $(INSTALLED) ## Run the tests, the chapters included, but for the slow ones
	@$(PYTEST) -m "not slow" --nbval --nbval-current-env --nbval-sanitize-with tests/nbval-sanitize.cfg $(PYTEST_ARGS) tests book
	@echo "All tests but the slow ones passed."

test-slow: $(INSTALLED) ## Run the slow tests: the site in a browser, Colab, killed runs, the printed book if there is one
	@$(PYTEST) -m slow $(PYTEST_ARGS) tests
	@echo "The slow tests passed."

matrix: $(INSTALLED) ## Run the chapters as other processors would (CHAPTERS="..." for some, ONLY=SSE4.1 for one)
	@$(BIN)/python -m tools.matrix --jobs $(JOBS) $(if $(ONLY),--only "$(ONLY)") $(CHAPTERS)

execute: $(INSTALLED) ## Run the chapters (CHAPTERS="book/02-...ipynb" for some), store outputs, write the generated pages
	@$(BIN)/python -m tools.notebooks execute $(CHAPTERS)
	@$(BIN)/python -m tools.notebooks pages

check: $(INSTALLED) ## Say what is wrong with the stored chapters, in a second or two
	@$(BIN)/python -m tools.notebooks check

lint: $(INSTALLED) ## Check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright --pythonpath $(BIN)/python

format: $(INSTALLED) ## Put the code in order: imports, line breaks
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(INSTALLED) ## Time the layers beside their alternatives
	@$(BIN)/cosnorm bench

release-files: $(INSTALLED) ## Make the files of a release in dist (PDF=FILE adds the book as `make pdf` wrote it)
	@$(BIN)/python -m tools.release $(if $(PDF),--pdf "$(PDF)")

set-url: $(INSTALLED) ## Change the repository's address everywhere: make set-url URL=https://github.com/OWNER/NAME
	@test -n "$(URL)" || { echo "say which: make set-url URL=https://github.com/OWNER/NAME"; exit 2; }
	@$(BIN)/python -m tools.notebooks set-url "$(URL)"

clean: ## Remove the built site and the environment
	rm -rf _build $(VENV)

# -qq: only errors. Old stamps go first, so that an interrupted installation is never taken for a finished one.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "Python 3.11 or later is needed: make $(MAKECMDGOALS) PYTHON=python3.12, say"; exit 1; }
	@rm -f $(VENV)/installed-*
	@test -x $(BIN)/python || { echo "Making $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "Installing the package, the book's tools and the tests' tools into $(VENV)"
	@$(BIN)/python -m pip install -qq -c constraints.txt -e '.[book,test,sweep]'
	@touch $@
