# Every habit of the project. Each target uses the environment in .venv and builds it when it is missing or old.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
DEMO := build/demo
# two lanes (tests/tiers.sh): what computes, and beside it what waits for kubelets and back-offs; three took longer
TIERS := test-unit test-scenarios test-matrix test-data test-ray test-gpu + test-kubernetes
UNIT_TESTS ?= not slow and not ray and not s3 and not gpu
PYTEST := $(BIN)/python -m pytest -p no:cacheprovider
# a home that cannot be written has no room for a cache
CACHE := "$${UV_CACHE_DIR:-$${XDG_CACHE_HOME:-$$HOME/.cache}/uv}"
UV_INSTALL = $(BIN)/uv pip install --quiet --python $(BIN)/python $$(mkdir -p $(CACHE) 2> /dev/null && test -w $(CACHE) || echo --no-cache)
TESTBED := PYTHONPATH=tests $(BIN)/python -m testbed
export RAY_USAGE_STATS_ENABLED := 0
# compile each module once, not in every process of the tests: an empty value switches the bytecode on
export PYTHONDONTWRITEBYTECODE :=
# of the unit tests, the packages that need no torch: half of the work, in a process of its own
WITHOUT_TORCH := $(addprefix tests/unit/,api cli dataset docs images logs operator order receipts search storage testbed)
SLOW = $$(grep -rl --include='test_*.py' 'mark\.slow' tests/unit) # the other files need not be collected

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 20

# -- environment -------------------------------------------------------------------------------------------------

