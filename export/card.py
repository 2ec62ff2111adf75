"""The model card of a bundle (Mitchell et al. 2019, arXiv:1810.03993), written from its manifest and a template."""

from importlib.resources import files

from edge.emotions import EMOTIONS
from edge.inference.manifest import Figure, KnnAccuracy, Manifest

CARD_NAME = "MODEL_CARD.md"


def render_card(manifest: Manifest) -> str:
    """Return the card, Markdown. It depends on the manifest's figures alone, so that it can be written again."""
    import jinja2

    template = (files("export") / "templates" / f"{CARD_NAME}.j2").read_text(encoding="utf-8")
    # A card is Markdown, not a web page: nothing to escape. What the manifest holds is checked text.
    environment = jinja2.Environment(  # noqa: S701
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["percent"] = lambda share: f"{share:.1%}".replace("%", " %")
    figures: dict[str, Figure] = {kind: entry.accuracy.after for kind, entry in manifest.models.items()}
    others: dict[str, KnnAccuracy] = {}
    if manifest.knn is not None:
        others["knn"] = manifest.knn.accuracy
    if manifest.ensemble is not None:
        others["ensemble"] = manifest.ensemble.accuracy
    figures |= {kind: accuracy.after for kind, accuracy in others.items()}
    first = next(iter(manifest.models.values())).accuracy
    return environment.from_string(template).render(
        manifest=manifest, figures=figures, data=first.data, n=first.n, emotions=[*map(str, EMOTIONS)],
        fer="fer" in first.data.lower(),
    )  # fmt: skip
