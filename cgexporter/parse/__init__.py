"""From the kernel's bytes to its own words and units: pure functions, no I/O."""
