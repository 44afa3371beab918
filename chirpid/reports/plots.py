"""All plots in one place. Each takes plain arrays and a path, and writes one PNG."""

from chirpid.reports.comparison import folds_overview as folds_overview
from chirpid.reports.confusion import confusion_matrix as confusion_matrix
from chirpid.reports.curves import History as History
from chirpid.reports.curves import learning_curves as learning_curves
from chirpid.reports.spectrograms import spectrogram_sheet as spectrogram_sheet
from chirpid.reports.sweep_plot import sweep_speed as sweep_speed
from chirpid.reports.timeline import loader_timeline as loader_timeline
