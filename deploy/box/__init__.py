"""The box beside a PACS."""
