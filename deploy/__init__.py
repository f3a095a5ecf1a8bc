"""What takes a release to where it runs."""
