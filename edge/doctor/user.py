"""Under sudo the doctor becomes the service's user, so that it sees what the daemon can read.

That also keeps root from loading models from a folder that the service may write.
"""

import os
import pwd
from pathlib import Path

from edge.doctor import service
from edge.doctor.finding import Finding

NAME = "user"


def become_service_user() -> Finding:
    """Become the service's user, permanently."""
    try:
        user = pwd.getpwnam(service.NAME)
    except KeyError:
        return Finding(
            NAME, "problem", f"there is no user {service.NAME}", "run systemd/install.sh again", "user-missing"
        )
    os.initgroups(user.pw_name, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    os.environ.setdefault("STATE_DIRECTORY", user.pw_dir)  # as in the unit; root's home can no longer be read
    if not all(os.access(program, os.R_OK) for program in (__file__, os.__file__)):
        found = f"{user.pw_name} may not read this installation of the program"
        advice = "use the one of the service: sudo /usr/local/bin/emotion-edge doctor"
        return Finding(NAME, "problem", found, advice, "program-not-readable")
    return Finding(NAME, "ok", f"the checks below run as {user.pw_name}, like the service")


def password_in_memory() -> Path:
    """Copy the service's password file to memory that the service's user may read, as systemd does; return its path.

    Return the original path if the file cannot be read, or if there is no such user.
    """
    try:
        password, user = service.PASSWORD.read_bytes(), pwd.getpwnam(service.NAME).pw_uid
    except (OSError, KeyError):
        return service.PASSWORD
    memory = os.memfd_create("mqtt-password")  # open until the program ends
    os.write(memory, password)
    os.fchmod(memory, 0o600)
    os.fchown(memory, user, -1)
    return Path(f"/proc/self/fd/{memory}")
