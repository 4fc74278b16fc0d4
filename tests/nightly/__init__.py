"""What `make nightly` runs for hours and minutes; by itself each test takes seconds."""
