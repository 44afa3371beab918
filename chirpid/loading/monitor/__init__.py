"""Where the time of an epoch goes, seen from the training loop and from each worker."""

from chirpid.loading.monitor.epoch import EpochMonitor as EpochMonitor
from chirpid.loading.monitor.means import mean_figures as mean_figures
from chirpid.loading.monitor.recording import Recording as Recording
from chirpid.loading.monitor.trace import write_trace as write_trace
from chirpid.loading.monitor.usage import tree_rss_bytes as tree_rss_bytes
