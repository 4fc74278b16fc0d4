"""Tests of `make nightly` for minutes and hours; by itself each takes seconds."""
