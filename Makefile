# `make` lists the targets. Everything runs in .venv; `make setup` makes it, and every target makes it if need be.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
WORKERS ?= 2
NICE ?=
RUNS := $(or $(VAD_RUNS),runs)

.DEFAULT_GOAL := help
.PHONY: help setup demo composed-weak composed-ssl synthetic-ssl ssl-tasks ped2-lbr-spr-cpu ped2-lbr-spr-ablation ped2-ssmtl-cpu ssmtl-heads test test-slow faults lint format bench clean

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | awk -F '\t' '{printf "  make %-18s %s\n", $$1, $$2}'

setup: $(READY) ## make .venv, once; VAD_TORCH=cpu|cuda|auto chooses torch's build

$(READY): pyproject.toml constraints.txt .ci/setup
	PYTHON=$(PYTHON) VENV=$(VENV) .ci/setup
	@touch $@

demo: $(READY) ## generated footage to a comparison page, without data and weights (14 minutes on 2 cores)
	$(BIN)/vad data make --benchmark Synthetic
	$(BIN)/vad run --config experiments/lbr_spr_synthetic.yaml --trainer.max_epochs 3 --name demo
	$(BIN)/vad run --config experiments/ssmtl_synthetic.yaml --data.every 4 --trainer.max_epochs 3 --name demo
	$(BIN)/vad run --config experiments/mil_hims_synthetic.yaml --processes $(WORKERS)
	$(BIN)/vad run --config experiments/contrastive_clustering_synthetic.yaml
	$(BIN)/vad run --config experiments/anomaly_ssl_synthetic.yaml --trainer.max_steps 600 --name demo
	$(BIN)/vad run --config experiments/mil_hims_synthetic.yaml --config experiments/sweeps/rows/ssl_demo.yaml
	$(BIN)/vad compare $(RUNS)/lbr_spr_synthetic/demo $(RUNS)/ssmtl_synthetic/demo $(RUNS)/mil_hims_synthetic $(RUNS)/contrastive_clustering_synthetic $(RUNS)/anomaly_ssl_synthetic/demo

composed-weak: $(READY) ## weakly supervised methods and their controls on real clips, five seeds ($VAD_DATA/surveillance_fight)
	$(BIN)/vad sweep experiments/sweeps/mil_hims_composed.yaml --workers $(WORKERS) --processes $(WORKERS)
	$(BIN)/vad sweep experiments/sweeps/contrastive_clustering_composed.yaml --workers $(WORKERS)
	$(BIN)/python experiments/references.py --config experiments/mil_hims_composed.yaml
	$(BIN)/vad compare $(RUNS)/mil_hims_composed $(RUNS)/contrastive_clustering_composed $(RUNS)/references_mil_hims_composed

composed-ssl: $(READY) ## pretrain on real clips, then one detector on four kinds of features ($VAD_DATA/surveillance_fight)
	$(BIN)/vad run --config experiments/anomaly_ssl_composed.yaml --processes $(WORKERS)
	$(BIN)/vad sweep experiments/sweeps/ssl_composed.yaml --workers $(WORKERS) --processes $(WORKERS)
	$(BIN)/vad compare $(RUNS)/anomaly_ssl_composed/base $(RUNS)/mil_hims_composed

synthetic-ssl: $(READY) ## the same on generated footage
	$(BIN)/vad data make --benchmark Synthetic
	$(BIN)/vad run --config experiments/anomaly_ssl_synthetic.yaml --processes $(WORKERS)
	$(BIN)/vad sweep experiments/sweeps/ssl_synthetic.yaml --workers $(WORKERS) --processes $(WORKERS)
	$(BIN)/vad compare $(RUNS)/anomaly_ssl_synthetic/base $(RUNS)/mil_hims_synthetic

ssl-tasks: $(READY) ## what each pretext task teaches, and what it is worth to a detector, on generated footage
	$(BIN)/vad data make --benchmark Synthetic
	$(BIN)/vad sweep experiments/sweeps/tasks_synthetic.yaml --workers $(WORKERS) --processes $(WORKERS)
	$(BIN)/vad sweep experiments/sweeps/ssl_tasks_synthetic.yaml --workers $(WORKERS) --processes $(WORKERS)
	$(BIN)/vad compare $(RUNS)/anomaly_ssl_synthetic $(RUNS)/mil_hims_synthetic

ped2-lbr-spr-cpu: $(READY) ## UCSD Ped2 with LBR-SPR on a CPU, from frames to metrics ($VAD_DATA/ucsd_ped)
	$(BIN)/vad run --config experiments/lbr_spr_ucsd_ped2_cpu.yaml --trainer experiments/trainers/cpu.yaml

ped2-ssmtl-cpu: $(READY) ## UCSD Ped2 with SSMTL on a CPU, from frames to metrics ($VAD_DATA/ucsd_ped)
	$(BIN)/vad run --config experiments/ssmtl_ucsd_ped2_cpu.yaml --trainer experiments/trainers/cpu.yaml

SHORT := $(BIN)/vad run --config experiments/lbr_spr_ucsd_ped2_cpu.yaml --trainer experiments/trainers/cpu.yaml --trainer.max_epochs 8 --model.warmup_epochs 1.333

ped2-lbr-spr-ablation: $(READY) ## what SPR, motion boxes and the motion network bring on Ped2, a third of the schedule each
	$(SHORT) --name short
	$(SHORT) --name short-no-spr --model.weighting none
	$(SHORT) --name short-no-motion-boxes --data.motion null
	$(SHORT) --name short-motion-network --model.motion true --data.flow true
	$(BIN)/vad compare $(RUNS)/lbr_spr_ucsd_ped2_cpu

ssmtl-heads: $(READY) ## what each of SSMTL's heads brings on generated footage, and what each says of kinds of objects
	$(BIN)/vad data make --benchmark Synthetic
	$(BIN)/vad sweep experiments/sweeps/ssmtl_heads_synthetic.yaml --workers $(WORKERS) --processes $(WORKERS)
	$(BIN)/vad compare $(RUNS)/ssmtl_synthetic
	$(BIN)/python experiments/object_kinds.py $(RUNS)/ssmtl_synthetic/teacher,*/seed-0

test: $(READY) ## the tests, at most 10 minutes on 2 cores
	$(NICE) $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

test-slow: $(READY) ## what takes longer: kills, several processes, notebooks (at most 40 minutes)
	$(NICE) $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m slow

faults: $(READY) ## tests that kill, damage and distribute
	$(NICE) $(BIN)/python -m pytest tests/faults -m 'slow or not slow'

lint: $(READY) ## ruff, mypy (strict), and the order of the layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY) ## let ruff lay out the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY) ## how fast reading, extraction and training are here
	@for script in experiments/speed/*.py; do echo "== $$script"; $(BIN)/python $$script; done

clean: ## remove what tools left behind; data, cache and runs stay
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache build dist *.egg-info
	find vad tests experiments -name __pycache__ -prune -exec rm -rf {} +
