"""Checkpoints in and out, LoRA files, and the weights that ship with the pack."""
