# rokeep: build it, package it, test it, see it work. "make" alone says what there is to make.

# Static, because it must run while libc itself is half-upgraded. The explicit --target keeps this from procedural macros,
# which cannot be static.
#
# Where it was built is in nothing that comes out: built anywhere else it is the same, to the byte ("make reproducible").
CARGO_HOME ?= $(HOME)/.cargo
export RUSTFLAGS := -C target-feature=+crt-static --remap-path-prefix=$(CURDIR)=. --remap-path-prefix=$(CARGO_HOME)=/cargo
export CARGO_TARGET_DIR := $(CURDIR)/target
TARGET = $(shell rustc --print host-tuple)
LIKE_THIS = --locked --target $(TARGET)
BINARY = target/$(TARGET)/release/rokeep

CARGO_FUZZ = target/fuzz/tools/bin/cargo-fuzz
FUZZ_SANITIZER = none
FUZZ_TARGETS = $(basename $(notdir $(wildcard fuzz/targets/*.rs)))

# Tests wait more than they work: for a watcher, a lock, a disk. With as many as there are processors these are idle half of
# the time.
export RUST_TEST_THREADS ?= $(shell echo $$((2 * $$(nproc))))

# Where systemd looks for units.
UNITDIR = /usr/lib/systemd/system

help: ## say what there is to make
	@sed -n 's/^\([a-z-]*\):.*## /make \1\t/p' Makefile | expand -t 20

build: needs-build ## the binary, statically linked
	cargo build $(LIKE_THIS) --release
	@headers=$$(readelf --wide --program-headers $(BINARY)) && case $$headers in \
		*INTERP*) echo "make: $(BINARY) is not static: it needs a program interpreter" >&2; exit 1;; esac

man: needs-build ## the manual pages and what shells complete, in target/man and target/completions
	cargo run $(LIKE_THIS) --example manual -- target

install: build man ## everything into place, below DESTDIR if that is set
	install -D --mode=755 --target-directory=$(DESTDIR)/usr/sbin $(BINARY)
	install -D --mode=755 --target-directory=$(DESTDIR)/etc/rokeep/hooks hooks/*
	install -D --mode=644 --target-directory=$(DESTDIR)/etc/apt/apt.conf.d apt.conf.d/*
	install -D --mode=644 --target-directory=$(DESTDIR)/etc/dpkg/dpkg.cfg.d dpkg.cfg.d/*
	install -D --mode=644 --target-directory=$(DESTDIR)$(UNITDIR) systemd/*
	install -D --mode=644 --target-directory=$(DESTDIR)/usr/share/man/man8 target/man/rokeep.8
	install -D --mode=644 --target-directory=$(DESTDIR)/usr/share/man/man5 target/man/rokeep.toml.5
	install -D --mode=644 target/completions/rokeep.bash $(DESTDIR)/usr/share/bash-completion/completions/rokeep
	install -D --mode=644 --target-directory=$(DESTDIR)/usr/share/zsh/vendor-completions target/completions/_rokeep
	install -D --mode=644 --target-directory=$(DESTDIR)/usr/share/fish/vendor_completions.d target/completions/rokeep.fish

deb: needs-build needs-deb ## the Debian package, in target/deb
	rm -rf target/deb
	mkdir -p target/deb
	DEB_DIRECTORY=target/deb debian/rules binary

reproducible: needs-build needs-deb ## the Debian package twice, in different places and by different people, and compares them
	debian/build-twice

demo: needs-test deb ## a real upgrade on a read-only /usr, without rokeep and with it; needs root
	cargo build $(LIKE_THIS) --bins --examples
	cargo run $(LIKE_THIS) --example demo

# BENCH says how often, and may name parts of it: BENCH='3 protect drop'. With only some, docs/performance.md stays as it was.
bench: needs-test needs-bench deb build ## docs/performance.md anew: how fast it is next to loops in C and to others (BENCH); needs root
	cargo build $(LIKE_THIS) --release --example holder
	cargo bench $(LIKE_THIS) --bench bench -- $(BENCH)

holders: needs-test ## docs/holders.md anew: what fuser, lsof, needrestart and rokeep say of each; needs root
	cargo build $(LIKE_THIS) --bins --examples
	cargo run $(LIKE_THIS) --example holders-table

test: lint compiled deb ## every test in every world; needs root
	lintian --pedantic --display-info --fail-on error,warning,info,pedantic --allow-root target/deb/*.deb
	cargo test $(LIKE_THIS) --no-fail-fast --doc
	cargo test $(LIKE_THIS) --no-fail-fast --tests
	BOOTED=upgrade cargo test $(LIKE_THIS) --test booted

# The last step of the release has work for one processor only: meanwhile the tests are compiled.
compiled: needs-build needs-test
	@trap 'kill $$!' INT; cargo build $(LIKE_THIS) --release & \
	cargo test $(LIKE_THIS) --no-run && cargo test $(LIKE_THIS) --no-run --test booted; compiled=$$?; \
	wait $$! && exit $$compiled

crash: needs-test ## every command, killed and refused at every system call that it makes; hours; needs root
	cargo build $(LIKE_THIS) --bins --examples
	ROKEEP_CRASH_ALL=yes cargo test $(LIKE_THIS) --no-fail-fast --test crash -- --nocapture

power-cut: needs-test ## the power fails a thousand times on each file system (POWER_CUTS, POWER_CUT_SEED); needs root
	cargo build $(LIKE_THIS) --bins --examples
	POWER_CUTS=$${POWER_CUTS:-1000} cargo test $(LIKE_THIS) --test power_cut -- --nocapture

# Coverage is asked for with flags that only a nightly compiler takes, or a stable one that is told to. Unsafe code is denied,
# so a panic is what there is to find; FUZZ_SANITIZER=address looks for more, in what the archives are decompressed with, and
# takes several times as long.
fuzz: export RUSTFLAGS :=
fuzz: export RUSTC_BOOTSTRAP := 1
fuzz: export CARGO_TARGET_DIR := $(CURDIR)/target/fuzz
fuzz: needs-build needs-fuzz $(CARGO_FUZZ) ## what is read, on millions of inputs (FUZZ_RUNS, FUZZ_TARGETS, FUZZ_SEED); hours
	$(CARGO_FUZZ) fuzz build --sanitizer $(FUZZ_SANITIZER)
	fuzz/run target/fuzz/$(TARGET)/release $(FUZZ_TARGETS)

$(CARGO_FUZZ):
	cargo install cargo-fuzz --version 0.13.2 --locked --root target/fuzz/tools

soak: needs-test deb ## thousands of package runs (ROKEEP_SOAK_OPERATIONS, ROKEEP_SOAK_SEED); an hour or more; needs root
	cargo build $(LIKE_THIS) --bins --examples
	ROKEEP_SOAK_OPERATIONS=$${ROKEEP_SOAK_OPERATIONS:-3000} cargo test $(LIKE_THIS) --test soak -- --nocapture

at-once: needs-test ## everybody at once, thousands of rounds (AT_ONCE, AT_ONCE_SEED); needs root
	cargo build $(LIKE_THIS) --bins --examples
	AT_ONCE=$${AT_ONCE:-3000} cargo test $(LIKE_THIS) --test at_once -- --nocapture

# BOOTED names scenarios, BOOTED_RELEASES releases: BOOTED='pair upgrade' BOOTED_RELEASES=trixie. BOOTED_SEED is a number for
# other moments at which the power fails.
test-booted: needs-test deb ## Debian 12 and 13 booted with a read-only /usr, and upgraded (BOOTED, BOOTED_RELEASES); an hour and a half; needs root
	cargo build $(LIKE_THIS) --bins --examples
	BOOTED_PAGE=docs/booted.md cargo test $(LIKE_THIS) --test booted

# debian/changelog has to name the version that Cargo.toml has.
lint: needs-build needs-test ## what can be said without running anything
	shellcheck hooks/* debian/build-twice debian/tests/upgrade docs/examples/check_rokeep $(wildcard debian/*.init debian/*.postinst debian/*.postrm debian/*.prerm) prerequisites .ci/run tests/support/guest/init tests/support/booted/make-image fuzz/run benches/shell/*
	grep --quiet "^rokeep ($$(cargo pkgid | sed 's/.*[#@]//'))" debian/changelog
	$(call if-there-is,fmt) cargo fmt --check && cargo fmt --check --manifest-path fuzz/Cargo.toml
	$(call if-there-is,clippy) cargo clippy $(LIKE_THIS) --all-targets -- --deny warnings
	$(call if-there-is,clippy) cargo clippy $(LIKE_THIS) --test booted -- --deny warnings

# Debian 12 has no clippy for the Rust it can build this with.
if-there-is = @cargo $(1) --version >/dev/null 2>&1 || { echo "make: NOT DONE, no such command here: cargo $(1)"; exit 0; };

clean: ## as if freshly cloned
	cargo clean
	rm -rf debian/.debhelper debian/rokeep debian/debhelper-build-stamp debian/files debian/*.debhelper* debian/*.substvars

# Installs what is missing, as root, with apt-get.
needs-%:
	@./prerequisites $*

.PHONY: help build man install deb reproducible demo bench holders test compiled crash power-cut at-once soak test-booted fuzz lint clean
# The order of the prerequisites above is meant.
.NOTPARALLEL:
