"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[
    Path | None,
    typer.Option("--config", help="Settings file; /etc/emotion-edge/config.toml if there is one."),
]
StateDir = Annotated[
    str | None,
    typer.Option("--state-dir", help="State folder: outbox, bundles, privacy pause. Default: the one in the settings."),
]
Bundle = Annotated[
    str | None,
    typer.Option(help="Folder of a model bundle. Default: the one that `bundle use` chose, else the one that ships."),
]
Classifier = Annotated[str | None, typer.Option(help="Which model decides: cnn, vgg, knn or ensemble.")]
BundleKey = Annotated[
    str | None, typer.Option(metavar="FILE", help="Public keys (PEM); a bundle must be signed by one of them.")
]
BROKER_HELP = "Broker: mqtt://[user@]host[:port], mqtts://…, ws://… or wss://…"
Broker = Annotated[str | None, typer.Option("--mqtt", help=f"{BROKER_HELP} Default: the one in the settings.")]
BrokerUrl = Annotated[str, typer.Option("--mqtt", help=BROKER_HELP)]
BrokerPasswordFile = Annotated[
    str, typer.Option("--password-file", metavar="FILE", help="File with mode 0600 that holds the password.")
]
CaFile = Annotated[
    str,
    typer.Option("--ca-file", metavar="FILE", help="PEM file of the authority that signed the broker's certificate."),
]
PasswordFile = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="File with mode 0600 that holds the broker's password."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]
CameraRotate = Annotated[str | None, typer.Option(help="Turn the picture clockwise by 0, 90, 180 or 270 degrees.")]
CameraFlip = Annotated[str | None, typer.Option(help="Mirror the turned picture: none, horizontal or vertical.")]
