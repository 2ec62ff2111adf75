"""``emotion-edge doctor``: checks this device and says in plain words what is wrong and what to do."""

from edge.doctor.examination import examine
from edge.doctor.finding import Finding, Status

__all__ = ["Finding", "Status", "examine"]
