"""Reading DICOM MR: files, series, geometry, pseudonyms. Needs pydicom and numpy only."""
