"""The training side of the engine: ONNX export and its parity with PyTorch."""
