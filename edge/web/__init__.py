"""The live page of a device: what it sees, how it is doing, and the privacy switch.

`View` is where the daemon's loop leaves what the page shows; `edge.web.server.PageServer` serves it. Only the server
needs the extra ``web``. docs/web.md describes the page, its addresses and what keeps strangers out.
"""

from edge.web.view import View

__all__ = ["View"]
