"""What a bundle of a release carries besides its graph: how a volume becomes slices, and how answers are written."""
