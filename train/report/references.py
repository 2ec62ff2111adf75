"""What others measured on FER2013, for comparison: the article that this project grew from, and people."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reference:
    """A figure that is not ours, with what it was measured on."""

    name: str
    low: float | None
    """share 0..1; None where only words were reported"""
    high: float | None
    words: str
    """as reported"""


ARTICLE = (
    Reference("article: KNN, k = 3", 0.50, 0.50, "about 50 %"),
    Reference("article: MLP on pixels", 0.50, 0.50, "about 50 %"),
    Reference("article: MLP on landmark distances", None, None, "more than on pixels"),
    Reference("article: CNN", None, None, "better than the MLP"),
    Reference("article: VGG transfer", 0.68, 0.70, "68-70 %"),
)
"""accuracy on five balanced classes of FER2013, a 90/10 split of its own"""

HUMANS = Reference("people, seven classes", 0.60, 0.70, "65 ± 5 %")
"""Goodfellow et al. 2013, "Challenges in Representation Learning", arXiv:1307.0414: FER2013, seven classes"""

CAVEAT = (
    "The article's figures are accuracies on a random tenth of five balanced classes, in which copies of training "
    "pictures may be; the figure for people (Goodfellow et al. 2013, arXiv:1307.0414) is for all seven classes of "
    "FER2013. They are neighbours of ours, not the same measurement."
)
