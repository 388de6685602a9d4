# punchbench. `make` builds, `sudo make bench` measures, `sudo make test` checks. V=1 shows the commands.
MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:

BUILD   ?= build
PREFIX  ?= /usr/local
DATADIR ?= $(CURDIR)/bench
MANDIR  ?= $(PREFIX)/share/man

ifeq ($(origin CC),default)
CC := gcc
endif
CFLAGS   ?= -O2 -g
WARNINGS := -Wall -Wextra -Wshadow -Wvla
VERSION  := $(shell git describe --always --dirty --tags 2>/dev/null || echo unknown)

Q := $(if $(V),,@)
say = $(if $(V),@:,@printf '  %-7s %s\n' $(1) $(2))

# ---- the rooms: each is one library, and lists what it stands on ---------------------------------

ROOMS      := predict base hist loop wire record lab discover peer baseline
# The program is its room's only door to files, and no part of the library.
predict_PROGRAM := predict/main.c $(wildcard predict/cmd_*.c)
predict_SRC := $(filter-out $(predict_PROGRAM),$(wildcard predict/*.c))
base_SRC   := $(wildcard bench/base/*.c)
hist_SRC   := $(wildcard bench/hist/*.c)
loop_SRC   := $(wildcard bench/loop/*.c)
wire_SRC   := $(wildcard bench/wire/*.c)
record_SRC := $(wildcard bench/record/*.c)
lab_SRC    := $(wildcard bench/lab/*.c)
peer_SRC   := $(wildcard bench/peer/*.c)
baseline_PROGRAM := $(wildcard bench/baseline/*_main.c)
baseline_SRC := $(filter-out $(baseline_PROGRAM),$(wildcard bench/baseline/*.c))
# The program's own files are not the library's.
discover_PROGRAM := bench/discover/main.c bench/discover/show.c
discover_SRC := $(filter-out $(discover_PROGRAM),$(wildcard bench/discover/*.c))
LIBS       := $(patsubst %,$(BUILD)/lib%.a,baseline peer discover lab record hist wire loop base predict)

PROGRAMS       := rendezvous bench simopen synspray portspray relay mapped predict discover
rendezvous_SRC := $(wildcard bench/rendezvous/*.c)
bench_SRC      := $(wildcard bench/campaign/*.c)
simopen_SRC    := $(wildcard tcp_punch/simopen*.c)
synspray_SRC   := $(wildcard tcp_punch/synspray*.c)
portspray_SRC  := $(wildcard udp_punch/portspray*.c)
rendezvous_LIBS := record wire loop base
bench_LIBS      := lab record hist loop base
simopen_LIBS    := baseline peer discover record wire loop base predict
synspray_LIBS   := baseline peer discover record wire loop base predict
predict_LIBS    := predict
relay_SRC      := bench/baseline/relay_main.c
mapped_SRC     := bench/baseline/mapped_main.c
mapped_LIBS     := baseline peer discover record wire loop base predict
relay_LIBS      := baseline peer discover record wire loop base predict
portspray_LIBS  := baseline peer discover record wire loop base predict
discover_LIBS   := discover record wire loop base predict
BINS := $(PROGRAMS:%=$(BUILD)/bin/%)

# Manual pages: written by hand, but for what the programs say themselves (bench/man/fill).
MANUALS := $(notdir $(wildcard bench/man/*.1 bench/man/*.5))
PAGES   := $(MANUALS:%=$(BUILD)/man/%)

UNIT := $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(wildcard tests/unit/test_*.c))
PERF := $(patsubst tests/perf/%.c,$(BUILD)/perf/%,$(wildcard tests/perf/*.c))
FUZZ := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
# Objects that only a pattern rule mentions are kept. Not a bare .SECONDARY: with it the version stays the old one.
.SECONDARY: $(patsubst %,$(BUILD)/obj/tests/fuzz/%.o,$(FUZZ) driver)
LABT := $(patsubst tests/lab/%.c,$(BUILD)/tests/%,$(wildcard tests/lab/*.c))
CLIT := $(patsubst tests/cli/%.c,$(BUILD)/tests/%,$(wildcard tests/cli/*.c))

SYSTEM_LIBS := -luring -ljansson -lcrypto -lmnl -linih -lminiupnpc -lz -lm

CPPFLAGS += -D_GNU_SOURCE -I.
ALL_CFLAGS = -std=gnu11 $(WARNINGS) $(CFLAGS) -MMD -MP
objects = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))

.PHONY: all bench record test unit cli lab lint asan perf valgrind hlog-check slurm-check report-check fuzz fuzz-seeds install uninstall clean deps deps-relay deps-mapped deps-dev need-build
all: $(BINS) $(PAGES)

# The toolchain may be missing on a fresh machine: say so instead of failing on the first file.
need-build:
	$(Q)command -v $(CC) >/dev/null && command -v pkg-config >/dev/null && \
	  pkg-config --exists liburing jansson libcrypto libmnl inih miniupnpc zlib || \
	  { echo "make: build packages are missing: run 'sudo make deps'" >&2; exit 1; }

$(BUILD)/obj/%.o: %.c | need-build
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -c -o $@ $<

# Only log.c and predict/main.c hold the version: a commit rebuilds two files.
$(BUILD)/version: FORCE
	$(Q)mkdir -p $(@D); echo '$(VERSION)' | cmp -s - $@ || echo '$(VERSION)' >$@
VERSIONED := $(BUILD)/obj/bench/base/log.o $(BUILD)/obj/predict/main.o
$(VERSIONED): $(BUILD)/version
$(VERSIONED): CPPFLAGS += -DPUNCHBENCH_VERSION='"$(VERSION)"'
# Where the profiles and campaigns are.
$(BUILD)/datadir: FORCE
	$(Q)mkdir -p $(@D); echo '$(DATADIR)' | cmp -s - $@ || echo '$(DATADIR)' >$@
$(call objects,$(bench_SRC)): $(BUILD)/datadir
$(call objects,$(bench_SRC)): CPPFLAGS += -DBENCH_DATADIR='"$(DATADIR)"'
FORCE:

define room_rule
$(BUILD)/lib$(1).a: $(call objects,$($(1)_SRC))
	$$(call say,AR,$$@)
	$$(Q)rm -f $$@ && ar rcs $$@ $$^
endef
$(foreach room,$(ROOMS),$(eval $(call room_rule,$(room))))

define program_rule
$(BUILD)/bin/$(1): $(call objects,$(or $($(1)_PROGRAM),$($(1)_SRC))) $(patsubst %,$(BUILD)/lib%.a,$($(1)_LIBS))
	$$(call say,LD,$$@)
	$$(Q)mkdir -p $$(@D)
	$$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $$@ $$^ -Wl,--as-needed $(SYSTEM_LIBS)
endef
$(foreach program,$(PROGRAMS),$(eval $(call program_rule,$(program))))

$(BUILD)/man/%: bench/man/% bench/man/fill $(BINS)
	$(call say,MAN,$@)
	$(Q)mkdir -p $(@D)
	$(Q)bench/man/fill $(BUILD)/bin $< >$@

# Tests may include anything; a program's own files are linked but for its main.c.
ROOM_OF_PROGRAM := $(filter-out %main.o,$(call objects,$(rendezvous_SRC) $(bench_SRC) $(simopen_SRC) $(synspray_SRC) $(portspray_SRC)))
$(BUILD)/libprograms.a: $(ROOM_OF_PROGRAM)
	$(Q)rm -f $@ && ar rcs $@ $^

define test_rule
$(BUILD)/$(2)/$(basename $(notdir $(1))): $(BUILD)/obj/$(1:.c=.o) $(BUILD)/libprograms.a $(LIBS)
	$$(call say,LD,$$@)
	$$(Q)mkdir -p $$(@D)
	$$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $$@ $$^ -Wl,--as-needed -lcmocka $(SYSTEM_LIBS)
endef
$(foreach t,$(wildcard tests/unit/test_*.c tests/lab/*.c tests/cli/*.c),$(eval $(call test_rule,$(t),tests)))
$(foreach t,$(wildcard tests/perf/*.c),$(eval $(call test_rule,$(t),perf)))
$(foreach t,$(wildcard tests/dev/*.c),$(eval $(call test_rule,$(t),dev)))

# ---- what people type ----------------------------------------------------------------------------

CAMPAIGN ?= quick
NEEDS_RELAY = $(if $(shell grep -lsw '^[^;]*relay' bench/campaigns/$(CAMPAIGN).ini),deps-relay)
NEEDS_MAPPED = $(if $(shell grep -lsw '^[^;]*mapped' bench/campaigns/$(CAMPAIGN).ini),deps-mapped)
bench: deps $(NEEDS_RELAY) $(NEEDS_MAPPED)
	$(Q)$(MAKE) --no-print-directory all
	$(Q)out=results/$(CAMPAIGN)-$$(date -u +%Y%m%dT%H%M%SZ); status=0; \
	  $(BUILD)/bin/bench run bench/campaigns/$(CAMPAIGN).ini --out $$out || status=$$?; \
	  [ $$status = 1 ] || $(BUILD)/bin/bench report $$out || status=1; exit $$status

# Measures a campaign into results/CAMPAIGN, for the repository: see the head of the script.
record: deps $(NEEDS_RELAY) $(NEEDS_MAPPED)
	$(Q)$(MAKE) --no-print-directory all
	$(Q)BUILD=$(abspath $(BUILD)) results/record $(CAMPAIGN)

test: deps
	$(Q)$(MAKE) --no-print-directory all unit-programs
	$(Q)BUILD=$(BUILD) tests/run unit fuzz cli lab

.PHONY: unit-programs
unit-programs: $(UNIT) $(LABT) $(CLIT) $(PERF) $(FUZZ:%=$(BUILD)/fuzz-seeds/%)

unit cli lab: all unit-programs
	$(Q)BUILD=$(BUILD) tests/run $@

# The same tests under AddressSanitizer and UndefinedBehaviorSanitizer, in a build of their own.
asan:
	$(Q)$(MAKE) --no-print-directory BUILD=$(BUILD)/asan CFLAGS='-O1 -g -fsanitize=address,undefined -fno-omit-frame-pointer -fno-sanitize-recover=undefined' all unit-programs
	$(Q)ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1 BUILD=$(BUILD)/asan tests/run unit fuzz cli lab

perf: all unit-programs
	$(Q)BUILD=$(BUILD) tests/perf/run

# For development: many trials in one process, under memcheck; TRIALS=1000 PROGRAMS=synspray say how many of what.
valgrind: all
	$(Q)BUILD=$(BUILD) tests/dev/valgrind

# For development: latency logs against an independent implementation; needs node, npm and its registry.
hlog-check: $(BUILD)/dev/hlog
	$(Q)BUILD=$(BUILD) tests/dev/hlog-check

# For development: a campaign as an array job on a Slurm of one node, started for it; needs slurm-wlm and munge.
slurm-check: all
	$(Q)BUILD=$(BUILD) tests/dev/slurm-check

# For development: a report opened in a browser, light and dark; fails on what its console complains of. Needs chromium.
report-check: all
	$(Q)BUILD=$(BUILD) tests/dev/report-check $(REPORT)

# Seed corpora run through every fuzz target in `make test`; `make fuzz` searches on with clang's libFuzzer.
FUZZ_SECONDS ?= 60
$(BUILD)/fuzz-seeds/%: $(BUILD)/obj/tests/fuzz/%.o $(BUILD)/obj/tests/fuzz/driver.o $(BUILD)/libprograms.a $(LIBS)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -Wl,--as-needed $(SYSTEM_LIBS)

# What parses foreign bytes, and what that needs.
FUZZ_SRC := $(predict_SRC) $(wire_SRC) $(base_SRC) $(hist_SRC) $(record_SRC) bench/discover/answer.c $(filter-out %/nat_box.c %/nat_view.c,$(wildcard bench/lab/nat*.c)) bench/lab/packet.c \
  $(addprefix bench/peer/,facts.c options.c private.c quality_flow.c search.c search_budget.c search_holes.c search_predict.c)
$(BUILD)/fuzz/%: tests/fuzz/%.c $(FUZZ_SRC) | need-build
	$(call say,FUZZ,$@)
	$(Q)mkdir -p $(@D)
	$(Q)clang $(CPPFLAGS) -DPUNCHBENCH_VERSION='"$(VERSION)"' -std=gnu11 -g -O1 -fsanitize=fuzzer,address,undefined -o $@ $^ $(SYSTEM_LIBS)
fuzz: $(FUZZ:%=$(BUILD)/fuzz/%)
	$(Q)set -e; for f in $(FUZZ); do mkdir -p $(BUILD)/fuzz/corpus/$$f; \
	  $(BUILD)/fuzz/$$f -max_total_time=$(FUZZ_SECONDS) -timeout=5 -print_final_stats=1 $(BUILD)/fuzz/corpus/$$f tests/fuzz/corpus/$${f#fuzz_}; done

lint: need-build
	$(Q)tests/lint

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/punchbench/profiles $(DESTDIR)$(PREFIX)/share/punchbench/campaigns
	$(Q)$(MAKE) --no-print-directory BUILD=$(BUILD)/install DATADIR=$(PREFIX)/share/punchbench all
	install -m 755 $(PROGRAMS:%=$(BUILD)/install/bin/%) $(DESTDIR)$(PREFIX)/bin
	install -m 644 bench/profiles/*.ini $(DESTDIR)$(PREFIX)/share/punchbench/profiles
	install -m 644 bench/campaigns/*.ini $(DESTDIR)$(PREFIX)/share/punchbench/campaigns
	install -d $(DESTDIR)$(PREFIX)/share/punchbench/scripts
	install -d $(DESTDIR)$(PREFIX)/share/punchbench/field
	install -m 755 bench/field/peer $(DESTDIR)$(PREFIX)/share/punchbench/field
	install -m 755 bench/scripts/shards-* bench/scripts/solo-vs-full $(DESTDIR)$(PREFIX)/share/punchbench/scripts
	install -m 644 bench/scripts/shards.bash $(DESTDIR)$(PREFIX)/share/punchbench/scripts
	install -d $(DESTDIR)$(PREFIX)/share/punchbench/report
	install -m 644 bench/report/*.gp bench/report/*.tsv bench/report/*.css bench/report/*.html $(DESTDIR)$(PREFIX)/share/punchbench/report
	install -d $(DESTDIR)$(MANDIR)/man1 $(DESTDIR)$(MANDIR)/man5
	install -m 644 $(patsubst %,$(BUILD)/install/man/%,$(filter %.1,$(MANUALS))) $(DESTDIR)$(MANDIR)/man1
	install -m 644 $(patsubst %,$(BUILD)/install/man/%,$(filter %.5,$(MANUALS))) $(DESTDIR)$(MANDIR)/man5

uninstall:
	rm -f $(PROGRAMS:%=$(DESTDIR)$(PREFIX)/bin/%)
	rm -rf $(DESTDIR)$(PREFIX)/share/punchbench
	rm -f $(foreach m,$(MANUALS),$(DESTDIR)$(MANDIR)/man$(subst .,,$(suffix $(m)))/$(m))

clean:
	rm -rf $(BUILD)

# ---- packages (Debian names) ---------------------------------------------------------------------

PACKAGES_BUILD := gcc libc6-dev make pkg-config git liburing-dev libjansson-dev libssl-dev libmnl-dev libinih-dev libminiupnpc-dev zlib1g-dev
PACKAGES_RUN   := nftables xz-utils gnuplot-nox slirp4netns passt
PACKAGES_TEST  := libcmocka-dev bats iproute2 jq procps util-linux netcat-openbsd mandoc parallel
# Only for campaigns that relay: Debian starts it as a service.
PACKAGES_RELAY := coturn
# Only for campaigns that have routers map ports.
PACKAGES_MAPPED := miniupnpd-nftables
PACKAGES_DEV   := clang clang-format clang-tidy libclang-rt-14-dev cppcheck shellcheck valgrind tshark nodejs npm chromium fonts-dejavu-core slurm-wlm munge
deps:
	$(Q)tests/deps $(PACKAGES_BUILD) $(PACKAGES_RUN) $(PACKAGES_TEST)
deps-relay:
	$(Q)tests/deps $(PACKAGES_RELAY)
deps-mapped:
	$(Q)tests/deps $(PACKAGES_MAPPED)
deps-dev: deps deps-relay deps-mapped
	$(Q)tests/deps $(PACKAGES_DEV)

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
