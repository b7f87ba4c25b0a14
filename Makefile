# make study: a virtual environment, the notebook executed with the quick preset, an HTML report, figures.
# make test:  the same environment, lint, and the whole test suite.
PYTHON ?= python3
REQUIREMENTS ?= requirements.txt
VENV ?= .venv
OUT ?= build
NOTEBOOK = VAE_Image_Generation_Comparative_Study.ipynb
BIN = $(VENV)/bin
export VAE_PRESET ?= quick

.PHONY: study report test lint notebook clean

study: $(VENV)/.study
	mkdir -p $(OUT)
	@echo "executing the notebook with the $(VAE_PRESET) preset: quick takes some 6 minutes ..."
	VAE_BATCH=1 VAE_IMAGES_DIR=$(OUT)/images $(BIN)/python -m nbconvert --to notebook --execute \
		--ExecutePreprocessor.timeout=3600 --output-dir $(OUT) $(NOTEBOOK)
	$(BIN)/python -m tools.html_report $(OUT)/$(NOTEBOOK) --out $(OUT)
	@echo
	@echo "executed notebook  $(OUT)/$(NOTEBOOK)"
	@echo "HTML report        $(OUT)/$(NOTEBOOK:.ipynb=.html)"
	@echo "figures            $(OUT)/images/"
	@echo "to go on           . $(BIN)/activate    (then: jupyter lab $(NOTEBOOK), python -m vae_lib --help)"

# One file that opens offline, from the committed notebook, nothing executed.
report: $(VENV)/.study
	$(BIN)/python -m tools.html_report $(NOTEBOOK) --out $(OUT)/committed

# Execute the committed notebook in place and stamp it.
notebook: $(VENV)/.test
	$(BIN)/python -m tools.execute_notebook

test: $(VENV)/.test lint
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

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
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -r $(REQUIREMENTS)
	touch $@

$(VENV)/.test: $(VENV)/.study pyproject.toml
	$(BIN)/python -m pip install --quiet -e '.[test]'
	touch $@

clean:
	rm -rf $(VENV) $(OUT)
