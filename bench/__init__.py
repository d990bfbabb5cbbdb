"""Benchmarks of time, memory and loss, each a command of its own. Nothing that trains or samples needs it."""
