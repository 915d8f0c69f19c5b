# Two commands for a newcomer: `make demo` and `make test`. Both need root and Debian's apt.

.PHONY: demo test test-guest bench bench-guest deps man

demo: deps              ## an IPv4 address moves between two hosts, on this machine alone
	cargo build --release
	target/release/straddle lab borrow

test: deps              ## everything that CI runs
	cargo xtask ci

test-guest: deps        ## the same on Debian's stock kernel, in an emulated machine
	cargo xtask guest

bench: deps             ## ours, plain forwarding and others in turn: medians and ratios
	cargo build --release
	cargo run --release --package xtask -- bench

bench-guest: deps       ## the kernel's carriers, and Jool, beside ours and plain forwarding, in the emulated machine
	cargo xtask bench-guest

deps:                   ## installs what the lab and the tests use, where it is missing
	./scripts/deps

man: target/straddle.1  ## the manual page

target/straddle.1: src/cli.rs
	cargo run --quiet -- man > $@
