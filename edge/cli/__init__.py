"""`python -m edge`, also installed as `emotion-edge`: one command a file, which loads what it needs when it runs."""

from edge.cli.bench import bench
from edge.cli.bundle import bundle_app
from edge.cli.classify import classify
from edge.cli.collect import collect
from edge.cli.config import config_app
from edge.cli.demo import demo
from edge.cli.detector import detector_app
from edge.cli.doctor import doctor
from edge.cli.fleet import fleet_app
from edge.cli.homeassistant import homeassistant_app
from edge.cli.privacy import privacy_app
from edge.cli.report import report
from edge.cli.run import run
from edge.cli.support import make_app
from edge.cli.support import run as run_app
from edge.cli.watch import watch

app = make_app("Emotions of the people in front of a camera, published over MQTT; no image leaves the box.")
app.command(epilog="Example: emotion-edge run --camera v4l2:/dev/video0 --mqtt mqtt://pi@broker.local:1883")(run)
app.command(epilog="Example: emotion-edge demo")(demo)
app.command(epilog="Example: emotion-edge classify holiday/ clip.mp4 https://example.org/a.jpg --annotate out/")(
    classify
)
app.command(epilog="Example: sudo emotion-edge doctor")(doctor)
app.command(epilog="Example: emotion-edge watch --mqtt mqtt://me@broker.local --password-file ~/.mqtt-password")(watch)
app.command(epilog="Example: emotion-edge collect --mqtt mqtt://me@broker.local --to events.db")(collect)
app.command(epilog="Example: emotion-edge report --from events.db --day 2026-11-27 --timezone Europe/Berlin --out out")(
    report
)
app.command(epilog="Example: emotion-edge bench --camera file:clip.mp4 --json")(bench)
app.add_typer(bundle_app, name="bundle")
app.add_typer(detector_app, name="detector")
app.add_typer(privacy_app, name="privacy")
app.add_typer(homeassistant_app, name="homeassistant")
app.add_typer(config_app, name="config")
app.add_typer(fleet_app, name="fleet")


def main() -> int:
    """Run the command line; return its exit code."""
    return run_app(app, name="emotion-edge")
