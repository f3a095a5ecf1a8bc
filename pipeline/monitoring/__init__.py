"""Whether the studies that a box answers are still like those that its release was tried on."""
