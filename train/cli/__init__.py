"""``python -m train``: the commands of the workstation, one file each. Each loads heavy libraries only when it runs."""

import sys

from edge.cli.support import make_app, run
from train.cli.adapt import adapt
from train.cli.all import train_all
from train.cli.cnn import cnn
from train.cli.covered import covered
from train.cli.evaluate import evaluate
from train.cli.import_arrays import import_arrays
from train.cli.knn import knn
from train.cli.landmarks import landmarks
from train.cli.mlp import mlp
from train.cli.prepare import prepare
from train.cli.report import report
from train.cli.vgg import vgg

app = make_app("Prepare data, train networks, and measure them on held-out pictures.")
for command in (prepare, cnn, adapt, report, landmarks, covered, evaluate, knn, mlp, vgg):
    app.command()(command)
app.command("import")(import_arrays)
app.command("all")(train_all)


def main() -> None:
    """Run the command line and exit."""
    sys.exit(run(app, name="python -m train"))
