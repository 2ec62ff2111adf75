"""Commands from the network: bounded, read strictly, refused with a reason. Nothing of them is believed before that."""

import msgspec

from edge.errors import EmotionEdgeError
from edge.events.payloads import PrivacyCommand

MOST_BYTES = 256
"""A command is larger only by mistake or by intent."""


class CommandError(EmotionEdgeError):
    """A command that is none; says why, in words of ours and never in those that came."""


_DECODER = msgspec.json.Decoder(PrivacyCommand)


def read_command(payload: bytes, *, retained: bool) -> PrivacyCommand:
    """Return the command of a payload.

    Parameters
    ----------
    payload
        As it came; of a longer one its first `MOST_BYTES` + 1 bytes will do.
    retained
        Whether the broker had kept it from before this connection.

    Raises
    ------
    CommandError
        Too long, kept by the broker, not JSON, of another shape, or impossible; one of few reasons.
    """
    if retained:
        raise CommandError("it is retained: it would be obeyed again at every reconnect")
    if len(payload) > MOST_BYTES:
        raise CommandError(f"longer than {MOST_BYTES} bytes")
    try:
        command = _DECODER.decode(payload)
    except msgspec.ValidationError:
        raise CommandError('allowed is {"paused": true or false, "for_s": seconds, up to 31 days}') from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise CommandError("not JSON") from None
    if command.for_s is not None and not command.paused:
        raise CommandError("for_s without a pause")
    return command
