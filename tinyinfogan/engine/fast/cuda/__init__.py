"""What a GPU needs to be fast: kernels, cuBLAS, graphs."""
