# The front door: every command of the house. CMake presets do the work underneath, each in build/PRESET.
SHELL := /bin/bash
MODEL ?=
PORT ?= 30000
S ?= 60
CUDA ?= auto
JOBS ?= $(shell nproc)
PYTHON ?= python3
VENV := .venv

.PHONY: all help serve test asan tsan portable aarch64 debug lint fmt fuzz deps model clean gpu-test run-tests

all: deps build/release/radish ## build the release binary (CUDA=1 demands nvcc, CUDA=0 forbids it)

help: ## print this
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

deps: ## install missing packages (as root) or print the command that does
	@lint/deps.sh

.PHONY: build/release/radish
build/release/radish: deps
	@cmake --preset release -DRADISH_CUDA=$(CUDA) >build.log 2>&1 || { cat build.log; exit 1; }; rm -f build.log
	@ninja -C build/release -j $(JOBS) radish

model: deps ## fetch the default model into the user's cache folder
	@lint/fetch_model.sh

serve: build/release/radish ## build, fetch the default model and serve it (MODEL=path serves another, PORT=n)
	@m="$(MODEL)"; [ -n "$$m" ] || m=$$(lint/fetch_model.sh) || exit 1; exec build/release/radish serve -m "$$m" --port $(PORT)

# PRESET=name runs the whole suite built that way
PRESET ?= release
run-tests:
	@lint/deps.sh test
	@PRESET=$(PRESET) CUDA=$(CUDA) JOBS=$(JOBS) tests/run.sh

test: ## build and pass every test; the last line counts them
	@$(MAKE) --no-print-directory run-tests PRESET=release

asan: ## the whole suite under AddressSanitizer and UBSan
	@$(MAKE) --no-print-directory run-tests PRESET=asan

tsan: ## the whole suite under ThreadSanitizer
	@$(MAKE) --no-print-directory run-tests PRESET=tsan

portable: ## the whole suite without any SIMD of ours
	@$(MAKE) --no-print-directory run-tests PRESET=portable

aarch64: ## the whole suite built for arm64 and run under QEMU (half an hour)
	@lint/deps.sh aarch64
	@lint/aarch64.sh
	@$(MAKE) --no-print-directory run-tests PRESET=aarch64

debug: deps ## a debug build
	@cmake --preset debug >/dev/null && ninja -C build/debug -j $(JOBS)

lint: ## format, layers, symbols, globals, sizes, clang-tidy
	@lint/deps.sh lint
	@lint/lint.sh

fmt: ## format every C file
	@git ls-files '*.c' '*.h' | grep -v '\.tab\.c$$' | xargs $$(command -v clang-format-14 || echo clang-format) -i

fuzz: ## every fuzz target for S seconds (S=60), or one: T=name
	@lint/deps.sh fuzz
	@lint/fuzz.sh $(S) $(T)

gpu-test: deps ## bundle what must run on a GPU machine into build/gpu-test
	@lint/gpu_test.sh

clean: ## remove everything built
	rm -rf build $(VENV)
