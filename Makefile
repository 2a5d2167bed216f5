PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv/bin/python

.PHONY: run test campaign bench hub screenshots

run:           ## Install what is missing, then serve the page on 127.0.0.1:7860 (PORT)
	@$(PYTHON) install.py app
	@exec $(VENV) app.py

test:          ## Install what is missing, then run every test, in two processes: half of them wait for something
	@$(PYTHON) install.py test
	@$(VENV) -m pytest -n 2 --dist loadfile $(ARGS)

campaign:      ## What takes longer than the tests; prints a table and records it in bench/results/
	@$(PYTHON) install.py test
	@$(VENV) -m bench.campaign $(ARGS)

bench:         ## Figures, each with its baseline from the same run
	@$(PYTHON) install.py test
	@$(VENV) -m bench $(ARGS)

hub:           ## A Hub on this machine to try everything against; it prints the variables to start the app with
	@$(PYTHON) install.py test
	@exec $(VENV) -m tests.support.hub --root $(or $(ROOT),/tmp/parley-hub) $(ARGS)

screenshots:   ## Make the README's pictures anew
	@$(PYTHON) install.py test
	@$(VENV) -m docs.screenshots
