"""The tests do not depend on how they were started."""

import subprocess
import sys

ASK = "from signal import *; print(getsignal(SIGHUP) is SIG_IGN, getsignal(SIGINT) is SIG_IGN)"


def test_programs_of_a_test_ignore_no_signal() -> None:
    asked = subprocess.run([sys.executable, "-c", ASK], check=True, capture_output=True, text=True)
    assert asked.stdout == "False False\n"


def test_signals_that_nohup_ignores_reach_programs_of_a_test() -> None:
    inner = f"{__file__}::test_programs_of_a_test_ignore_no_signal"
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", inner]
    done = subprocess.run(["sh", "-c", 'trap "" HUP INT; exec "$@"', "sh", *pytest], check=False, capture_output=True)
    assert done.returncode == 0, done.stdout.decode()
