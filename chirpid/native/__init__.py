"""The native library: gather with widening, decoding and log-mel in C++, where it was built."""

from chirpid.native.library import describe, handle

__all__ = ["describe", "handle"]
