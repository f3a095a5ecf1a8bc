"""What carries a release to where it runs: the hospital's box, Triton, MONAI."""
