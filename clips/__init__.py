"""Footage on disk: folders of frames, pairs, splits, captions."""
