"""``emotion-edge doctor``: what is wrong with this device, in plain words, and what to do about it."""

from edge.doctor.examination import examine
from edge.doctor.finding import Finding, Status

__all__ = ["Finding", "Status", "examine"]
