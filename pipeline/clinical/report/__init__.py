"""The report of a validation: one self-contained HTML file that a person enjoys reading."""
