"""What a box needs and no more: contract and imaging in, predictions out. No torch."""
