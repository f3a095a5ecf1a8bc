"""Pre-trained network to fine-tuned model: one-channel stem, frozen features, training phases."""
