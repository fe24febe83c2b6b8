# SPDX-License-Identifier: GPL-2.0-or-later
# The whole build, not recursive.  Run from a build folder made by configure.
#
# A layer is a folder (scripts/layers.txt); its .c files become lib<layer>.a.
# Programs link archives from the highest layer down, so that an upward call does not link.

.DEFAULT_GOAL := all
# One short line a step; V=1 shows the commands.
Q := $(if $(filter-out 0,$(V)),,@)
say = $(if $(Q),@echo "  $(1) $(2)")
PYTHON ?= python3
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

WERROR ?= -Werror
CFLAGS := -std=gnu11 -Wall -Wextra -Wmissing-prototypes -Wvla -Wstrict-prototypes -Wno-unused-parameter $(WERROR) \
          -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -fno-strict-aliasing -fno-common $(OPT_CFLAGS)
CPPFLAGS := -I. -Iinclude -I$(SRC)/include $(PKG_CFLAGS) -MMD -MP

# ---- layers, lowest first ----------------------------------------------------------------------
LAYERS := util async qobject qapi codec crypto io core nbd monitor backend copy format protocol filter \
          job export registry frontend system target hw marshal

dirs-util     := util
dirs-async    := util/async
dirs-qobject  := qobject
dirs-qapi     := qapi
dirs-codec    := codec
dirs-crypto   := crypto
dirs-io       := io
dirs-nbd      := nbd
dirs-monitor  := monitor
dirs-core     := block/core
dirs-backend  := block/backend
dirs-copy     := block/copy
dirs-format   := block/format block/format/*
dirs-protocol := block/protocol
dirs-filter   := block/filter
dirs-job      := block/job
dirs-export   := block/export
dirs-registry :=
dirs-frontend := block/qmp
dirs-system   := system
dirs-target   := target/e2k
dirs-hw       := hw hw/*
extra-core     := block.c
extra-registry := block/drivers.c
extra-frontend := blockdev.c
not-system     := $(patsubst $(SRC)/%,%,$(wildcard $(SRC)/system/main.c $(SRC)/system/startup-*.c))

# Files that need an optional library.
ifndef CONFIG_LINUX_IO_URING
not-async := util/async/io-uring.c
endif
ifndef CONFIG_ZSTD
not-codec := codec/zstd.c
endif
ifndef CONFIG_LIBDEFLATE
not-codec += codec/libdeflate.c
endif
not-crypto := $(if $(CONFIG_GCRYPT),crypto/none.c,crypto/gcrypt.c)

sources = $(filter-out $(not-$(1)),$(patsubst $(SRC)/%,%,$(wildcard $(foreach d,$(dirs-$(1)),$(SRC)/$(d)/*.[cS]) \
          $(addprefix $(SRC)/,$(extra-$(1))))))
objects = $(patsubst %.S,%.o,$(patsubst %.c,%.o,$(call sources,$(1))))

# ---- generated QAPI code -----------------------------------------------------------------------
QAPI_GEN := $(SRC)/scripts/qapi-gen.py $(wildcard $(SRC)/scripts/qapigen/*.py)
SCHEMA := $(if $(wildcard $(SRC)/scripts/qapi-gen.py),$(wildcard $(SRC)/qapi/*.json))
ifneq ($(SCHEMA),)
QAPI_STAMP := qapi/gen/stamp
QAPI_MODULES := $(basename $(notdir $(filter-out %/qapi-schema.json,$(SCHEMA))))
qapi-gen-c := $(foreach m,$(QAPI_MODULES),$(foreach k,types commands events,qapi/gen/$(m)-$(k).c)) \
              qapi/gen/introspect.c qapi/gen/init-commands.c qapi/gen/emit-events.c
gen-qapi := $(patsubst %.c,%.o,$(filter-out %-commands.c,$(qapi-gen-c)))
# Marshalling names the handlers, so only programs link it, and of it what they register.
gen-marshal := $(patsubst %.c,%.o,$(filter %-commands.c,$(qapi-gen-c)))
$(QAPI_STAMP): $(QAPI_GEN) $(SCHEMA) config.h
	@mkdir -p qapi/gen include/qapi/gen
	$(call say,QAPI,)
	$(Q)$(PYTHON) $< --schema $(SRC)/qapi/qapi-schema.json --config config.h \
	    --out-c qapi/gen --out-h include/qapi/gen
	@touch $@
# Known as made by the generator, so that make looks at their dates after it ran, not before.
qapi-gen-h := $(foreach m,$(QAPI_MODULES),$(foreach k,types visit commands events,\
              include/qapi/gen/$(m)-$(k).h)) include/qapi/gen/emit-events.h
$(qapi-gen-c) $(qapi-gen-h): $(QAPI_STAMP) ;
# Headers must exist before anything that may include them is compiled.
QAPI_ORDER := $(QAPI_STAMP)
endif

# ---- archives ----------------------------------------------------------------------------------
define layer-rules
obj-$(1) := $$(call objects,$(1)) $$(gen-$(1))
lib$(1).a: $$(obj-$(1))
	$$(Q)rm -f $$@
	$(Q)ar rcsD $$@ $$^
all-objects += $$(obj-$(1))
endef
$(foreach l,$(LAYERS),$(eval $(call layer-rules,$(l))))

# Archives in link order for everything up to and including a layer.
reverse = $(if $(1),$(call reverse,$(wordlist 2,$(words $(1)),$(1))) $(firstword $(1)))
upto-util := util
upto-async := util async
upto-qobject := util qobject
upto-qapi := util qobject qapi
upto-codec := util codec
upto-crypto := util qobject qapi crypto
upto-io := util async qobject qapi crypto io
upto-nbd := $(upto-io) nbd
upto-monitor := $(upto-io) monitor
upto-core := util async qobject qapi core
upto-backend := $(upto-core) backend
upto-copy := $(upto-core) copy
upto-block := util async qobject qapi codec crypto io nbd core backend copy format protocol filter registry
upto-format := $(upto-block)
upto-protocol := $(upto-block)
upto-filter := $(upto-block)
upto-job := util async qobject qapi codec crypto io nbd core backend copy format protocol filter job registry
upto-lab := $(upto-job)
upto-export := $(upto-block) export
upto-frontend := util async qobject qapi codec crypto io nbd monitor core backend copy format protocol filter job export registry frontend
upto-tools := $(upto-frontend)
upto-system := util async qobject qapi crypto io monitor system
upto-target := $(upto-system) target
upto-hw := $(upto-frontend) system target hw
libs-of = $(patsubst %,lib%.a,$(call reverse,$(upto-$(1))))

# ---- programs ----------------------------------------------------------------------------------
program-sources = $(patsubst $(SRC)/%,%,$(wildcard $(SRC)/$(1)))
prog-qemu-img := $(call program-sources,tools/qemu-img/*.c)
prog-qemu-io := $(call program-sources,tools/qemu-io/*.c)
prog-qemu-storage-daemon := $(if $(wildcard $(SRC)/block/qmp/job.c),$(call program-sources,tools/qemu-storage-daemon.c))
# The emulator needs the command line's view of disks, and its monitor the commands of qemu-io.
qemu-io-commands := $(filter-out tools/qemu-io/main.c,$(prog-qemu-io))
prog-qemu-system-e2k := $(if $(wildcard $(SRC)/block/qmp/job.c),$(not-system) $(call program-sources,hw/e2k/*.c) $(qemu-io-commands))
layer-of-qemu-system-e2k := hw
PROGRAMS := $(foreach p,qemu-img qemu-io qemu-storage-daemon qemu-system-e2k,$(if $(prog-$(p)),$(p)))

# Marshalling calls handlers, and who registers commands names marshalling: hence the group.  (That no
# archive calls upward is seen when unit tests link.)  A program takes its place whole, so that tests
# which run meanwhile never find none.
define program-rules
$(1): $$(patsubst %.c,%.o,$$(prog-$(1))) libmarshal.a $$(call libs-of,$(or $(layer-of-$(1)),tools))
	$$(call say,LD,$$@)
	$$(Q)$$(CC) $$(CFLAGS) $$(LDFLAGS) -o $$@.new $$(filter %.o,$$^) -Wl,--start-group \
	    $$(filter %.a,$$^) -Wl,--end-group $$(LIBS) && mv -f $$@.new $$@
all-objects += $$(patsubst %.c,%.o,$$(prog-$(1)))
endef
$(foreach p,$(PROGRAMS),$(eval $(call program-rules,$(p))))

# ---- unit tests: tests/unit/<layer>/test-<module>.c links that layer and what it uses -----------
UNIT_SOURCES := $(patsubst $(SRC)/%,%,$(wildcard $(SRC)/tests/unit/*/test-*.c))
UNIT_TESTS := $(UNIT_SOURCES:.c=)
# The tests of qapi have a schema of their own.
TEST_SCHEMA := $(wildcard $(SRC)/tests/unit/qapi/schema/*.json)
ifneq ($(TEST_SCHEMA),)
test-gen := tests/unit/qapi/gen
test-gen-objects := $(patsubst %,$(test-gen)/%.o,zoo-types zoo-commands zoo-events emit-events introspect)
$(test-gen)/stamp: $(QAPI_GEN) $(TEST_SCHEMA) config.h
	@mkdir -p $(test-gen)
	$(Q)$(PYTHON) $< --schema $(SRC)/tests/unit/qapi/schema/top.json --config config.h \
	    --out-c $(test-gen) --out-h $(test-gen)/include/qapi/gen
	@touch $@
$(test-gen-objects:.o=.c): $(test-gen)/stamp ;
$(test-gen)/%.o: $(test-gen)/%.c config.mak
	$(call say,CC,$(test-gen)/$*)
	$(Q)$(CC) -I$(test-gen)/include $(CPPFLAGS) $(CFLAGS) -c -o $@ $<
$(patsubst %.c,%.o,$(filter tests/unit/qapi/%,$(UNIT_SOURCES))): CPPFLAGS := -I$(test-gen)/include $(CPPFLAGS)
$(patsubst %.c,%.o,$(filter tests/unit/qapi/%,$(UNIT_SOURCES))): | $(test-gen)/stamp
# An archive, so that each test links what it uses.
$(test-gen)/libzoo.a: $(test-gen-objects)
	$(Q)rm -f $@
	$(Q)ar rcsD $@ $^
unit-extra-qapi := $(test-gen)/libzoo.a
all-objects += $(test-gen-objects)
endif
TESTLIB_SOURCES := $(filter-out tests/lib/%shim.c,$(patsubst $(SRC)/%,%,$(wildcard $(SRC)/tests/lib/*.c)))
# Where the sources and so the tests' data are; a path may have spaces.
SRC_PATH ?= $(abspath $(SRC))
$(TESTLIB_SOURCES:.c=.o): CPPFLAGS += '-DSOURCE_PATH="$(SRC_PATH)"'
# Tests of layers with command handlers register commands as a program does.
define unit-rules
$(1): $(1).o $$(unit-extra-$(word 3,$(subst /, ,$(1)))) $$(TESTLIB_SOURCES:.c=.o) \
      $$(if $$(filter monitor frontend,$(word 3,$(subst /, ,$(1)))),libmarshal.a) \
      $$(call libs-of,$(word 3,$(subst /, ,$(1))))
	$$(call say,LD,$$@)
	$$(Q)$$(CC) $$(CFLAGS) $$(LDFLAGS) -o $$@ $$^ $$(LIBS)
endef
$(foreach t,$(UNIT_TESTS),$(eval $(call unit-rules,$(t))))
all-objects += $(UNIT_SOURCES:.c=.o) $(TESTLIB_SOURCES:.c=.o)

# ---- benchmarks: tests/bench/<layer>/bench-<what>.c, linked the same way -------------------------
BENCH_SOURCES := $(patsubst $(SRC)/%,%,$(wildcard $(SRC)/tests/bench/*/bench-*.c))
BENCH_PROGRAMS := $(BENCH_SOURCES:.c=)
$(foreach t,$(BENCH_PROGRAMS),$(eval $(call unit-rules,$(t))))
all-objects += $(BENCH_SOURCES:.c=.o)

