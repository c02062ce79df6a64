"""The primitives of the engine once more, quick: on the CPU with threads, on a GPU with kernels."""
