"""What is not in the paper, or not on its main path: other networks, presets and terms."""