# ---- the library that records or fails the file calls of a program (tests/crash, tests/fault) -----
TEST_PRELOAD := tests/lib/libioshim.so tests/lib/liballocshim.so tests/lib/libdevshim.so
$(TEST_PRELOAD): tests/lib/lib%.so: $(SRC)/tests/lib/%.c
	@mkdir -p $(@D)
	$(call say,CC,tests/lib/$*)
	$(Q)$(CC) $(CPPFLAGS) $(filter-out -fsanitize% -fno-sanitize%,$(CFLAGS)) -Wno-missing-prototypes -fPIC -shared \
	    -o $@ $< -ldl -lpthread

tests/lib/libdevshim.so: $(SRC)/tests/lib/devmodel.h

# ---- fuzzers: tests/fuzz/fuzz-<parser>.c, in a build of configure --enable-fuzz -------------------
FUZZ_SOURCES := $(patsubst $(SRC)/%,%,$(wildcard $(SRC)/tests/fuzz/fuzz-*.c))
FUZZERS := $(FUZZ_SOURCES:.c=)
# In any build the entries are fed their seeds, and mutants of them, as a test.
FUZZ_TESTS := $(patsubst tests/fuzz/%,tests/fuzz/test-%,$(FUZZERS))
$(FUZZ_TESTS): tests/fuzz/test-%: tests/fuzz/%.o tests/fuzz/replay.o $(TESTLIB_SOURCES:.c=.o) \
        libmarshal.a $(call libs-of,frontend)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) \
	    -Wl,--end-group $(LIBS)
