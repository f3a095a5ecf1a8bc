"""A release as a MONAI Bundle."""
