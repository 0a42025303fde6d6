# Two commands on a fresh machine: `make demo` and `make test`. Needs Python 3.11+; all but `make demo`
# and `make demo-pages` need a C compiler, too.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo demo-gguf demo-pages test test-slow coverage reference lint fix schema docs dev clean

demo: $(VENV)/.installed-lake
	$(BIN)/medspan run configs/quickstart.yaml
	@echo
	@echo 'next: $(BIN)/medspan extract "Metformin 500 mg twice daily for type 2 diabetes."'
	@echo '      $(BIN)/medspan evaluate configs/quickstart.yaml --gold configs/samples/quickstart-gold.jsonl --run live'
	@echo '      $(BIN)/medspan run configs/quickstart-notes.yaml    # clinical notes, labels of a clinician'
	@echo '      make demo-gguf     # with a language model; compiles llama.cpp'
	@echo '      make demo-pages    # pictures, a fax and a PDF'

demo-gguf: $(VENV)/.installed-gguf
	$(BIN)/medspan run configs/quickstart-gguf.yaml
	@echo
	@echo 'next: $(BIN)/medspan extract -m starter:extractor "Metformin 500 mg twice daily."'
	@echo '      make demo-pages    # pictures, a fax and a PDF'

demo-pages: $(VENV)/.installed-pages
	$(BIN)/medspan run configs/quickstart-pages.yaml
	@echo
	@echo 'next: $(BIN)/medspan extract -f configs/samples/pages/letter-and-scan.pdf'
	@echo '      make demo-gguf     # with a language model; compiles llama.cpp'

# Tests without weights, Ray or S3 run in two processes; Ray needs both cores for itself.
test: dev
	$(BIN)/pytest -q -n 2 -m "$(FAST)"
	$(BIN)/pytest -q -m "not slow and not ($(FAST))"

test-slow: dev
	$(BIN)/pytest -q -m slow

# The rooms that hold the extraction itself, under their own fast tests: no weights, no Ray, no
# warnings. The floor is where coverage stood (98.3% of 4,801 lines).
ROOMS := claims context engine grounding linking prompts relations
FAST := not slow and not ray and not weights and not s3

coverage: dev
	$(BIN)/pytest -q -n 2 -W error -m "$(FAST)" $(ROOMS:%=tests/actors/%) tests/actors/test_merge.py \
	  $(ROOMS:%=--cov=actors.%) --cov=actors.merge --cov-report=term:skip-covered \
	  --cov-fail-under=98

# GGUF against transformers, outside CI. Any interpreter with torch (a CPU build is enough),
# transformers, sentencepiece, protobuf, gliner and onnx will do: make reference REFERENCE_PYTHON=...
REFERENCE_PYTHON ?= out/reference/venv/bin/python

reference: dev $(REFERENCE_PYTHON)
	$(BIN)/python -m benchmarks.gguf_reference --peer-python $(REFERENCE_PYTHON) --cache out/reference
	$(BIN)/python -m benchmarks.vision_reference --peer-python $(REFERENCE_PYTHON) --cache out/reference
	$(BIN)/python -m benchmarks.gliner_reference --peer-python $(REFERENCE_PYTHON) --cache out/reference

out/reference/venv/bin/python:
	$(PYTHON) -m venv out/reference/venv
	$@ -m pip install -q torch transformers sentencepiece protobuf gliner onnx || { rm -rf out/reference/venv; exit 1; }

lint: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

schema: dev
	$(BIN)/medspan schema pipeline > configs/schema/pipeline.json
	$(BIN)/medspan schema model > configs/schema/model.json

# The pages that follow from the code, then the site, in out/site.
docs: dev
	$(BIN)/python -m docs.generate
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

dev: $(VENV)/.installed-dev

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("medspan needs Python 3.11 or later" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$@ -m pip install -q -U pip

# setuptools warns of every editable install; nobody here can act on it
INSTALL = PYTHONWARNINGS=ignore $(BIN)/python -m pip install -q --prefer-binary -c constraints.txt

$(VENV)/.installed-lake $(VENV)/.installed-pages: $(VENV)/.installed-%: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "Installing medspan[$(EXTRAS)]."
	$(INSTALL) -e '.[$(EXTRAS)]'
	@touch $@

$(VENV)/.installed-gguf $(VENV)/.installed-dev: $(VENV)/.installed-%: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "Installing medspan[$(EXTRAS)]. llama-cpp-python compiles llama.cpp: about 4 minutes on 2 cores."
	@echo "A prebuilt wheel avoids that: put it in a folder and set PIP_FIND_LINKS to the folder."
	$(INSTALL) -e '.[$(EXTRAS)]'
	@touch $@

$(VENV)/.installed-lake: EXTRAS = lake
$(VENV)/.installed-pages: EXTRAS = lake,pages
$(VENV)/.installed-gguf: EXTRAS = lake,gguf
$(VENV)/.installed-dev: EXTRAS = dev

clean:
	rm -rf $(VENV) out build *.egg-info
