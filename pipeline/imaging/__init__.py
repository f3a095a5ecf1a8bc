"""Volumes, resampling and intensity; the same code in training and in the box."""
