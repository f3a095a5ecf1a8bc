"""Split, metrics, calibration, thresholds, acceptance and the report."""
