"""The box over HTTP: the page for who looks after it, health, metrics, STOW-RS."""
