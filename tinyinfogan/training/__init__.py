"""What keeps a run: folder, log, checkpoints, lock, signals, memory, process group."""
