"""What keeps a run: folder, log, checkpoints, signals, ranks."""
