"""With sudo, the doctor becomes the user of the service: what that one cannot read, the daemon cannot read either.

It also keeps root from loading models out of a folder that the service may write.
"""

import os
import pwd
from pathlib import Path

from edge.doctor import service
from edge.doctor.finding import Finding

NAME = "user"


def become_service_user() -> Finding:
    """Give up root's rights for those of the service, for good."""
    try:
        user = pwd.getpwnam(service.NAME)
    except KeyError:
        return Finding(NAME, "problem", f"there is no user {service.NAME}", "run systemd/install.sh again")
    os.initgroups(user.pw_name, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    os.environ.setdefault("STATE_DIRECTORY", user.pw_dir)  # as the unit has it; root's own home is closed now
    if not all(os.access(program, os.R_OK) for program in (__file__, os.__file__)):
        found = f"{user.pw_name} may not read this installation of the program"
        return Finding(NAME, "problem", found, "use the one of the service: sudo /usr/local/bin/emotion-edge doctor")
    return Finding(NAME, "ok", f"what follows is looked at as {user.pw_name}, which the service runs as")


def handed_password() -> Path:
    """Hand root's password file on to the user of the service as systemd does, in memory; returns where it is then.

    Where it cannot be read, or there is no such user, that is the file itself.
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
