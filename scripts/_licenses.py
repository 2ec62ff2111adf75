"""Print one table: every installed package with its version and its license, as the package's own metadata states it.

Used by `scripts/licenses`. It needs nothing but the standard library, so any Python can run it: on a device,
``/opt/emotion-edge/.venv/bin/python scripts/_licenses.py``.
"""

from importlib.metadata import PackageMetadata, distributions

OWN = "emotion-edge"


def main() -> None:
    """Print the table."""
    found = {(one.name.lower(), one.version): license_of(one.metadata) for one in distributions() if one.name}
    rows = [("package", "version", "license")]
    rows += [(name, version, stated) for (name, version), stated in sorted(found.items()) if name != OWN]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for name, version, stated in rows:
        print(f"{name:{widths[0]}}  {version:{widths[1]}}  {stated}")


def license_of(metadata: PackageMetadata) -> str:
    """Return the SPDX expression (PEP 639), else the license classifiers, else the first line of the old field."""
    if expressions := metadata.get_all("License-Expression", []):
        return str(expressions[0])
    classifiers = [str(line) for line in metadata.get_all("Classifier", [])]
    if named := [line.rpartition(" :: ")[2] for line in classifiers if line.startswith("License ::")]:
        return ", ".join(named)
    texts = [str(text).strip() for text in metadata.get_all("License", []) if str(text).strip()]
    return texts[0].splitlines()[0][:80] if texts else "not stated: see the package's files"


if __name__ == "__main__":
    main()
