"""Files that are whole or not there; imports nothing of ours."""
