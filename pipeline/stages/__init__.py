"""One module per DVC stage: read the config, call the domain, write artefacts and metrics."""