.venv/.installed: requirements/bootstrap.lock requirements/dev.lock pyproject.toml
	@echo "installing into .venv (about 6 GB: torch with CUDA, Ray)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.lock
	@$(UV_INSTALL) --compile-bytecode --require-hashes -r requirements/dev.lock
	@$(UV_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: install
install: .venv/.installed ## Create .venv from the lock

.PHONY: lock
lock: .venv/.installed ## Resolve requirements/*.lock anew: the newest versions that pyproject.toml allows
	$(BIN)/uv pip compile --upgrade --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header --no-annotate requirements/bootstrap.in -o requirements/bootstrap.lock
	$(BIN)/uv pip compile --upgrade --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header --no-annotate --all-extras pyproject.toml -o requirements/dev.lock
	for image in operator:operator train,mlflow,zoo,gcs,azure,identities:workload; do extras=$${image%:*}; $(BIN)/uv pip compile --quiet --universal \
	  --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --extra $${extras//,/ --extra } \
	  --constraint requirements/dev.lock pyproject.toml -o requirements/$${image#*:}.lock; done

# -- using it ----------------------------------------------------------------------------------------------------

.PHONY: demo
demo: .venv/.installed ## Train on handwritten digits: 2 workers, one digest, a report
	@rm -rf $(DEMO)
	@$(BIN)/python examples/digits/write_digits.py $(DEMO)/images
	@$(BIN)/seedbed dataset build $(DEMO)/images $(DEMO)/digits
	@$(BIN)/seedbed run -f examples/digits.yaml --dataset $(DEMO)/digits --output $(DEMO)/runs

.PHONY: demo-cluster
demo-cluster: .venv/.installed ## The same manifest in pods: a Kubernetes on this machine, the chart, S3; then gone
	@PYTHONPATH=tests:charts:images $(BIN)/python -m e2e.demo

.PHONY: generate
generate: .venv/.installed ## Write crds/*.yaml and docs/api.md from the models, and what the chart repeats
	$(BIN)/python -m seedbed_api.crd_generator crds
	$(BIN)/python -m seedbed_api.api_reference docs/api.md
	$(BIN)/python charts/generate.py

.PHONY: image-operator
image-operator: .venv/.installed ## Build the operator's image without a container engine; prints the path of its OCI archive
	@$(BIN)/python images/build.py operator

.PHONY: image-workload
image-workload: .venv/.installed ## The same for the workload: 9 GB with its wheels
	@$(BIN)/python images/build.py workload

.PHONY: wheel
wheel: .venv/.installed ## Build the wheel and its bill of materials into build/wheel
	@$(BIN)/python images/wheel.py build/wheel

.PHONY: root-workload
root-workload: .venv/.installed ## The workload's root as a folder, for pods of the e2e tier that have nothing of this machine
	@$(BIN)/python images/build.py workload --root

# -- checking it -------------------------------------------------------------------------------------------------

.PHONY: lint
lint: .venv/.installed ## Style, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	cd tests && ../$(BIN)/lint-imports

.PHONY: audit
audit: .venv/.installed ## Known vulnerabilities of the locked packages, but those of requirements/vulnerabilities.yaml
	@$(BIN)/python images/vulnerability_gate.py

.PHONY: format
format: .venv/.installed ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: test
test: .venv/.installed ## All tiers, also after one that fails; what this machine cannot run says why
	@tests/tiers.sh $(TIERS) $(MORE_TIERS)

.PHONY: test-machines
test-machines: .venv/.installed ## The tiers on machines that lack something: tools, root, a home that can be written
	@tests/machines.sh

.PHONY: test-unit
test-unit: .venv/.installed ## Pure functions and single processes, under 45 s
	@$(MAKE) --no-print-directory -j 2 --keep-going --output-sync=target test-unit-without-torch test-unit-with-torch

# two processes over two halves, since each worker of xdist would import what the tests of all packages need
.PHONY: test-unit-without-torch
test-unit-without-torch:
	$(PYTEST) -q $(WITHOUT_TORCH) -m "$(UNIT_TESTS)"

.PHONY: test-unit-with-torch
test-unit-with-torch:
	$(PYTEST) -q $(filter-out $(WITHOUT_TORCH) %/__pycache__,$(wildcard tests/unit/*)) -m "$(UNIT_TESTS)"

.PHONY: test-scenarios
test-scenarios: .venv/.installed ## Whole runs in one process: bad input, damage, verify and diff; slow unit tests
	$(PYTEST) -q -n 2 tests/scenarios $(SLOW) -m "not ray and not s3 and not gpu and not exhaustive and (scenario or slow)"

.PHONY: test-data
test-data: .venv/.installed ## Datasets and run folders on Ray Data, HTTP and a real S3 server
	@$(TESTBED) build versitygw fake-gcs-server || echo "not run: what needs S3 or Google, the servers could not be built"
	$(PYTEST) tests/data -m "not exhaustive"

.PHONY: test-matrix
test-matrix: .venv/.installed ## One digest for all W x L x m x model, in gloo processes
	$(PYTEST) tests/determinism -m "not ray and not exhaustive"

.PHONY: test-ray
test-ray: .venv/.installed ## One digest on real Ray, with kills
	$(PYTEST) tests/determinism -m "ray and not exhaustive" --durations=0 --durations-min=1

.PHONY: chart
chart: .venv/.installed ## Lint, render and install the chart with Helm 3 and 4
	@$(TESTBED) build kubernetes helm3 helm4 || echo "not run: the chart on an API server, Kubernetes or Helm could not be built"
	@$(BIN)/python images/build.py operator > /dev/null || true # it says why it was not built
	$(PYTEST) -q tests/chart -m "not exhaustive"

.PHONY: test-gpu
test-gpu: .venv/.installed ## One digest on a GPU
	$(PYTEST) tests/gpu || test $$? -eq 5

.PHONY: test-kubernetes
test-kubernetes: .venv/.installed ## The three tiers that need a control plane, one after another on one
	@$(TESTBED) build kubernetes kwok helm3 helm4 pause coredns versitygw || echo "not run: what needs the tools that could not be built"
	@$(BIN)/python images/build.py operator > /dev/null || true # it says why it was not built
	$(PYTEST) -q tests/cluster tests/chart tests/e2e -m "not exhaustive" --durations=0 --durations-min=1

.PHONY: test-cluster
test-cluster: .venv/.installed ## The operator's world on a real Kubernetes control plane, without kubelets
	@$(TESTBED) build kubernetes kwok || echo "not run: the cluster tier, Kubernetes could not be built"
	$(PYTEST) tests/cluster -m "not exhaustive"

.PHONY: test-e2e
test-e2e: .venv/.installed ## Real pods: kubelet, containerd, Ray, an S3 server
	@$(TESTBED) build kubernetes pause coredns versitygw helm4 || echo "not run: the e2e tier, Kubernetes could not be built"
	@$(BIN)/python images/build.py operator > /dev/null || true # it says why it was not built
	$(PYTEST) tests/e2e -m "not exhaustive" --durations=0 --durations-min=1

.PHONY: test-exhaustive
test-exhaustive: .venv/.installed ## More points of the same proofs: the whole matrix, every way on Ray, every kill
	$(PYTEST) tests -m exhaustive --durations=0 --durations-min=1

.PHONY: testbed
testbed: .venv/.installed ## Start a Kubernetes with a real node to play with, until Ctrl-C
	@$(TESTBED) up --nodes 1

.PHONY: testbed-tools
testbed-tools: .venv/.installed ## Build the servers of the tests (Go), once per content
	@$(TESTBED) build

.PHONY: testbed-packages
testbed-packages: .venv/.installed ## Install what the testbed takes from the distribution (apt, root)
	@$(TESTBED) packages

# -- measuring it ------------------------------------------------------------------------------------------------

.PHONY: bench-loader
bench-loader: .venv/.installed ## This loader against Ray Data and a torch DataLoader
	$(BIN)/python benchmarks/loader.py

.PHONY: bench-integrity
bench-integrity: .venv/.installed ## What it costs to compare each image with its row digest
	$(BIN)/python benchmarks/integrity.py

.PHONY: bench-building
bench-building: .venv/.installed ## Memory and time of dataset builds of more and more rows
	$(BIN)/python benchmarks/building.py

.PHONY: bench-scale
bench-scale: .venv/.installed ## Build, training, resume, index, order, feed, ledger and dataset commands at up to 1,000,000 rows
	$(BIN)/python benchmarks/million_rows.py
	$(BIN)/python benchmarks/dataset_scale.py

.PHONY: bench-fine-tuning
bench-fine-tuning: .venv/.installed ## Accuracy from trained weights and from random ones in a tenth of the steps
	$(BIN)/python benchmarks/fine_tuning.py

.PHONY: bench-memory
bench-memory: .venv/.installed ## Memory and cache while a dataset 10 times larger streams by
	$(BIN)/python benchmarks/memory.py

.PHONY: bench-determinism
bench-determinism: .venv/.installed ## What one digest costs against an ordinary Ray Train loop
	$(BIN)/python benchmarks/determinism.py

.PHONY: bench-start
bench-start: .venv/.installed ## Process start to first step against plain Ray Train
	$(BIN)/python benchmarks/start.py

.PHONY: bench-observing
bench-observing: .venv/.installed ## What progress, metrics, curves and logs cost a run
	$(BIN)/python benchmarks/observing.py

.PHONY: bench-sweep
bench-sweep: .venv/.installed ## Sweeps against Ray Tune, Optuna and Syne Tune: bare trials, memo hits, the way to a good model
	$(BIN)/python benchmarks/sweep.py --fresh --write docs/results/sweep.md

.PHONY: bench-scraping
bench-scraping: .venv/.installed ## What a scrape of its metrics costs an operator with thousands of jobs
	$(BIN)/python benchmarks/scraping.py --write docs/results/scraping.md

.PHONY: bench-operator
bench-operator: .venv/.installed ## The operator with 2,000 jobs on a real API server, against the API server's own ceiling
	@$(TESTBED) build kubernetes kwok
	PYTHONPATH=tests $(BIN)/python benchmarks/operator_scale.py --write docs/results/operator.md
