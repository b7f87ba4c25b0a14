# make study      virtual environment, notebook executed with the quick preset, HTML report and figures in build/
# make test       the same environment, lint, and all tests
# make test-fast  the tests that are not marked slow, at most 3 minutes
# make lint       ruff and the import contracts
# make report     the committed notebook as one HTML file, nothing executed; beside it, pages that run a decoder
# make notebook   execute the committed notebook in place, for a commit
# make clean      remove environment and build folder
PYTHON ?= python3
REQUIREMENTS ?= requirements.txt
VENV ?= .venv
OUT ?= build
EXPLORERS ?= fashion_mnist-z2 fashion_mnist-conditional
NOTEBOOK = VAE_Image_Generation_Comparative_Study.ipynb
BIN = $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check
TEST = $(BIN)/python -m pytest --numprocesses 2 --dist loadfile
export VAE_PRESET ?= quick

.PHONY: study report notebook test test-fast lint clean

study: $(VENV)/.study
	@echo "executing the notebook with the $(VAE_PRESET) preset (quick takes at most 5 minutes)"
	@$(BIN)/python -m tools.execute_notebook --out $(OUT)
	@$(BIN)/python -m tools.html_report $(OUT)/$(NOTEBOOK) --out $(OUT) >/dev/null
	@echo
	@echo "executed notebook  $(OUT)/$(NOTEBOOK)"
	@echo "HTML report        $(OUT)/$(NOTEBOOK:.ipynb=.html)"
	@echo "figures            $(OUT)/images/"
	@echo "next               . $(BIN)/activate    (then: jupyter lab $(NOTEBOOK), python -m vae_lib --help)"

report: $(VENV)/.study
	@$(BIN)/python -m tools.html_report $(NOTEBOOK) --out $(OUT)/committed
	@for run in $(EXPLORERS); do \
		$(BIN)/python -m vae_lib explorer models/showcase/$$run --out $(OUT)/committed/explorer-$$run.html || \
			echo "the explorer of $$run is left out" >&2; \
	done

notebook: $(VENV)/.test
	@$(BIN)/python -m tools.execute_notebook

test: lint
	$(TEST)

test-fast: $(VENV)/.test
	$(TEST) -m "not slow"

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

$(VENV)/.study: $(REQUIREMENTS)
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "Python 3.11 to 3.13 is needed; $(PYTHON) is another: make PYTHON=python3.12 ..." >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "$(PYTHON) has no venv module: apt-get install python3-venv" >&2; exit 2; }
	@echo "installing into $(VENV), which takes a few minutes ..."
	@$(PYTHON) -m venv $(VENV)
	@$(INSTALL) -r $(REQUIREMENTS)
	@$(INSTALL) --no-deps -e .
	@touch $@

$(VENV)/.test: $(VENV)/.study pyproject.toml
	@echo "installing what the tests need into $(VENV) ..."
	@$(INSTALL) -e '.[test]'
	@touch $@

clean:
	rm -rf $(VENV) $(OUT)
