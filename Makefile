# HTTP, from the socket up. `make` alone lists what there is.
#
# A reader needs Go and make; everything but demo and test may install or need more.

SHELL := /bin/bash
.DEFAULT_GOAL := help
PARTS := $(wildcard part[1-4]-*)
NOTES := go -C notes run .

.PHONY: help demo test check part1 part2 part3 part4 read book lab facts judge bug hint mend story exercise bugs solutions growth bench fuzz notes notes-check

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9 -]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## play every part's experiment on this machine's kernel
	@for part in $(PARTS); do echo "== $$part"; go run ./$$part demo || exit 1; echo; done

test: ## run the tests of every part
	go test ./...

check: ## everything CI does
	test -z "$$(gofmt -l . | tee /dev/stderr)"
	go vet ./... && go vet -tags exercise ./... && go -C notes vet ./...
	GOOS=darwin go vet ./...
	for pkg in $$(go list ./...); do GOOS=darwin go test -c -o /dev/null $$pkg || exit 1; done
	$(MAKE) bin/staticcheck && bin/staticcheck ./... && cd notes && ../bin/staticcheck ./...
	go test -race -shuffle=on ./...
	go -C notes test -p 1 ./... # one package at a time: some drive browsers and judge by the clock
	$(MAKE) bugs solutions notes-check fuzz

part1 part2 part3: ## serve a part on http://127.0.0.1:8080
	@go build -o bin/ ./$@-* && exec bin/$(notdir $(wildcard $@-*))

part4: ## serve part 4 on 127.0.0.1:8080, a gateway to a part 3
	go build -o bin/ ./part3-pipelining ./part4-pooling
	@coproc bin/part3-pipelining -addr 127.0.0.1:0; trap "kill $$COPROC_PID 2>/dev/null" EXIT; \
		read -r _ _ back <&$${COPROC[0]} && bin/part4-pooling -backend "$$back" -show-backends -admin 127.0.0.1:8081

facts: ## what this kernel does: predicted, measured
	go run ./part2-backlog facts

PART ?= 1
judge: ## judge your program: PART=1 SERVER='node my.js'
	@test -n "$$SERVER$$CLIENT" || { echo "say which server, a command that listens on \$$ADDR: make judge PART=1 SERVER='node my.js'; or which CLIENT"; exit 2; }
	@if test -n "$$CLIENT" || test -e notes/steps/part$(PART).md; then go -C notes build -o ../bin/judge ./judge && exec bin/judge -part $(PART); fi; \
		set -o pipefail; SERVER="cd '$(CURDIR)' && $$SERVER" go test -v -count=1 -parallel=1 ./part$(PART)-* \
		| grep -vE '^=== |^ *--- SKIP|about our own program|left out: others'

bug: ## symptoms of the planted bugs; NAME=… plants one
	@$(NOTES) bug $$NAME

hint: ## where a bug is: NAME=…; LEVEL=2 function, 3 line
	@$(NOTES) hint -level $${LEVEL:-1} $$NAME

mend: ## take a planted bug out again, and see it: NAME=…
	@$(NOTES) mend $$NAME

story: ## run a part's tests and read each as a sentence: PART=1
	@$(NOTES) story -part=$(or $(firstword $(wildcard part$(PART)-*)),part$(PART))

exercise: ## run an exercise's test: PART=3 N=1
	go test -count=1 -tags exercise -run 'TestExercise$(or $(N),1)' ./part$(PART)-*

bugs: ## prove that each planted bug is caught by its test
	$(NOTES) bugs

solutions: ## prove that exercises fail unsolved, pass solved
	$(NOTES) solutions

growth: ## which files each part adds, grows and carries
	@$(NOTES) growth

bench: ## benchmarks, with net/http beside them
	go test -run '^$$' -bench . -benchmem ./...

# A run of FuzzAllDriversRespondAlike is a conversation with three servers.
fuzz: ## fuzz every target FUZZTIME times (20000x)
	@for pkg in $$(go list ./...); do for target in $$(go test -list '^Fuzz' $$pkg | grep ^Fuzz); do \
		times=20000x; [ $$target = FuzzAllDriversRespondAlike ] && times=500x; \
		go test -run '^$$' -fuzz "^$$target$$" -fuzztime $${FUZZTIME:-$$times} -fuzzminimizetime 1x $$pkg || exit 1; done; done

read: ## the book in your browser, served by part 3: ADDR=…
	@go -C notes build -o ../bin/read ./read && exec bin/read -root . -addr $(or $(ADDR),127.0.0.1:8080)

book: ## the book as a folder that needs no server: bin/book
	@go -C notes build -o ../bin/read ./read && exec bin/read -root . -to bin/book

lab: ## experiments on your kernel, in your browser
	@go -C notes build -o ../bin/lab ./lab/serve && exec bin/lab -root . -addr $(or $(ADDR),127.0.0.1:8080)

notes: ## rewrite in the chapters what is computed
	$(NOTES) refresh

notes-check: ## fail where a chapter does not say what is so
	$(NOTES) check -strict

bin/staticcheck: notes/go.mod
	go -C notes build -o ../bin/staticcheck honnef.co/go/tools/cmd/staticcheck
