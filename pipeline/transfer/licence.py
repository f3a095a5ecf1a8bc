"""Whether the licence of weights lets them be used for money."""

from __future__ import annotations

import re

from pipeline.errors import WeightsError

#: Words of licences that forbid commercial use: "nc" as a component (cc-by-nc-4.0), "non-commercial" however it is
#: joined, or "research"; and two names in timm that say nothing of it though their texts do.
_FORBIDS = re.compile(
    r"(?<![a-z0-9])nc(?![a-z0-9])|non[-_ ]?commercial|research|apple-amlr|seer-license", re.IGNORECASE
)


def restriction(licence: str) -> str | None:
    """A sentence for readers where `licence` forbids commercial use; None where it does not say so."""
    if not _FORBIDS.search(licence):
        return None
    return "No commercial use: the licence of the pre-trained weights forbids it, and it binds what is made of them."


def require_allowed(licence: str, *, allow_non_commercial: bool, inherited: str | None = None) -> None:
    """See that weights under `licence` may be used as params.yaml says.

    Args:
        licence: in words.
        allow_non_commercial: as params.yaml says.
        inherited: a restriction that an earlier project stated.

    Raises:
        WeightsError: the licence forbids commercial use, and backbone.allow_non_commercial is false.
    """
    if not allow_non_commercial and (inherited or restriction(licence)):
        raise WeightsError(
            "weights that may be used commercially, as backbone.allow_non_commercial is false",
            f"the licence {licence!r}",
            "Choose other weights in the section backbone, or set backbone.allow_non_commercial: true for research.",
        )