all-objects += $(FUZZ_SOURCES:.c=.o) tests/fuzz/replay.o
ifdef CONFIG_FUZZ
$(FUZZERS): %: %.o libmarshal.a $(call libs-of,frontend)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) -fsanitize=fuzzer $(LDFLAGS) -o $@ $< -Wl,--start-group \
	    $(filter %.a,$^) -Wl,--end-group $(LIBS)
fuzzers: $(FUZZERS)
else
fuzzers:
	@echo 'make: fuzzers need a build folder of configure --enable-fuzz' >&2; exit 1
endif

# ---- compiling ---------------------------------------------------------------------------------
# Flags are in config.mak, whose date changes only with its content.
# By vpath, because a pattern with a folder in its prerequisite alone does not match a/b.o.
vpath %.c $(SRC)
vpath %.S $(SRC)
%.o: %.c config.mak | $(QAPI_ORDER)
	@mkdir -p $(@D)
	$(call say,CC,$*)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<
%.o: %.S config.mak
	@mkdir -p $(@D)
	$(call say,AS,$*)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<
qapi/gen/%.o: qapi/gen/%.c config.mak
	$(call say,CC,qapi/gen/$*)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

-include $(all-objects:.o=.d)

# ---- e2k guests: tests/emulator/guests/<name>.s becomes guests/<name>.elf, rom-<name>.s a .bin ----
E2K_AS := $(SRC)/scripts/e2k-as.py
GUEST_SOURCES := $(wildcard $(SRC)/tests/emulator/guests/*.s)
GUESTS := $(patsubst %.s,guests/%.elf,$(filter-out rom-%,$(notdir $(GUEST_SOURCES)))) \
          $(patsubst %.s,guests/%.bin,$(filter rom-%,$(notdir $(GUEST_SOURCES))))
E2K_AS_PARTS := $(E2K_AS) $(wildcard $(SRC)/scripts/e2kas/*.py) $(SRC)/target/e2k/ops.def
define assemble
@mkdir -p $(@D)
$(call say,E2KAS,$*)
$(Q)$(PYTHON) $(E2K_AS) -f $(1) -M guests/$*.d -o $@ $<
endef
guests/%.elf: $(SRC)/tests/emulator/guests/%.s $(E2K_AS_PARTS)
	$(call assemble,elf)
guests/%.bin: $(SRC)/tests/emulator/guests/%.s $(E2K_AS_PARTS)
	$(call assemble,flat)
-include $(addsuffix .d,$(basename $(GUESTS)))

# ---- goals -------------------------------------------------------------------------------------
.PHONY: all unit-tests guests docs check check-long check-unit check-emulator check-lint bench fuzzers install clean distclean help
.SECONDARY:
all: $(PROGRAMS) guests
guests: $(GUESTS)
unit-tests: $(UNIT_TESTS) $(FUZZ_TESTS) $(TEST_PRELOAD)
# Everything that prints TAP, added up; `make check-unit`, `make check TEST=claim` run a part.
RUN_TESTS := $(SRC)/tests/run-tests --build .
check: all unit-tests
	@$(RUN_TESTS) $(TEST)
# The labs with new seeds until each of ten programs tried this many distinct states or finds few new ones
# (more than 100,000 in all; the last lines say how many), every call failing, and a fifth as many mutants
# of each fuzz seed.
# Within the hour on two processors.
LAB_STATES ?= 11000
check-long: all unit-tests
	@LAB_STATES=$(LAB_STATES) ROUNDS=10 $(RUN_TESTS) --new-seed --limit 7200 --verbose tests/unit/lab/ tests/crash/ tests/fault/ \
	    tests/fuzz/test-fuzz-qcow2 tests/corpus/test-mutants.py tests/corpus/test-repair.py tests/e2e/qmp/test-bitmap-model.py \
	    tests/e2e/qmp/test-two-loops.py tests/e2e/tools/test-qemu-img-measure.py \
	    tests/e2e/tools/test-encryption.py tests/e2e/tools/test-keyslots.py tests/e2e/system/test-savevm.py \
	    tests/e2e/system/test-savevm-faults.py tests/e2e/tools/test-qemu-img-huge.py $(TEST)
check-unit: unit-tests
	@$(RUN_TESTS) tests/unit/
check-emulator: all
	@$(RUN_TESTS) tests/emulator/
check-lint:
	@$(SRC)/scripts/check-layers
	@$(SRC)/scripts/check-style
	@$(SRC)/scripts/check-docs
# Ours against stock's tools where installed, as ratios; make bench BENCH="--quick null".
bench: all $(BENCH_PROGRAMS)
	$(Q)$(PYTHON) $(SRC)/tests/bench/bench.py --build . $(BENCH)

# The QMP reference, from the comments of the schema.
docs: docs/qmp-reference.md
docs/qmp-reference.md: $(QAPI_GEN) $(SCHEMA) config.h
	@mkdir -p docs
	$(call say,DOC,$@)
	$(Q)$(PYTHON) $< --schema $(SRC)/qapi/qapi-schema.json --config config.h \
	    --out-c qapi/gen --out-h include/qapi/gen --out-doc $@

bindir = $(DESTDIR)$(PREFIX)/bin
docdir = $(DESTDIR)$(PREFIX)/share/doc/qemu-e2k
install: all docs
	$(call say,INSTALL,$(bindir) $(docdir))
	$(Q)install -d "$(bindir)" "$(docdir)"
	$(Q)install -m 755 $(PROGRAMS) "$(bindir)"
	$(Q)install -m 644 $(wildcard $(addprefix $(SRC)/,*.md LICENSE docs/*.md)) docs/qmp-reference.md "$(docdir)"

# By name in the folders that the build made, so that what else lies there stays.
made-dirs := $(sort $(foreach o,$(all-objects) guests/x docs/x include/x,$(filter-out %.o,$(firstword $(subst /, ,$(o))))))
clean:
	$(call say,CLEAN)
	$(Q)rm -f $(PROGRAMS) $(UNIT_TESTS) $(BENCH_PROGRAMS) $(FUZZERS) $(FUZZ_TESTS) $(TEST_PRELOAD) \
	    $(GUESTS) docs/qmp-reference.md *.a *.[od]
	$(Q)rm -rf qapi/gen include/qapi/gen $(test-gen)
	$(Q)for d in $(made-dirs); do [ ! -d $$d ] || find $$d \( -type f \( -name '*.[od]' -o -name '*.a' -o -name '*.so' \
	    -o -name '*.gc??' \) -o -type d -empty \) -delete; done
distclean: clean
	$(Q)rm -rf demo
	$(Q)rm -f config.h config.mak config.status configure.log build.log .built-demo .built-check .failed Makefile

help:
	@echo 'make                 the programs and the guests'
	@echo 'make check           all tests; TEST=word for those with the word in their path'
	@echo 'make check-long      the crash and model labs, within an hour; LAB_STATES=n states for each program'
	@echo 'make check-unit      the unit tests; check-emulator: those of the machine; check-lint: layers, style, names of files in docs'
	@echo 'make bench           measure, against stock where installed; BENCH="--quick null" for a part'
	@echo 'make docs            docs/qmp-reference.md, from the schema'
	@echo 'make fuzzers         tests/fuzz/fuzz-*, after configure --enable-fuzz'
	@echo 'make install         below $(PREFIX); DESTDIR=folder to stage'
	@echo 'make clean           remove what make made; distclean: and what configure made'
	@echo 'V=1 shows the commands. ./config.status runs configure again with the same options.'
