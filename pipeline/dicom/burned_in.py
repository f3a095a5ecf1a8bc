"""Text that may be burned into the picture: such files are set apart, for nobody here cleans pixels."""

from __future__ import annotations

from typing import Any

from pipeline.dicom.values import words


def refusal(dataset: Any) -> str | None:
    """`burned_in` unless the picture is MR as acquired and not flagged, else None.

    A scanner writes no text into the pixels of an ORIGINAL image (PS3.3 C.7.6.1.1.2); what is DERIVED, of another
    modality or says BurnedInAnnotation YES may hold a name.
    """
    original = words(dataset.get("ImageType"))[:1] == ("ORIGINAL",)
    flagged = words(dataset.get("BurnedInAnnotation"))[:1] not in ((), ("NO",))
    return None if dataset.get("Modality") == "MR" and original and not flagged else "burned_in"
