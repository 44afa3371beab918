"""ChirpID: train bird-sound classifiers from files to tracked results."""

__version__ = "0.1.0"
