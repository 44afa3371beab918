"""Tracking of runs: never in the way of the training, never lost."""

from chirpid.tracking.protocol import OffTracker as OffTracker
from chirpid.tracking.protocol import Status as Status
from chirpid.tracking.protocol import Tracker as Tracker
from chirpid.tracking.tracker import open_tracker as open_tracker
