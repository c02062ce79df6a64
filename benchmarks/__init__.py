"""What is claimed about speed and memory, runnable; see benchmarks/README.md."""
